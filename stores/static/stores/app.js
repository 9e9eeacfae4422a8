// Small comforts. Every page works without this file.

// The theme: follows the system until a person chooses.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-toggle-theme]");
  if (!button) return;
  const root = document.documentElement;
  root.dataset.bsTheme = root.dataset.bsTheme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.bsTheme);
  } catch {
    // Remembered for this page only.
  }
});

// Copying a GUID or a command.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    return; // the text beside the button can be marked
  }
  const said = button.querySelector("[data-copy-said]");
  button.classList.add("is-copied");
  if (said) said.textContent = "Copied";
  setTimeout(() => {
    button.classList.remove("is-copied");
    if (said) said.textContent = button.dataset.copyLabel || "Copy";
  }, 1500);
});

// A form is sent once; the server refuses a second run anyway.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  const buttons = form.querySelectorAll("button[type=submit]");
  setTimeout(() => buttons.forEach((button) => (button.disabled = true)));
});
addEventListener("pageshow", () => {
  document.querySelectorAll("form button:disabled").forEach((button) => (button.disabled = false));
});

// An address names only the filters that are set.
document.addEventListener("htmx:configRequest", (event) => {
  const { verb, parameters } = event.detail;
  if (verb !== "get") return;
  for (const [name, value] of Object.entries(parameters)) {
    if (value === "") delete parameters[name];
  }
});

// A page that nobody sees does not ask again and again.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.target.hasAttribute("data-polls")) event.preventDefault();
});
