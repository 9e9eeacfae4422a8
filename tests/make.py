"""What tills write, and how jobs are run, in one line each."""

from typing import Any
from uuid import UUID, uuid4

from django.db import connections
from django.utils import timezone

from stores import jobs
from stores.channeldb.connection import connect
from stores.models import ChannelDatabase

OWN = {
    "customer": {"customer_type": "person", "last_name": "Lee"},
    "address": {"purpose": "home", "street": "Main Street", "city": "Houston", "country": "USA"},
    "contact": {"kind": "email", "locator": "second@example.com"},
    "affiliation": {"affiliation": "STAFF"},
    "attribute": {"attribute": "SIZE", "value": "M"},
}


def make_event(kind: str, database: ChannelDatabase, /, **columns: Any) -> UUID:
    """Write one event as the channel's till would. Returns its id."""
    values: dict[str, Any] = {"event_id": uuid4(), "occurred_at": timezone.now()}
    values |= {"operation": "create"} | OWN[kind]
    if kind in ("address", "contact"):
        values[f"{kind}_id"] = uuid4()
    values |= columns
    write(database, f"async_{kind}", values)
    return values["event_id"]


def make_customer(database: ChannelDatabase, first_name: str = "Ann", **columns: Any) -> UUID:
    """A customer whom the till creates. Returns the temporary GUID."""
    guid = columns.pop("guid", None) or uuid4()
    make_event("customer", database, async_account=guid, first_name=first_name, **columns)
    return guid


def write(database: ChannelDatabase, table: str, values: dict[str, Any]) -> None:
    """Insert one row into a channel's table with plain SQL."""
    with connect(database) as alias:
        connection = connections[alias]
        row = values
        if connection.vendor == "sqlite":
            row = {column: as_sqlite(value) for column, value in values.items()}
        names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
                [str(value) if isinstance(value, UUID) else value for value in row.values()],
            )


def as_sqlite(value: Any) -> Any:
    """A value in the form that the contract gives it in SQLite."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return int(value) if isinstance(value, bool) else value


def query(database: ChannelDatabase, statement: str, *params: Any) -> list[tuple[Any, ...]]:
    """Rows of a channel's database."""
    with connect(database) as alias, connections[alias].cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall() if cursor.description else []


def run(job: str, **scope: Any) -> dict[str, Any]:
    """Run a job here and now; its document."""
    return jobs.run_here(job, **scope)


def lookup(database: ChannelDatabase) -> list[tuple[Any, ...]]:
    """What the channel's tills find: account shown and first name, in that order."""
    return sorted(query(database, "SELECT display_account, first_name FROM customer_lookup"))
