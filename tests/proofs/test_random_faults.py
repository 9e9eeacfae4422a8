"""Two and three faults in each row, drawn by chance: no run fails, and no neighbour is held up."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError

from stores.models import Customer, JobRun, Quarantine, RetailTransaction
from stores.pipeline.corrections.quarantine import release
from stores.pipeline.events.document_tables import HEADER, PARTS
from stores.pipeline.events.kinds import KINDS
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

NIL, FULL = UUID(int=0), UUID(int=2**128 - 1)
# What either engine lets into a column of text, of an id, of a time, …
TEXTS = [
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
]
TIMES = ["1899-12-31T23:59:59+00:00", "9999-12-31T23:59:59+14:00", "2026-03-29T02:30:00+01:00"]
DAYS = [None, "1899-12-31", "9999-12-31", "0001-01-01", "2026-02-28"]
AMOUNTS = [None, "0", "-0.0001", "99999999999999.9999", "-99999999999999.9999", "0.0001"]
NUMBERS = [None, 0, -1, 2_147_483_647, -2_147_483_648]
FLAGS = [None, True, False]
# What only a server takes, and what only a file takes.
ONLY_SERVER: dict[str, list[Any]] = {
    "time": ["infinity", "-infinity", "0044-03-15 12:00:00+00 BC", "294276-12-31 00:00:00+00"],
    "day": ["infinity", "-infinity", "0044-03-15 BC", "5874897-12-31"],
    "amount": ["NaN"],
}
ANYTHING: list[Any] = [b"\xff\xfe", b"\x00", 1, -1.5, 1e300, "1e5", "yes", "2026-13-45", 2**62, ""]
ONLY_FILE: dict[str, list[Any]] = {
    kind: [*ANYTHING, *([None] if kind in ("time", "guid") else [])]
    for kind in ("text", "time", "day", "amount", "number", "flag", "guid")
}


def kind_of(column: str) -> str:
    """What a column holds."""
    if column in ("event_id", "async_account") or column.endswith(("address_id", "contact_id")):
        return "guid"
    if column == "occurred_at":
        return "time"
    if column.endswith("_date"):
        return "day"
    if column.endswith(("_amount", "amount", "price", "quantity")):
        return "amount"
    if column in ("line_count", "line_number"):
        return "number"
    return "flag" if column.startswith(("is_", "created_offline", "marketing")) else "text"


# Counters are the channel's own, and rows of one sale must name it.
OWN = ("replication_counter", "transaction_id", "line_number")
COLUMNS = {
    name: [column for column in part.sent if column not in OWN]
    for name, part in {**{kind.name: kind for kind in KINDS}, "sale": HEADER}.items()
}
PARTS_OF_SALE = {
    part.event: [column for column in part.sent if column not in OWN] for part in PARTS
}


class Faults:
    """Draws values that are wrong, or nearly so, for one store."""

    def __init__(self, store: Any, seed: int, known: list[UUID]) -> None:
        self.chance = Random(seed)  # noqa: S311 - no secret
        self.known = known
        self.only = ONLY_FILE if engine_of(store) == "sqlite" else ONLY_SERVER
        self.usual: dict[str, list[Any]] = {
            "text": TEXTS,
            "time": list(TIMES),
            "day": DAYS,
            "amount": AMOUNTS,
            "number": NUMBERS,
            "flag": FLAGS,
        }

    def value(self, column: str) -> Any:
        """A value for a column; ids are often ones that others have."""
        kind = kind_of(column)
        if kind == "guid":
            usual: list[Any] = [NIL, FULL, *self.known]
        else:
            usual = self.usual[kind]
        return self.chance.choice([*usual, *self.only.get(kind, [])])

    def in_row(self, columns: list[str]) -> dict[str, Any]:
        """Two or three columns of a row with such values."""
        chosen = self.chance.sample(columns, self.chance.choice([2, 3]))
        return {column: self.value(column) for column in chosen}

    def in_sale(self, store: Any) -> dict[str, list[dict[str, Any]]]:
        """The rows of a sale, with such values in its header, often also in a line or payment."""
        rows = sale_rows(store, lines=[article(), article("5.00")])
        rows[HEADER.event][0] |= self.in_row(COLUMNS["sale"])
        for table, columns in PARTS_OF_SALE.items():
            if self.chance.random() < 0.4:
                self.chance.choice(rows[table]).update(self.in_row(columns))
        return rows


def taken(write_one: Callable[[], object]) -> bool:
    """Whether the channel's own tables took the row; if not, its till was told."""
    with suppress(DatabaseError, ValueError, OverflowError):
        write_one()
        return True
    return False


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_s3_two_and_three_faults_in_a_row_stop_nobody(store, seattle, seed):
    known = [uuid4() for _ in range(3)]
    for event in known:
        make_customer(seattle, event_id=event, guid=event)
        make_event("address", seattle, event_id=event, async_account=event, address_id=event)
        make_sale(seattle, event_id=event, async_account=event)
    run("pipeline")
    faults = Faults(store, seed, known)

    good, written = [], 0
    for place in range(60):
        if place % 5 == 0:
            good.append(make_customer(store, f"Good {place}"))
            make_sale(store, async_account=good[-1], receipt_number="GOOD")
        kind = faults.chance.choice([*COLUMNS, "sale", "sale"])
        if kind == "sale":
            write_one = partial(write_rows, store, faults.in_sale(store))
        else:
            columns = {"async_account": good[0]} | faults.in_row(COLUMNS[kind])
            write_one = partial(make_event, kind, store, **columns)
        written += taken(write_one)

    for job in ("pipeline", "sync-orders", "eod", "pipeline"):
        found = run(job)
        assert "Unexpected" not in str(found), JobRun.objects.get(pk=found["run"]).error
    assert written > 20
    named = Customer.objects.filter(guids__async_account__in=good, number__isnull=False)
    assert named.count() == len(good)
    sold = RetailTransaction.objects.filter(receipt_number="GOOD")
    assert sold.filter(statement__state="posted").count() == len(good)
    # Every row is somewhere; none is left in the channel but those whose lines never came.
    release([str(row.pk) for row in Quarantine.objects.open()])
    assert "Unexpected" not in str(run("pipeline"))
