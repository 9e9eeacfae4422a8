"""What tills write, and how jobs are run, in one line each."""

from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.db import connections, transaction
from django.utils import timezone

from stores.channeldb.connect.connection import connect
from stores.jobs.inline import run_inline
from stores.models import Case, ChannelDatabase
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.traffic.faults import RawText

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


def make_many(database: ChannelDatabase, count: int, *, last_name: str = "Lee") -> None:
    """Customers whom a till creates, in one statement."""
    guid = "gen_random_uuid()"
    numbers = f"generate_series(1, {count}) AS t (n)"
    if engine_of(database) == "sqlite":
        # Canonical GUIDs that count upwards from a random place.
        guid = f"'{str(uuid4())[:23]}-' || printf('%%012x', n * 2 + {{}})"
        counted = f"SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {count}"  # noqa: S608
        numbers = f"(WITH RECURSIVE t (n) AS ({counted}) SELECT n FROM t)"  # noqa: S608
    query(
        database,
        f"""INSERT INTO async_customer (event_id, occurred_at, operation, async_account,
                                        customer_type, first_name, last_name)
            SELECT {guid.format(0)}, '2026-03-01 10:00:00+00:00', 'create', {guid.format(1)},
                   'person', 'Ann', %s FROM {numbers}""",  # noqa: S608 - our own numbers
        last_name,
    )


def make_sale(database: ChannelDatabase, *prices: str, **columns: Any) -> str:
    """A concluded sale of some articles at net prices with 7 % tax, paid in cash.

    Named columns replace those of the header; `lines` and `payments` replace what would be
    written. Returns the transaction's id.
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
    """The rows of such a sale by table, before anybody has written them."""
    number = columns.pop("transaction_id", f"T-{uuid4().hex[:12]}")
    sold = [article(price) for price in prices or ("10.00",)] if lines is None else lines
    net = sum((Decimal(str(row["net_amount"])) for row in sold), Decimal(0))
    tax = sum((Decimal(str(row["tax_amount"])) for row in sold), Decimal(0))
    header: dict[str, Any] = {
        "event_id": uuid4(),
        "occurred_at": timezone.now(),
        "operation": "create",
        "transaction_id": number,
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
        "line_count": len(sold),
        "receipt_number": number[-8:],
    }
    header |= columns
    paid = [{"tender_type": "cash", "amount": header["payment_amount"], "currency": "USD"}]
    parts = {"line": sold, "payment": paid if payments is None else payments}
    return {"retail_transaction": [header]} | {
        f"retail_transaction_{table}": [
            {"transaction_id": number, "line_number": place} | row
            for place, row in enumerate(rows, 1)
        ]
        for table, rows in parts.items()
    }


def article(price: str = "10.00", **columns: Any) -> dict[str, Any]:
    """One line of a sale: one piece at a net price, with 7 % tax."""
    tax = (Decimal(price) * Decimal("0.07")).quantize(Decimal("0.01"))
    row = {"item_id": "0004", "description": "Lamp", "quantity": "1", "unit": "ea"}
    row |= {"price": price, "discount_amount": "0", "tax_amount": str(tax), "net_amount": price}
    return row | {"is_voided": False} | columns


def till(database: ChannelDatabase) -> AbstractContextManager[str]:
    """The channel, open: a till does not ask whether its tables are as HQ made them."""
    return connect(database, migrate=True)


def write(database: ChannelDatabase, table: str, values: dict[str, Any]) -> None:
    """Insert one row into a channel's table with plain SQL."""
    write_rows(database, {table: [values]})


def write_rows(database: ChannelDatabase, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Insert rows into tables of a channel with plain SQL, all or none; bytes as they are."""
    with till(database) as alias, transaction.atomic(using=alias):
        as_written = as_sqlite if connections[alias].vendor == "sqlite" else as_it_is
        for table, row in ((table, row) for table, rows in tables.items() for row in rows):
            marks = ("CAST(%s AS TEXT)" if isinstance(v, RawText) else "%s" for v in row.values())
            with connections[alias].cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(marks)})",  # noqa: S608
                    [as_written(value) for value in row.values()],
                )


def as_it_is(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def as_sqlite(value: Any) -> Any:
    """A value in the form that the contract gives it in SQLite."""
    if isinstance(value, UUID):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return int(value) if isinstance(value, bool) else value


def query(database: ChannelDatabase, statement: str, *params: Any) -> list[tuple[Any, ...]]:
    """Rows of a channel's database."""
    with till(database) as alias, connections[alias].cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall() if cursor.description else []


def run(job: str, **scope: Any) -> dict[str, Any]:
    """Run a job here and now; its document."""
    return run_inline(job, **scope)


def lookup(database: ChannelDatabase) -> list[tuple[Any, ...]]:
    """What the channel's tills find: account shown and first name, in that order."""
    return sorted(query(database, "SELECT display_account, first_name FROM customer_lookup"))


def engine_of(database: ChannelDatabase) -> str:
    return "sqlite" if database.url.startswith("sqlite") else "postgresql"


def unacknowledged(database: ChannelDatabase) -> int:
    """How many events the channel has that HQ has not taken over."""
    statement = "SELECT count(*) FROM {} WHERE acknowledged_at IS NULL"
    return sum(query(database, statement.format(kind.event))[0][0] for kind in EVENT_KINDS)


def only_case() -> str:
    """The one cause of quarantine that is not settled."""
    return Case.objects.unsettled().get().id
