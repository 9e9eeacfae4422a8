"""Write events and sales as a till would, run jobs, and read what a channel holds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.db import connections, transaction
from django.db.models import F, Q
from django.utils import timezone

from stores.channeldb.connect.connection import alias_of, registered_connection, translated
from stores.hqdb.sql import database_clock
from stores.jobs.inline import run_inline
from stores.jobs.run import execute
from stores.jobs.stages import waiting_steps
from stores.models import (
    Case,
    ChannelDatabase,
    ChannelDatabaseGroup,
    Customer,
    DownloadException,
    JobRun,
    Schedule,
)
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.traffic.faults import RawText

# The columns of an event of each kind, unless a test gives others.
DEFAULTS = {
    "customer": {"customer_type": "person", "last_name": "Lee"},
    "address": {"purpose": "home", "street": "Main Street", "city": "Houston", "country": "USA"},
    "contact": {"kind": "email", "locator": "second@example.com"},
    "affiliation": {"affiliation": "STAFF"},
    "attribute": {"attribute": "SIZE", "value": "M"},
}


def make_event(kind: str, database: ChannelDatabase, /, **columns: Any) -> UUID:
    """Write one event as the channel's till would. Returns its id."""
    values: dict[str, Any] = {"event_id": uuid4(), "occurred_at": timezone.now()}
    values |= {"operation": "create"} | DEFAULTS[kind]
    if kind in ("address", "contact"):
        values[f"{kind}_id"] = uuid4()
    values |= columns
    write(database, f"async_{kind}", values)
    return values["event_id"]


def make_customer(database: ChannelDatabase, first_name: str = "Ann", **columns: Any) -> UUID:
    """Write a customer event as the channel's till would. Returns the temporary GUID."""
    guid = columns.pop("guid", None) or uuid4()
    make_event("customer", database, async_account=guid, first_name=first_name, **columns)
    return guid


def make_many(database: ChannelDatabase, count: int, *, last_name: str = "Lee") -> None:
    """Write many customer events in one statement."""
    if engine_of(database) == "sqlite":
        # GUIDs with a random start that count upwards: even ones for events, odd for customers.
        start = str(uuid4())[:23]
        event_id = f"'{start}-' || printf('%%012x', n * 2)"
        async_account = f"'{start}-' || printf('%%012x', n * 2 + 1)"
        numbers = f"""(WITH RECURSIVE t (n) AS (
                           SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {count})
                       SELECT n FROM t)"""  # noqa: S608 - our own numbers
    else:
        event_id = async_account = "gen_random_uuid()"
        numbers = f"generate_series(1, {count})"
    query(
        database,
        f"""INSERT INTO async_customer (event_id, occurred_at, operation, async_account,
                                        customer_type, first_name, last_name)
            SELECT {event_id}, '2026-03-01 10:00:00+00:00', 'create', {async_account},
                   'person', 'Ann', %s FROM {numbers} AS numbers""",  # noqa: S608 - our own numbers
        last_name,
    )


def make_sale(database: ChannelDatabase, *prices: str, **columns: Any) -> str:
    """Write a concluded sale: one article for each net price, with 7 % tax, paid in cash.

    Other columns are those of the header; `lines` and `payments` replace the default rows.
    Returns the transaction id.
    """
    rows = sale_rows(database, *prices, **columns)
    write_rows(database, rows)
    return str(rows["retail_transaction"][0]["transaction_id"])


def sale_rows(
    database: ChannelDatabase,
    *prices: str,
    lines: list[dict[str, Any]] | None = None,
    payments: list[dict[str, Any]] | None = None,
    **columns: Any,
) -> dict[str, list[dict[str, Any]]]:
    """The rows that `make_sale` writes, by table."""
    transaction_id = columns.pop("transaction_id", f"T-{uuid4().hex[:12]}")
    if lines is None:
        lines = [article(price) for price in prices or ("10.00",)]
    net = sum(Decimal(str(line["net_amount"] or 0)) for line in lines)
    tax = sum(Decimal(str(line["tax_amount"] or 0)) for line in lines)
    header: dict[str, Any] = {
        "event_id": uuid4(),
        "occurred_at": timezone.now(),
        "operation": "create",
        "transaction_id": transaction_id,
        "transaction_type": "sale",
        "entry_status": "concluded",
        "business_date": timezone.now().date(),
        "store_number": database.channel.code[:10],
        "currency": "USD",
        "net_amount": str(net),
        "tax_amount": str(tax),
        "gross_amount": str(net + tax),
        "discount_amount": "0",
        "payment_amount": str(net + tax),
        "line_count": len(lines),
        "receipt_number": transaction_id[-8:],
    }
    header |= columns
    if payments is None:
        amount = header["payment_amount"]
        payments = [{"tender_type": "cash", "amount": amount, "currency": "USD"}]
    return {
        "retail_transaction": [header],
        "retail_transaction_line": numbered(lines, transaction_id),
        "retail_transaction_payment": numbered(payments, transaction_id),
    }


def numbered(rows: list[dict[str, Any]], transaction_id: str) -> list[dict[str, Any]]:
    """The rows with their keys; a row may have a line number of its own."""
    return [
        {"transaction_id": transaction_id, "line_number": number} | row
        for number, row in enumerate(rows, 1)
    ]


