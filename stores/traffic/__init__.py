"""Makes traffic: events in a channel database as its tills would write them, all from a seed.

Plain SQL through an opened channel, into its event tables alone, in the order in which a day goes
by. The same call writes the same rows, so a repeat adds nothing. Whoever gives no seed gets new
customers, and is told the seed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, connections, transaction
from django.db.backends.utils import CursorWrapper

from stores.channeldb.connect.connection import connect
from stores.hqdb.sql import batched
from stores.models import ChannelDatabase
from stores.traffic import edits as editing
from stores.traffic import people
from stores.traffic.faults import BROKEN_TERMINAL, Fault, faults_on, insert_exactly, make_faulty
from stores.traffic.people import CUSTOMER_EVENT_TABLES, CustomerEvents, EventRow, FakerMissing
from stores.traffic.sales import (
    DOCUMENT_TABLES,
    SALE_FAULTS,
    Document,
    make_order,
    make_sale,
    pick_buyers,
)
from stores.traffic.store import Store

__all__ = ["FakerMissing", "SeedTaken", "WrittenTraffic", "write_traffic"]

# Customers or edits in one commit: a till commits each, but a year of customers must not take one.
INSERT_BATCH = 500


class SeedTaken(Exception):
    """The channel holds other rows under this seed: choose another."""

    def __str__(self) -> str:
        return self.__doc__ or ""


@dataclass
class WrittenTraffic:
    """What a call added to a channel database.

    `rows` counts by table: a customer, sale or order has several rows. `faulty_sales` counts
    orders, too. `quarantined` and `invalid` count by reason the rows that HQ is meant to refuse,
    and the sales that are meant to fail; `repeated` rows were there already.
    """

    database: str
    seed: int
    rows: Counter[str] = field(default_factory=Counter)
    customers: int = 0
    edits: int = 0
    sales: int = 0
    orders: int = 0
    faulty_customers: int = 0
    faulty_sales: int = 0
    repeated: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)


def write_traffic(
    database: ChannelDatabase,
    *,
    customers: int,
    edits: int = 0,
    sales: int = 0,
    orders: int = 0,
    seed: int | None = None,
    faulty: float = 0.0,
) -> WrittenTraffic:
    """Let the tills of a channel database serve new customers, edit some they know, and sell.

    Units: `faulty` is the share of the new customers, and of sales and orders, 0 to 1, that a
    broken till writes.
    Effects: the event tables of the channel, committed every 500 customers; nothing in HQ.
    Errors: ChannelError if the channel cannot be written; FakerMissing; SeedTaken where the rows
    once made from the seed were others (another release of Faker, another country).
    """
    if min(customers, edits, sales, orders) < 0 or not 0 <= faulty <= 1:
        raise ValueError("they all count from 0 on, and faulty is a share from 0 to 1")
    store = Store.of(database, seed)
    written = WrittenTraffic(database.label, store.seed)
    with connect(database) as alias, connections[alias].cursor() as cursor:
        try:
            for numbers in batched(range(customers), INSERT_BATCH):
                with transaction.atomic(using=alias):
                    _serve(cursor, store, written, numbers, customers, faulty)
            _edit(cursor, store, written, edits)
            _sell(cursor, store, written, sales, faulty)
            _order(cursor, store, written, orders, faulty)
        except IntegrityError:
            # Not the driver's own words: they could quote a row.
            raise SeedTaken from None
    return written


def _serve(
    cursor: CursorWrapper,
    store: Store,
    written: WrittenTraffic,
    numbers: Sequence[int],
    customers: int,
    faulty: float,
) -> None:
    """Write new customers: the good ones together, those of the broken till one by one."""
    good: CustomerEvents = {table: [] for table in CUSTOMER_EVENT_TABLES}
    bad: list[tuple[Fault, CustomerEvents]] = []
    faults = faults_on(cursor.db.vendor)
    for number in numbers:
        spoilt_before = round(number * faulty)
        if round((number + 1) * faulty) > spoilt_before:
            fault = faults[(store.seed + spoilt_before) % len(faults)]
            rng = store.stream("faulty", customers, number, fault.name)
            moment = store.moment((number + rng.random()) / customers)
            bad.append((fault, make_faulty(rng, store, moment, fault)))
        else:
            rng = store.stream("customer", customers, number)
            moment = store.moment((number + rng.random()) / customers)
            for table, rows in people.new_customer(rng, store, moment).items():
                good[table] += rows
    written.customers += _add(cursor, written, good)["async_customer"]
    for fault, events in bad:
        _add_faulty(cursor, written, fault, events)


def _edit(cursor: CursorWrapper, store: Store, written: WrittenTraffic, edits: int) -> None:
    """Write edits, of as many different customers as there are."""
    done = 0
    rng = store.stream("edits", edits)
    while done < edits and (customers := editing.find_customers(cursor)):
        sample = rng.sample(customers, min(edits - done, len(customers)))
        for chosen in batched(sample, INSERT_BATCH):
            with transaction.atomic(using=cursor.db.alias):
                rows = editing.make_edits(cursor, store, chosen, done)
                added = sum(_add(cursor, written, rows).values())
            done += len(chosen)
            written.edits += added
            written.repeated += len(chosen) - added


def _sell(
    cursor: CursorWrapper, store: Store, written: WrittenTraffic, sales: int, faulty: float
) -> None:
    """Write sales and returns, some to customers whom the channel knows, the rest to guests."""
    known = editing.find_customers(cursor) if sales else []
    for numbers in batched(range(sales), INSERT_BATCH):
        rng = store.stream("buyers", sales, numbers[0])
        documents = []
        for number, buyer in zip(numbers, pick_buyers(rng, known, len(numbers)), strict=True):
            rng = store.stream("sale", sales, number)
            share = (number + rng.random()) / sales
            documents.append(make_sale(rng, store, buyer, number, share))
        _spoil_some(store, written, documents, numbers, faulty)
        with transaction.atomic(using=cursor.db.alias):
            written.sales += _add_documents(cursor, written, documents)


def _order(
    cursor: CursorWrapper, store: Store, written: WrittenTraffic, orders: int, faulty: float
) -> None:
    """Write customer orders, each of a customer whom the channel knows."""
    known = editing.find_customers(cursor) if orders else []
    if not known:
        return
    for numbers in batched(range(orders), INSERT_BATCH):
        rng = store.stream("order buyers", orders, numbers[0])
        buyers = [rng.choice(known) for _ in numbers]
        held = editing.held_of(cursor, list(dict.fromkeys(buyers)))
        documents = []
        for number, buyer in zip(numbers, buyers, strict=True):
            rng = store.stream("order", orders, number)
            share = (number + rng.random()) / orders
            documents.append(make_order(rng, store, buyer, held[buyer], number, share))
        _spoil_some(store, written, documents, numbers, faulty)
        with transaction.atomic(using=cursor.db.alias):
            written.orders += _add_documents(cursor, written, documents)


def _spoil_some(
    store: Store,
    written: WrittenTraffic,
    documents: Sequence[Document],
    numbers: Sequence[int],
    faulty: float,
) -> None:
    """Let the share of a broken till's documents go wrong, each fault in its turn."""
    for number, document in zip(numbers, documents, strict=True):
        spoilt_before = round(number * faulty)
        if round((number + 1) * faulty) > spoilt_before:
            fault = SALE_FAULTS[(store.seed + spoilt_before) % len(SALE_FAULTS)]
            fault.spoil(document)
            document["retail_transaction"][0] |= {
                "terminal_id": BROKEN_TERMINAL,
                "entry_status": "concluded",
            }
            written.faulty_sales += 1
            counted = written.quarantined if fault.is_quarantined else written.invalid
            counted[fault.reason] += 1


