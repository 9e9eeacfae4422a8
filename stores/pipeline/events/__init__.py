"""What channels send: its tables, columns and rules. No step is in here."""
