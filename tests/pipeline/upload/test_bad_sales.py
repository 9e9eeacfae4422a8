"""Sales that no till should write: upload quarantines each one whole and stages the others.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite; `other_company` is a
company with the account E-0001.
"""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from stores.messages.reasons import explain
from stores.models import ChannelDatabase, Quarantine, RetailTransaction, StatementTender
from stores.models.job import JobCode
from stores.pipeline.events import document_tables
from stores.pipeline.events.document_tables import DocumentTable
from stores.traffic import write_traffic
from stores.traffic.faults import RawText
from stores.traffic.store import fresh_seed
from tests.support.make import engine_of, make_sale, query, run, sale_rows, write_rows
from tests.support.promises import broken_promises
from tests.support.raw_rows import Row, channel_rows, quarantined_rows

pytestmark = [pytest.mark.slow, pytest.mark.fault("F-58", "F-59")]

HEADER = "retail_transaction"
LINE = "retail_transaction_line"
PAYMENT = "retail_transaction_payment"
SALE_TABLES = (document_tables.HEADER, document_tables.LINE, document_tables.PAYMENT)

AMOUNT_COLUMNS = [(HEADER, "tax_amount"), (LINE, "quantity"), (PAYMENT, "amount")]
TEXT_COLUMNS = [(HEADER, "receipt_number"), (LINE, "description"), (PAYMENT, "tender_type")]
TRUNCATED_UTF8 = RawText("Mü".encode()[:2])
# HQ could not read such a value at all, so quarantine must hold its very bytes.
UNREADABLE = {"amount_format", "date_format", "guid_format", "time_format", "overflow", "type"}
MAX_LENGTHS = {
    HEADER: {
        "store_number": 10,
        "delivery_mode": 10,
        "receipt_number": 18,
        "staff_id": 25,
        "terminal_id": 10,
        "confirmation_number": 50,
        "transaction_id": 44,
    },
    LINE: {"item_id": 20, "description": 120, "unit": 10},
    PAYMENT: {"tender_type": 20},
}


@dataclass(frozen=True)
class BadValue:
    """A value in one column of a sale, and the reason for which HQ quarantines the sale."""

    table: str
    column: str
    value: Any
    reason: str


def in_each(columns: list[tuple[str, str]], reason: str, *values: Any) -> list[BadValue]:
    return [BadValue(table, column, value, reason) for value in values for table, column in columns]


ON_EVERY_ENGINE = [
    *in_each(AMOUNT_COLUMNS, "amount_format", "NaN"),
    BadValue(HEADER, "business_date", "1899-12-31", "date_range"),
    BadValue(HEADER, "occurred_at", "1815-06-18T11:35:00+00:00", "time_range"),
    BadValue(HEADER, "transaction_id", " ", "key_missing"),
    BadValue(HEADER, "account_number", "E-0001", "company_mismatch"),
    BadValue(HEADER, "operation", "update", "unknown_word"),
    BadValue(HEADER, "transaction_type", "raffle", "unknown_word"),
    BadValue(HEADER, "transaction_type", None, "unknown_word"),
    BadValue(HEADER, "entry_status", "on_hold", "unknown_word"),
    BadValue(HEADER, "currency", "usd", "unknown_word"),
    BadValue(PAYMENT, "currency", None, "unknown_word"),
    BadValue(HEADER, "gross_amount", None, "value_missing"),
    BadValue(HEADER, "line_count", None, "value_missing"),
    BadValue(PAYMENT, "tender_type", None, "value_missing"),
    BadValue(PAYMENT, "amount", None, "value_missing"),
    *(
        BadValue(table, column, "1" * (max_length + 1), "too_long")
        for table, max_lengths in MAX_LENGTHS.items()
        for column, max_length in max_lengths.items()
    ),
]
# The column types of PostgreSQL refuse the values of the first list themselves.
ON_ONE_ENGINE = {
    "sqlite": [
        *in_each(AMOUNT_COLUMNS, "amount_format", "inf", 1e300, "1e3", "1,50", "", "٣", b"\x01"),
        *in_each(AMOUNT_COLUMNS, "overflow", "1" + 20 * "0", "1.00005", "-100000000000000"),
        BadValue(HEADER, "line_count", 2**31, "overflow"),
        BadValue(HEADER, "occurred_at", "2026-10-25T02:30:00", "time_format"),
        BadValue(HEADER, "business_date", "2026-02-30", "date_format"),
        *in_each(TEXT_COLUMNS, "encoding", TRUNCATED_UTF8, "L\0mp"),
        BadValue(LINE, "description", b"\x00\xffLamp", "type"),
        BadValue(HEADER, "store_number", b"houston", "type"),
        BadValue(LINE, "is_voided", "maybe", "type"),
        BadValue(HEADER, "line_count", "two", "type"),
        BadValue(HEADER, "event_id", "sale-1", "key_missing"),
        BadValue(LINE, "line_number", "first", "key_missing"),
        BadValue(HEADER, "async_account", uuid4().hex, "guid_format"),
        BadValue(HEADER, "delivery_address_id", "home", "guid_format"),
    ],
    "postgresql": [BadValue(HEADER, "business_date", "infinity", "date_range")],
}


