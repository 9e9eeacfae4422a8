"""What channels send: its tables, their columns, and the rules that it has to pass."""
