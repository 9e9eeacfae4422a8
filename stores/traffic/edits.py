"""Edits as tills write them: a look at the customer, one change, one row with the new state.

A customer with an account is edited under the GUID, the account, or both; a pending one under its
GUID. The event ids come from the seed alone, and an edit the channel has already is left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from django.db.backends.utils import CursorWrapper

from stores.pipeline.events.kinds import ADDRESS, CONTACT, CUSTOMER
from stores.traffic import people
from stores.traffic.faults import BROKEN_TERMINAL
from stores.traffic.store import OPEN_FOR, Store

PART_COLUMNS = {kind.noun: kind.columns for kind in (CUSTOMER, ADDRESS, CONTACT)}
HQ_TABLE_OF_PART = {kind.noun: kind.table for kind in (CUSTOMER, ADDRESS, CONTACT)}
CHANGES = (
    ("customer", "update", 45),
    ("address", "update", 20),
    ("contact", "update", 15),
    ("address", "deactivate", 7),
    ("contact", "deactivate", 7),
    ("customer", "deactivate", 6),
)
KEPT_ON_MOVING = ("address_id", "purpose", "description", "is_primary")


@dataclass(frozen=True)
class KnownCustomer:
    """A customer that the channel can look up; with an account once HQ's answer is here."""

    async_account: str
    company: str | None = None
    account_number: str | None = None
    received_at: datetime | None = None


@dataclass(frozen=True)
class PartState:
    """What the channel holds of one part of a customer; the time if a till of its own wrote it."""

    content: people.EventRow
    occurred_at: datetime | None = None


HeldParts = dict[str, PartState]


def find_customers(cursor: CursorWrapper) -> list[KnownCustomer]:
    """Everybody a till could edit, in a fixed order."""
    converted = _read(
        cursor,
        "SELECT m.async_account, m.company, m.account_number, m.received_at FROM account_map m"
        " JOIN customer c ON c.company = m.company AND c.account_number = m.account_number"
        " WHERE c.is_active",
    )
    pending = _read(
        cursor,
        "SELECT e.async_account FROM async_customer e WHERE e.async_account IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM account_map m WHERE m.async_account = e.async_account)"
        " GROUP BY e.async_account HAVING max(CASE WHEN e.operation = 'deactivate'"
        " OR e.terminal_id = %s THEN 1 ELSE 0 END) = 0",
        [BROKEN_TERMINAL],
    )
    customers = [KnownCustomer(row["async_account"]) for row in pending]
    for row in converted:
        received_at = _time(row["received_at"])
        customers += [
            KnownCustomer(row["async_account"], row["company"], row["account_number"], received_at)
        ]
    return sorted(customers, key=lambda known: known.async_account)


def make_edits(
    cursor: CursorWrapper, store: Store, chosen: Sequence[KnownCustomer], first: int
) -> people.CustomerEvents:
    """One edit of each customer, numbered from `first`; those the channel has are left out."""
    streams = [store.stream("edit", first + place) for place in range(len(chosen))]
    ids = [people.make_guid(rng) for rng in streams]
    written = _written(cursor, ids)
    held = held_of(cursor, chosen)
    rows: people.CustomerEvents = {table: [] for table in people.CUSTOMER_EVENT_TABLES}
    for rng, event_id, known in zip(streams, ids, chosen, strict=True):
        if event_id not in written and "customer" in held[known]:
            part, row = make_edit(rng, store, known, held[known])
            rows[f"async_{part}"].append({"event_id": event_id} | row)
    return rows


def make_edit(
    rng: Random, store: Store, known: KnownCustomer, held: HeldParts
) -> tuple[str, people.EventRow]:
    """Draw one edit of a customer: the part it changes and the row."""
    possible = [change for change in CHANGES if change[0] in held]
    part, operation, _ = rng.choices(possible, [weight for _, _, weight in possible])[0]
    guid, account = names_of(rng, known)
    stamp = people.make_stamp(rng, _moment_after(rng, store, known, held), guid, account, operation)
    content = dict(held[part].content)
    if operation == "update":
        content |= _change(rng, store, part, content)
    return part, stamp | content


def _change(rng: Random, store: Store, part: str, content: people.EventRow) -> people.EventRow:
    country = people.home_country(rng, store)
    if part == "address":
        moved = people.make_address(rng, country, 0, business=False)
        return {column: moved[column] for column in moved if column not in KEPT_ON_MOVING}
    if part == "contact":
        return {"marketing_opt_in": not content["marketing_opt_in"]}
    if content["customer_type"] == "person" and rng.random() < 0.3:
        last = rng.choice(country.last_names)
        name = f"{content['first_name'] or ''} {last}".strip()
        return {"middle_name": None, "last_name": last, "name": name}
    return {"phone": people.make_phone(rng, country.code)}


