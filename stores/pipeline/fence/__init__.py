"""The fence: HQ writes to a channel only if the database is as HQ left it. See visit.py."""
