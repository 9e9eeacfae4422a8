"""Open a channel's database for a visit, whichever engine it has."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

from stores.channeldb.connect.connection import connect, require_intact_file
from stores.channeldb.exchange.postgresql import PostgreSQLVisit
from stores.channeldb.exchange.protocol import Visit
from stores.channeldb.exchange.sqlite import SQLiteVisit


@contextmanager
def visit(database: Any, *, check_file: bool = False) -> Iterator[Visit]:
    """Open a channel database for reading events and applying packages.

    `check_file` reads a SQLite file from end to end first and refuses a damaged one.
    """
    with connect(database) as alias:
        wrapper = connections[alias]
        if check_file:
            require_intact_file(database, wrapper)
        engine = PostgreSQLVisit if wrapper.vendor == "postgresql" else SQLiteVisit
        yield engine(wrapper)
