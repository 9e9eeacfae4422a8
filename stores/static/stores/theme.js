// Loaded in the head, before anything is drawn: the page must not flash in the other theme.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null;
    }
  };
  const apply = () => {
    // Django's admin shares the entry, and writes "auto" where nobody has chosen.
    const theme = stored();
    const isChosen = theme === "light" || theme === "dark";
    root.dataset.bsTheme = isChosen ? theme : system.matches ? "dark" : "light";
  };
  root.classList.add("js");
  system.addEventListener("change", apply);
  apply();
})();
