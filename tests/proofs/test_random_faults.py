"""Rows with two or three random faults fail no run and hold up no other row.

From conftest.py: `seattle` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite.
"""

from contextlib import suppress
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError

from stores.models import ChannelDatabase, Customer, JobRun, Quarantine, RetailTransaction
from stores.pipeline.corrections.quarantine import release_rows
from stores.pipeline.events.document_tables import DOCUMENT_PARTS, HEADER
from stores.pipeline.events.kinds import EVENT_KINDS
from tests.support.make import (
    article,
    engine_of,
    make_customer,
    make_event,
    make_sale,
    run,
    sale_rows,
    write_rows,
)

pytestmark = pytest.mark.slow

NIL_UUID, MAX_UUID = UUID(int=0), UUID(int=2**128 - 1)
# Odd values of each kind that the columns of both engines accept.
ODD_VALUES: dict[str, list[Any]] = {
    "text": [
        None,
        "",
        " ",
        "\t\r\n",
        "\u00a0\u200b\u3164\ufeff",
        "\x01\x1b[2J",
        "x" * 5_000,
        "\u0344" * 40,
        "ﷺ" * 30,
        "\u202eevil",
        "'; DROP TABLE customer; --",
        "\\N",
        "\\.",
        "👩‍👩‍👧‍👦" * 12,
        "../../admin/",
        "NaN",
        "2026-02-30",
        "=1+1",
        "%s {} %(company)s",
    ],
    "time": ["1899-12-31T23:59:59+00:00", "9999-12-31T23:59:59+14:00", "2026-03-29T02:30:00+01:00"],
    "date": [None, "1899-12-31", "9999-12-31", "0001-01-01", "2026-02-28"],
    "amount": [None, "0", "-0.0001", "99999999999999.9999", "-99999999999999.9999", "0.0001"],
    "number": [None, 0, -1, 2_147_483_647, -2_147_483_648],
    "flag": [None, True, False],
    "guid": [NIL_UUID, MAX_UUID],
}
POSTGRESQL_VALUES: dict[str, list[Any]] = {
    "time": ["infinity", "-infinity", "0044-03-15 12:00:00+00 BC", "294276-12-31 00:00:00+00"],
    "date": ["infinity", "-infinity", "0044-03-15 BC", "5874897-12-31"],
    "amount": ["NaN"],
}
# SQLite takes any value in any column.
ANY_VALUE = [b"\xff\xfe", b"\x00", 1, -1.5, 1e300, "1e5", "yes", "2026-13-45", 2**62, ""]
SQLITE_VALUES: dict[str, list[Any]] = dict.fromkeys(ODD_VALUES, ANY_VALUE) | {
    "time": [*ANY_VALUE, None],
    "guid": [*ANY_VALUE, None],
}

FAULTY_ROWS = 60
GOOD_RECEIPT = "GOOD"
# The channel assigns the counter, and the rows of a sale must name the same transaction.
CONSISTENT_COLUMNS = {"replication_counter", "transaction_id", "line_number"}
EVENT_COLUMNS = {
    kind.noun: [column for column in kind.sent_columns if column not in CONSISTENT_COLUMNS]
    for kind in EVENT_KINDS
}
SALE_COLUMNS = {
    part.event: [column for column in part.sent_columns if column not in CONSISTENT_COLUMNS]
    for part in (HEADER, *DOCUMENT_PARTS)
}


def kind_of(column: str) -> str:
    """The kind of value that a column holds: a key of ODD_VALUES."""
    if column in ("event_id", "async_account") or column.endswith(("address_id", "contact_id")):
        return "guid"
    if column == "occurred_at":
        return "time"
    if column.endswith("_date"):
        return "date"
    if column.endswith(("amount", "price", "quantity")):
        return "amount"
    if column in ("line_count", "line_number", "based_on"):
        return "number"
    if column.startswith(("is_", "created_offline", "marketing")):
        return "flag"
    return "text"


