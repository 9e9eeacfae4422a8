"""What stands in a channel's database: tables, triggers, rights, and how they were changed."""
