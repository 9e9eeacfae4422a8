"""One function for each address: it fetches, makes its table or form, and renders."""
