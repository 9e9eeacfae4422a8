"""A till: what it writes into its channel's database, and how it gets there from a register."""
