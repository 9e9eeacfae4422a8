"""Headquarters' PostgreSQL, the mechanics: nothing here knows a customer."""