def write_bad_sales(database: ChannelDatabase) -> dict[str, BadValue]:
    """Write one sale with each value that the engine lets in. Returns them by transaction id."""
    bad_values = ON_EVERY_ENGINE + ON_ONE_ENGINE[engine_of(database)]
    return {write_bad_sale(database, bad): bad for bad in bad_values}


def write_bad_sale(database: ChannelDatabase, bad: BadValue) -> str:
    """Write a sale of two articles with the bad value. Returns its transaction id."""
    if bad.column == "transaction_id":
        rows = sale_rows(database, "10.00", "5.00", transaction_id=bad.value)
    else:
        rows = sale_rows(database, "10.00", "5.00")
        rows[bad.table][-1][bad.column] = bad.value
    write_rows(database, rows)
    return str(rows[HEADER][0]["transaction_id"])


def quarantined_sales() -> dict[str, Quarantine]:
    """The quarantined documents by transaction id."""
    return {
        quarantined_rows(case, document_tables.HEADER)[0]["transaction_id"].decode(): case
        for case in Quarantine.objects.all()
    }


@pytest.fixture
def bad_sales(store, other_company) -> dict[str, BadValue]:
    """Uploaded sales with one bad value each, by transaction id."""
    written = write_bad_sales(store)
    run(JobCode.UPLOAD)
    return written


def test_each_bad_sale_is_quarantined_with_reason_and_field(bad_sales):
    cases = quarantined_sales()

    assert {key: (case.reason, case.field) for key, case in cases.items()} == {
        key: (bad.reason, bad.column) for key, bad in bad_sales.items()
    }
    assert not RetailTransaction.objects.exists()


def test_each_reason_is_explained_in_a_sentence_about_the_field(bad_sales):
    sentences = [explain(case.reason, case.field) for case in quarantined_sales().values()]

    fields = [sentence.partition(": ")[0] for sentence in sentences]
    assert sorted(fields) == sorted(bad.column for bad in bad_sales.values())


def test_each_bad_sale_is_kept_as_its_till_wrote_it(store, bad_sales, subtests):
    cases = quarantined_sales()

    for key, bad in bad_sales.items():
        for table in SALE_TABLES:
            with subtests.test(f"{bad.column}: {bad.reason}", key=key, table=table.event):
                columns = compared_columns(table, bad)
                kept = quarantined_rows(cases[key], table)
                written = channel_rows(
                    store, table.event, table.sent_columns, "transaction_id", key
                )
                assert only(columns, kept) == only(columns, written)


def compared_columns(table: DocumentTable, bad: BadValue) -> list[str]:
    """Every text, and the bad value; numbers and times may be kept in another notation."""
    columns = [column for column in table.sent_columns if table.type_of(column) == "text"]
    if table.event == bad.table and bad.reason in UNREADABLE:
        columns.append(bad.column)
    return columns


def only(columns: list[str], rows: list[Row]) -> list[str]:
    """These columns of each row, in an order that does not depend on that of the rows."""
    return sorted(repr({column: row[column] for column in columns}) for row in rows)


def test_a_customer_order_without_a_confirmation_number_is_quarantined(store):
    make_sale(store, transaction_type="customer_order")

    run(JobCode.UPLOAD)

    case = Quarantine.objects.get()
    assert (case.reason, case.field) == ("value_missing", "confirmation_number")


def test_good_sales_between_bad_ones_are_posted(store, other_company):
    seed = fresh_seed("NLD")
    before = write_traffic(store, customers=10, sales=100, orders=10, seed=seed)
    bad_sales = write_bad_sales(store)
    # With the same seed the same sales would be written again.
    after = write_traffic(store, customers=0, sales=100, seed=seed - 1)

    end_of_day, orders = run(JobCode.END_OF_DAY), run(JobCode.ORDERS)

    assert (end_of_day["outcome"], orders["outcome"]) == ("succeeded", "succeeded")
    assert (before.sales, before.orders, after.sales) == (100, 10, 100)
    assert RetailTransaction.objects.count() == 210
    concluded = RetailTransaction.objects.filter(entry_status="concluded")
    assert not concluded.filter(sales_order=None).exists()
    assert all(tender.amount.is_finite() for tender in StatementTender.objects.all())
    assert Quarantine.objects.count() == len(bad_sales)
    unacknowledged = "SELECT count(*) FROM retail_transaction WHERE acknowledged_at IS NULL"
    assert query(store, unacknowledged) == [(0,)]
    assert broken_promises() == []
