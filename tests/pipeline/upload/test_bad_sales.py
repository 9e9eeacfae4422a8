"""Bad input, group C of the list: sales, lines and payments that no till should write.

Each comes in the middle of good ones, all of which are posted; it is set aside whole, as it came,
or does what the list says, and is acknowledged; the promises hold.
"""

import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from stores.models import ChannelDatabase, Quarantine, RetailTransaction, StatementTender
from stores.models.reason import explain
from stores.pipeline.events import document_tables
from stores.pipeline.events.document_tables import Part
from stores.pipeline.integrity.verify import verify
from stores.traffic import write_traffic
from stores.traffic.faults import RawText
from stores.traffic.store import fresh_seed
from tests.support.make import engine_of, query, run, sale_rows, write_rows
from tests.support.raw_rows import as_kept, rows_found

pytestmark = pytest.mark.slow

HEADER, LINE, PAYMENT = (
    "retail_transaction",
    "retail_transaction_line",
    "retail_transaction_payment",
)
SQLITE, POSTGRESQL = "sqlite", "postgresql"
UNREAD = {"amount_format", "date_format", "guid_format", "time_format", "overflow", "type"}
BROKEN = RawText("Müller".encode()[:2])
ORDER = {"transaction_type": "customer_order"}


@dataclass(frozen=True)
class Bad:
    """A document out of order: the table and columns, and why and in which field HQ refuses it."""

    reason: str
    field: str
    columns: dict[str, Any]
    table: str = HEADER
    engine: str = ""


def amounts(reason: str, *values: Any, engine: str = "") -> list[Bad]:
    """One document for each value, in an amount of the header, of a line and of a payment."""
    places = [("tax_amount", HEADER), ("quantity", LINE), ("amount", PAYMENT)]
    return [
        Bad(reason, column, {column: value}, table, engine)
        for value in values
        for column, table in places
    ]


def too_long(table: str, **limits: int) -> list[Bad]:
    """One document for each column, one character longer than HQ can hold."""
    return [
        Bad("too_long", column, {column: "1" * (limit + 1)}, table)
        for column, limit in limits.items()
    ]


TABLE = {
    "C2": [
        *amounts("amount_format", "NaN"),
        *amounts("amount_format", "inf", 1e300, "1e3", "1,50", "", "٣", b"\x01", engine=SQLITE),
    ],
    "C3": [
        *amounts("overflow", "1" + 20 * "0", "1.00005", "-100000000000000", engine=SQLITE),
        Bad("overflow", "line_count", {"line_count": 2**31}, engine=SQLITE),
    ],
    "C7": [
        Bad("time_format", "occurred_at", {"occurred_at": "2026-10-25T02:30:00"}, engine=SQLITE),
        Bad("date_format", "business_date", {"business_date": "2026-02-30"}, engine=SQLITE),
        Bad("date_range", "business_date", {"business_date": "1899-12-31"}),
        Bad("date_range", "business_date", {"business_date": "infinity"}, engine=POSTGRESQL),
        Bad("time_range", "occurred_at", {"occurred_at": "1815-06-18T11:35:00+00:00"}),
    ],
    "texts": [
        *(
            Bad("encoding", column, {column: value}, table, SQLITE)
            for value in (BROKEN, "L\0mp")
            for column, table in (
                ("receipt_number", HEADER),
                ("description", LINE),
                ("tender_type", PAYMENT),
            )
        ),
        Bad("type", "description", {"description": b"\x00\xffLamp"}, LINE, SQLITE),
        Bad("type", "store_number", {"store_number": b"houston"}, HEADER, SQLITE),
        Bad("type", "is_voided", {"is_voided": "maybe"}, LINE, SQLITE),
        Bad("type", "line_count", {"line_count": "two"}, HEADER, SQLITE),
    ],
    "keys": [
        Bad("key_missing", "event_id", {"event_id": "sale-1"}, engine=SQLITE),
        Bad("key_missing", "line_number", {"line_number": "first"}, LINE, SQLITE),
        Bad("guid_format", "async_account", {"async_account": uuid4().hex}, engine=SQLITE),
        Bad("guid_format", "delivery_address_id", {"delivery_address_id": "home"}, engine=SQLITE),
        Bad("key_missing", "transaction_id", {"transaction_id": " "}),
        Bad("too_long", "transaction_id", {"transaction_id": "T" * 45}),
        Bad("company_mismatch", "account_number", {"account_number": "E-0001"}),
    ],
    "words": [
        Bad("unknown_word", "operation", {"operation": "update"}),
        Bad("unknown_word", "transaction_type", {"transaction_type": "raffle"}),
        Bad("unknown_word", "transaction_type", {"transaction_type": None}),
        Bad("unknown_word", "entry_status", {"entry_status": "on_hold"}),
        Bad("unknown_word", "currency", {"currency": "usd"}),
        Bad("unknown_word", "currency", {"currency": None}, PAYMENT),
        Bad("value_missing", "confirmation_number", ORDER),
        Bad("value_missing", "gross_amount", {"gross_amount": None}),
        Bad("value_missing", "line_count", {"line_count": None}),
        Bad("value_missing", "tender_type", {"tender_type": None}, PAYMENT),
        Bad("value_missing", "amount", {"amount": None}, PAYMENT),
    ],
    "lengths": [
        *too_long(HEADER, store_number=10, delivery_mode=10, receipt_number=18, staff_id=25),
        *too_long(HEADER, terminal_id=10, confirmation_number=50),
        *too_long(LINE, item_id=20, description=120, unit=10),
        *too_long(PAYMENT, tender_type=20),
    ],
}