def article(price: str = "10.00", **columns: Any) -> dict[str, Any]:
    """One line of a sale: one piece at a net price, with 7 % tax."""
    tax = (Decimal(price) * Decimal("0.07")).quantize(Decimal("0.01"))
    row = {"item_id": "0004", "description": "Lamp", "quantity": "1", "unit": "ea"}
    row |= {"price": price, "discount_amount": "0", "tax_amount": str(tax), "net_amount": price}
    return row | {"is_voided": False} | columns


@contextmanager
def till(database: ChannelDatabase) -> Iterator[str]:
    """Open the channel as a till does, which asks nothing about its tables.

    Trouble with its server or file comes out as when HQ opens it.
    """
    alias = alias_of(database)
    with registered_connection(database, alias), translated(database):
        yield alias


def write(database: ChannelDatabase, table: str, values: dict[str, Any]) -> None:
    """Insert one row into a channel's table with plain SQL."""
    write_rows(database, {table: [values]})


def write_rows(database: ChannelDatabase, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Insert rows into tables of a channel with plain SQL, in one transaction."""
    with till(database) as alias, transaction.atomic(using=alias):
        for table, rows in tables.items():
            for row in rows:
                insert_row(alias, table, row)


def insert_row(alias: str, table: str, row: dict[str, Any]) -> None:
    convert = to_sqlite if connections[alias].vendor == "sqlite" else to_postgresql
    values = [convert(value) for value in row.values()]
    # A text that is no UTF-8 is sent as bytes, which SQLite stores as a text.
    placeholders = [
        "CAST(%s AS TEXT)" if isinstance(value, RawText) else "%s" for value in row.values()
    ]
    with connections[alias].cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(placeholders)})",  # noqa: S608
            values,
        )


def to_postgresql(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def to_sqlite(value: Any) -> Any:
    """The value in the form that the contract prescribes for SQLite."""
    if isinstance(value, UUID):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return int(value) if isinstance(value, bool) else value


def query(database: ChannelDatabase, statement: str, *params: Any) -> list[tuple[Any, ...]]:
    """Run a statement in a channel's database. Returns its rows."""
    with till(database) as alias, connections[alias].cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall() if cursor.description else []


# Where nobody has a file, and where nothing listens.
NO_FILE = "sqlite:///channels/away.sqlite3"
NO_SERVER = "postgresql://nobody@127.0.0.1:1/away"


@contextmanager
def out_of_reach(database: ChannelDatabase, *, at: str = NO_FILE) -> Iterator[None]:
    """Let jobs find no file for a SQLite database, or no server, inside the block."""
    row = ChannelDatabase.objects.filter(pk=database.pk)
    url = row.get().url
    row.update(url=at)
    try:
        yield
    finally:
        row.update(url=url)


def carry_out(started: JobRun) -> None:
    """Do all that waits of a run as a worker of the queue would, step after step."""
    while waiting := waiting_steps(started.pk):
        execute(str(waiting[0]))


def run(job: str, **scope: Any) -> dict[str, Any]:
    """Run a job in this process, to its end. Returns its JSON document."""
    return run_inline(job, **scope)


def make_schedule(
    job: str,
    *channels: ChannelDatabase,
    groups: Sequence[ChannelDatabaseGroup] = (),
    now: datetime | None = None,
    **values: Any,
) -> Schedule:
    """A schedule as a person makes it at a time; for all channels, if none is given."""
    schedule = Schedule(job=job, **values)
    schedule.save_settings(now or database_clock())
    schedule.channels.set(database.channel_id for database in channels)
    schedule.groups.set(groups)
    return schedule


def pass_time(minutes: float) -> None:
    """Move what schedules have noted into the past, as if so many minutes had passed."""
    passed = timedelta(minutes=minutes)
    for column in ("next_start_at", "planned_at", "started_at", "skipped_at", "changed_at"):
        Schedule.objects.update(**{column: F(column) - passed})


def lookup(database: ChannelDatabase) -> list[tuple[Any, ...]]:
    """The displayed account and first name of every customer that a till can look up."""
    return sorted(query(database, "SELECT display_account, first_name FROM customer_lookup"))


def pending(database: ChannelDatabase) -> list[str]:
    """The accounts of the customers that a database lacks, by HQ's note of what it received."""
    database.refresh_from_db(fields=["position", "received_no"])
    customers = Customer.objects.filter(company=database.channel.company)
    excepted = DownloadException.objects.lacking().filter(database=database).values("customer")
    received = max(database.position, database.received_no)
    lacking = customers.filter(Q(change_no__gt=received) | Q(pk__in=excepted))
    return list(lacking.order_by("change_no").values_list("account_number", flat=True))


def engine_of(database: ChannelDatabase) -> str:
    return "sqlite" if database.url.startswith("sqlite") else "postgresql"


def unacknowledged(database: ChannelDatabase) -> int:
    """The number of events, without sales, that HQ has not acknowledged."""
    statement = "SELECT count(*) FROM {} WHERE acknowledged_at IS NULL"
    return sum(query(database, statement.format(kind.event))[0][0] for kind in EVENT_KINDS)


def only_case() -> str:
    """The id of the only quarantined row or failed event that is not settled."""
    return Case.objects.unsettled().get().id
