"""Every list: its filter, its table and its rows in one file."""