class RandomFaults:
    """Writes rows with random faults into a channel; `used_ids` are ids that HQ already has."""

    def __init__(self, database: ChannelDatabase, seed: int, used_ids: list[UUID]) -> None:
        self.database = database
        self.random = Random(seed)  # noqa: S311 - no secret
        self.used_ids = used_ids
        is_sqlite = engine_of(database) == "sqlite"
        self.engine_values = SQLITE_VALUES if is_sqlite else POSTGRESQL_VALUES

    def write_event_or_sale(self, guid: UUID) -> None:
        """Write one faulty event, usually of this customer, or one faulty sale."""
        kind = self.random.choice([*EVENT_COLUMNS, "sale", "sale"])
        if kind == "sale":
            write_rows(self.database, self.sale())
        else:
            columns = {"async_account": guid} | self.columns(EVENT_COLUMNS[kind])
            make_event(kind, self.database, **columns)

    def sale(self) -> dict[str, list[dict[str, Any]]]:
        """A sale with a faulty header, and often a faulty line or payment."""
        rows = sale_rows(self.database, lines=[article(), article("5.00")])
        rows[HEADER.event][0] |= self.columns(SALE_COLUMNS[HEADER.event])
        for part in DOCUMENT_PARTS:
            if self.random.random() < 0.4:
                row = self.random.choice(rows[part.event])
                row |= self.columns(SALE_COLUMNS[part.event])
        return rows

    def columns(self, names: list[str]) -> dict[str, Any]:
        """Odd values for two or three of the columns."""
        faulty = self.random.sample(names, self.random.choice([2, 3]))
        return {name: self.value(kind_of(name)) for name in faulty}

    def value(self, kind: str) -> Any:
        values = ODD_VALUES[kind] + self.engine_values.get(kind, [])
        if kind == "guid":
            values += self.used_ids
        return self.random.choice(values)


@pytest.fixture
def used_ids(seattle) -> list[UUID]:
    """Ids of events, customers, addresses and sales that HQ already has, from another channel."""
    ids = [uuid4() for _ in range(3)]
    for used_id in ids:
        make_customer(seattle, event_id=used_id, guid=used_id)
        make_event("address", seattle, event_id=used_id, async_account=used_id, address_id=used_id)
        make_sale(seattle, event_id=used_id, async_account=used_id)
    run("pipeline")
    return ids


def write_good_and_faulty_rows(store: ChannelDatabase, faults: RandomFaults) -> list[UUID]:
    """Write faulty rows, and after every fifth a good customer with a sale. Returns their GUIDs."""
    good_guids: list[UUID] = []
    written = 0
    for number in range(FAULTY_ROWS):
        if number % 5 == 0:
            good_guids.append(make_customer(store, f"Good {number}"))
            make_sale(store, async_account=good_guids[-1], receipt_number=GOOD_RECEIPT)
        # The channel's own tables refuse some of the rows.
        with suppress(DatabaseError, ValueError, OverflowError):
            faults.write_event_or_sale(good_guids[0])
            written += 1
    assert written > FAULTY_ROWS / 3
    return good_guids


@pytest.mark.finding(id="S3")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rows_with_two_or_three_faults_stop_no_other_row(store, used_ids, seed):
    good_guids = write_good_and_faulty_rows(store, RandomFaults(store, seed, used_ids))

    for job in ("pipeline", "sync-orders", "eod", "pipeline"):
        assert_no_unexpected_error(run(job))

    good_customers = Customer.objects.filter(
        guids__async_account__in=good_guids, number__isnull=False
    )
    assert good_customers.count() == len(good_guids)
    good_sales = RetailTransaction.objects.filter(receipt_number=GOOD_RECEIPT)
    assert good_sales.filter(statement__state="posted").count() == len(good_guids)
    # Releasing the faulty rows fails no run either.
    release_rows([str(row.pk) for row in Quarantine.objects.open()])
    assert_no_unexpected_error(run("pipeline"))


def assert_no_unexpected_error(document: dict[str, Any]) -> None:
    assert "Unexpected" not in str(document), JobRun.objects.get(pk=document["run"]).error
