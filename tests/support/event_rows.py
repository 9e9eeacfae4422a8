"""The customer events in a channel's database, read and changed with plain SQL."""
# ruff: noqa: S608 - the names put into SQL are those of the schema

from collections import Counter
from typing import Any

from django.db import connections

from stores.channeldb.connect.connection import connect
from stores.models import ChannelDatabase
from stores.pipeline.events.kinds import CUSTOMER
from stores.traffic.people import CUSTOMER_EVENT_TABLES
from tests.support.make import engine_of, query

Rows = dict[str, list[tuple[Any, ...]]]


def event_rows(database: ChannelDatabase) -> Rows:
    """All rows of each table of customer events, in the order in which they were written."""
    return {
        table: query(database, f"SELECT * FROM {table} ORDER BY replication_counter")
        for table in CUSTOMER_EVENT_TABLES
    }


def raw_event_rows(database: ChannelDatabase) -> Rows:
    """The same without decoding, so that invalid text can be read too."""
    if engine_of(database) == "postgresql":
        return {
            table: query(database, f"SELECT t::text FROM {table} t ORDER BY replication_counter")
            for table in CUSTOMER_EVENT_TABLES
        }
    with connect(database) as alias:
        raw = connections[alias].connection
        raw.text_factory = bytes
        return {
            table: raw.execute(f"SELECT * FROM {table}").fetchall()
            for table in CUSTOMER_EVENT_TABLES
        }


def count_events(database: ChannelDatabase) -> Counter[str]:
    """The number of rows in each table that has any."""
    counts = Counter[str]()
    for table in CUSTOMER_EVENT_TABLES:
        [(count,)] = query(database, f"SELECT count(*) FROM {table}")
        if count:
            counts[table] = count
    return counts


def deliver_accounts(database: ChannelDatabase) -> None:
    """Give each customer of the channel an account, as a download would."""
    keys = "account_number, company, async_account"
    columns = ", ".join(CUSTOMER.columns)
    query(
        database,
        f"INSERT INTO customer ({keys}, {columns})"
        f" SELECT 'C-' || (1000 + replication_counter), 'USRT', async_account, {columns}"
        " FROM async_customer WHERE operation = 'create'",
    )
    query(database, f"INSERT INTO account_map ({keys}) SELECT {keys} FROM customer")