def names_of(rng: Random, known: KnownCustomer) -> tuple[str | None, str | None]:
    """GUID and account number under which a till that knows this much writes a customer's row."""
    guid, account = known.async_account, known.account_number
    if account is None:
        return guid, None
    return rng.choice(((guid, None), (guid, account), (None, account)))


def _moment_after(rng: Random, store: Store, known: KnownCustomer, held: HeldParts) -> str:
    """When the edit happens: after all that is known; after a conversion within a minute."""
    times = [known.received_at, *(state.occurred_at for state in held.values())]
    last = max((time for time in times if time), default=store.opening()).astimezone(store.zone)
    start = max(last, store.opening())
    end = store.opening(start.date()) + OPEN_FOR
    if known.received_at or start >= end:
        start, end = last, last + timedelta(minutes=1)
    seconds = int((end - start).total_seconds() * rng.random())
    return (start + timedelta(seconds=max(seconds, 1))).isoformat(timespec="seconds")


def held_of(
    cursor: CursorWrapper, chosen: Sequence[KnownCustomer]
) -> dict[KnownCustomer, HeldParts]:
    """What the channel holds of each: HQ's word where there is an account, else the till's own."""
    held: dict[KnownCustomer, HeldParts] = {known: {} for known in chosen}
    for part in PART_COLUMNS:
        _add_own_events(cursor, part, held)
        _add_word_of_hq(cursor, part, held)
    return held


def _add_own_events(cursor: CursorWrapper, part: str, held: dict[KnownCustomer, HeldParts]) -> None:
    pending = {known.async_account: known for known in held if known.account_number is None}
    columns = ("async_account", "operation", "occurred_at", *PART_COLUMNS[part])
    for row in _rows_of(cursor, f"async_{part}", columns, pending, "replication_counter"):
        parts = held[pending[row["async_account"]]]
        # What was taken away is no longer there to be edited.
        parts.pop(part, None)
        if row["operation"] != "deactivate":
            content = {column: row[column] for column in PART_COLUMNS[part]}
            parts[part] = PartState(content, _time(row["occurred_at"]))


def _add_word_of_hq(cursor: CursorWrapper, part: str, held: dict[KnownCustomer, HeldParts]) -> None:
    accounts: dict[str, list[KnownCustomer]] = {}
    for known in held:
        if known.account_number:
            accounts.setdefault(known.account_number, []).append(known)
    columns = ("account_number", "company", "is_active", *PART_COLUMNS[part])
    for row in _rows_of(
        cursor, HQ_TABLE_OF_PART[part], columns, accounts, columns[-len(PART_COLUMNS[part])]
    ):
        for known in accounts[row["account_number"]]:
            if row["is_active"] and row["company"] == known.company:
                held[known][part] = PartState(
                    {column: row[column] for column in PART_COLUMNS[part]}
                )


def _rows_of(
    cursor: CursorWrapper, table: str, columns: Sequence[str], keys: Iterable[str], order: str
) -> list[people.EventRow]:
    # The first column says whose row it is.
    keys = list(keys)
    return _read(
        cursor,
        f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 names of the schema
        f" WHERE {columns[0]} IN ({_marks(keys)}) ORDER BY {order}",
        keys,
    )


def _written(cursor: CursorWrapper, event_ids: Sequence[str]) -> set[str]:
    """Which of these events the channel has, in whatever table."""
    ids: set[str] = set()
    for part in PART_COLUMNS:
        rows = _rows_of(cursor, f"async_{part}", ("event_id",), event_ids, "event_id")
        ids |= {row["event_id"] for row in rows}
    return ids


def _marks(values: Sequence[object]) -> str:
    return ", ".join(["%s"] * len(values)) or "NULL"


def _read(cursor: CursorWrapper, sql: str, values: Sequence[str] = ()) -> list[people.EventRow]:
    cursor.execute(sql, values)
    columns = [column[0] for column in cursor.description or ()]
    return [dict(zip(columns, map(_plain_value, row), strict=True)) for row in cursor.fetchall()]


def _plain_value(value: Any) -> Any:
    # As a till would write it again: GUIDs as text, and text however the connection returns it.
    if isinstance(value, bytes):
        return value.decode()
    return str(value) if isinstance(value, UUID) else value


def _time(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
