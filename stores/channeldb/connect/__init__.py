"""How HQ reaches a channel's database: its URL, its host, how long it may take."""