def _add_documents(
    cursor: CursorWrapper, written: WrittenTraffic, documents: Sequence[Document]
) -> int:
    """Write whole documents that the channel does not have; returns how many."""
    events = {
        table: [row for document in documents for row in document[table]]
        for table in DOCUMENT_TABLES
    }
    return _add(cursor, written, events)["retail_transaction"]


def _add(cursor: CursorWrapper, written: WrittenTraffic, events: CustomerEvents) -> Counter[str]:
    added = Counter({table: _insert(cursor, table, rows) for table, rows in events.items() if rows})
    written.rows += added
    written.repeated += sum(map(len, events.values())) - sum(added.values())
    return added


def _add_faulty(
    cursor: CursorWrapper, written: WrittenTraffic, fault: Fault, events: CustomerEvents
) -> None:
    added: Counter[str] = Counter()
    for table, rows in events.items():
        for row in rows:
            is_new = insert_exactly(cursor, table, row)
            added[table] += is_new
            written.repeated += not is_new
    written.rows += added
    if added[fault.table]:
        written.faulty_customers += 1
        written.customers += added["async_customer"]
        written.quarantined.update([fault.reason] if fault.reason else [])


def _insert(cursor: CursorWrapper, table: str, rows: Sequence[EventRow]) -> int:
    """Add rows of one shape, also again; returns how many of them were new."""
    columns = list(rows[0])
    marks = f"({', '.join(['%s'] * len(columns))})"
    values = [tuple(_as_written(row[column]) for column in columns) for row in rows]
    into = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608 names of the schema
    if cursor.db.vendor == "sqlite":
        cursor.executemany(into + marks, values)
    else:
        flat = [value for row in values for value in row]
        cursor.execute(f"{into}{', '.join([marks] * len(rows))} ON CONFLICT DO NOTHING", flat)
    return int(cursor.rowcount)


def _as_written(value: Any) -> Any:
    """An amount as the plain text that both engines take; everything else as it is."""
    return format(value, "f") if isinstance(value, Decimal) else value