def sell_badly(database: ChannelDatabase, bad: Bad) -> str:
    """A sale of two articles with one thing wrong. Returns its number."""
    rows = sale_rows(database, "10.00", "5.00")
    if number := bad.columns.get("transaction_id"):
        for row in (row for table in rows.values() for row in table):
            row["transaction_id"] = number
    rows[bad.table][-1] |= bad.columns
    write_rows(database, rows)
    return str(rows[HEADER][0]["transaction_id"])


def rows_kept(row: Quarantine, part: Part) -> list[dict[str, Any]]:
    """The rows of one table of a document that was set aside, their values as they came."""
    raw = json.loads(bytes(row.raw))
    found = [raw] if part is document_tables.HEADER else raw[part.event]
    named = (
        one if isinstance(one, dict) else dict(zip(part.sent, one, strict=True)) for one in found
    )
    return [{column: as_kept(value) for column, value in one.items()} for one in named]


def assert_kept_as_it_came(database: ChannelDatabase, row: Quarantine, bad: Bad) -> None:
    """Header, lines and payments are there with each text, and what is wrong, byte by byte."""
    number = rows_kept(row, document_tables.HEADER)[0]["transaction_id"].decode()
    for part in (document_tables.HEADER, *document_tables.PARTS):
        came = rows_found(database, part.event, part.sent, "transaction_id", number)
        kept = rows_kept(row, part)
        # A number or a time may be kept in another spelling, unless it could not be read.
        compared = {column for column in part.sent if part.type_of(column) == "text"}
        if part.event == bad.table and bad.reason in UNREAD:
            compared.add(bad.field)
        for column in compared:
            assert values_of(column, kept) == values_of(column, came), (part.event, column)


def values_of(column: str, rows: list[dict[str, Any]]) -> list[Any]:
    return sorted((row[column] for row in rows), key=repr)


@pytest.mark.fault("F-58", "F-59")
def test_what_no_till_should_sell_is_set_aside_whole_and_says_why(store, other_company, subtests):
    table = {
        what: [bad for bad in rows if bad.engine in ("", engine_of(store))]
        for what, rows in TABLE.items()
    }
    seed = fresh_seed("NLD")
    good = write_traffic(store, customers=10, sales=100, orders=10, seed=seed)
    written = {what: [sell_badly(store, bad) for bad in rows] for what, rows in table.items()}
    good_too = write_traffic(store, customers=0, sales=100, seed=seed - 1)

    assert {run(job)["outcome"] for job in ("eod", "sync-orders")} == {"succeeded"}

    # All others are posted, and their sums are finite.
    concluded = RetailTransaction.objects.filter(entry_status="concluded")
    assert RetailTransaction.objects.count() == good.sales + good.orders + good_too.sales == 210
    assert not concluded.filter(sales_order=None).exists()
    assert all(tender.amount.is_finite() for tender in StatementTender.objects.all())
    assert query(
        store, "SELECT count(*) FROM retail_transaction WHERE acknowledged_at IS NULL"
    ) == [(0,)]
    assert [(check.id, check.offending) for check in verify() if not check.ok] == []
    kept = {
        rows_kept(row, document_tables.HEADER)[0]["transaction_id"]: row
        for row in Quarantine.objects.all()
    }
    assert kept.keys() == {number.encode() for numbers in written.values() for number in numbers}
    for what, rows in table.items():
        with subtests.test(what):
            for number, bad in zip(written[what], rows, strict=True):
                row = kept[number.encode()]
                assert (row.reason, row.field) == (bad.reason, bad.field)
                assert explain(row.reason, row.field).startswith(f"{bad.field}: ")
                assert_kept_as_it_came(store, row, bad)
