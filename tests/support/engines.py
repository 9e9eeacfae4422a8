"""Marks of tests that take `store`, which is once on PostgreSQL and once on SQLite."""

import pytest

# Only on SQLite: for what headquarters alone does, whatever the channel's engine.
on_one_engine = pytest.mark.parametrize("store", ["popup"], indirect=True)
