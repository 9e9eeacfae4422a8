"""Sales and orders of tills: validated, made orders, calculated and posted."""
