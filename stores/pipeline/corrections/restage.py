"""Rows of quarantine on their way back: into staging, or a document among the sales, if they pass.

Today's rules and definitions judge them; a row that still breaks one is named with what is wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from psycopg2 import sql

from stores.channeldb.exchange.protocol import EventBatch
from stores.channeldb.exchange.sqlite_values import READERS, InvalidRow, InvalidValue, copy_line
from stores.hqdb.sql import copy_in, fetch, fetch_one, run_sql
from stores.models import Quarantine
from stores.models.staging import Origin
from stores.pipeline.corrections.events import EventRefused
from stores.pipeline.events.document_tables import HEADER, KEY, PARTS, rows_in
from stores.pipeline.events.kinds import CUSTOMER, Kind, Sent
from stores.pipeline.events.payloads import decode
from stores.pipeline.events.rules import Rule
from stores.pipeline.fields_to_correct import mark_fields
from stores.pipeline.upload.documents import forget_tables, keep_again
from stores.pipeline.upload.quarantine import BROKEN, Arrival, leave_out, name_refused
from stores.pipeline.upload.staging import find_broken, insert_staged, make_incoming, name_conflicts


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a row today."""

    reason: str
    field: str
    rule: str


def restage(arrival: Arrival, kind: Kind, rows: Sequence[Quarantine]) -> dict[int, Flaw]:
    """Stage the rows that pass today's rules. Returns what is wrong with the others."""
    left: dict[int, Flaw] = {}
    lines, number_of = [], {}
    for row in rows:
        try:
            lines.append(as_line(kind, decode(bytes(row.raw)), "event_id"))
            number_of[int(row.row_key)] = row.pk
        except InvalidRow as broken:
            left[row.pk] = unreadable(row, broken)
    make_incoming(kind)
    copy_in("incoming", kind.sent, "".join(lines).encode(), binary=False)
    run_sql(BROKEN)
    find_broken(arrival, kind)
    left |= flaws(number_of)
    leave_out()
    _, refused = insert_staged(arrival, kind)
    run_sql("TRUNCATE broken")
    name_conflicts(kind)
    name_refused(refused)
    left |= flaws(number_of)
    leave_out()
    if kind is CUSTOMER:
        mark_fields(arrival.database.channel.company, arrival.database.pk)
    run_sql("DROP TABLE broken, incoming")
    return left


def unreadable(row: Quarantine, broken: InvalidRow) -> Flaw:
    """What is wrong with a row that no table can hold: as was said before, if it still is."""
    if broken.field == row.field:
        return Flaw(row.reason, row.field, row.rule)
    return Flaw(broken.reason, broken.field, "")


def restage_documents(arrival: Arrival, rows: Sequence[Quarantine]) -> dict[int, Flaw]:
    """Keep the documents that pass today's rules. Returns what is wrong with the others."""
    left: dict[int, Flaw] = {}
    waiting = list(rows)
    while waiting:
        some, waiting = apart(waiting)
        left |= keep_some(arrival, some)
    return left


def apart(rows: Sequence[Quarantine]) -> tuple[list[Quarantine], list[Quarantine]]:
    """Rows that can be kept together, and the others: lines find their header by its number."""
    some: list[Quarantine] = []
    others: list[Quarantine] = []
    seen: set[tuple[str, Any]] = set()
    for row in rows:
        number = decode(bytes(row.raw)).get(KEY)
        mine = {("counter", row.row_key), ("number", str(number))}
        (others if mine & seen else some).append(row)
        seen |= mine
    return some, others


def keep_some(arrival: Arrival, rows: Sequence[Quarantine]) -> dict[int, Flaw]:
    """Keep documents of different numbers. Returns what is wrong with those that are left."""
    left: dict[int, Flaw] = {}
    number_of, copied = {}, []
    for row in rows:
        try:
            copied.append(as_document(decode(bytes(row.raw))))
            number_of[int(row.row_key)] = row.pk
        except InvalidRow as broken:
            left[row.pk] = unreadable(row, broken)
    # Who releases these was asked whether both were sold.
    others = [int(row.row_key) for row in rows if row.reason == "document_elsewhere"]
    keep_again(arrival, as_events(copied), others=others)
    left |= flaws(number_of)
    forget_tables()
    return left


def as_document(values: Mapping[str, Any]) -> dict[str, str]:
    """A document as COPY text of each of its tables. Errors: InvalidRow."""
    required = {HEADER.event: "event_id"}
    return {
        part.event: "".join(
            as_line(part, one, required.get(part.event, "line_number"))
            for one in rows_in(values, part)
        )
        for part in (HEADER, *PARTS)
    }


def as_events(documents: Sequence[Mapping[str, str]]) -> EventBatch:
    """Documents as a channel would hand them over."""
    data = {
        part.event: "".join(one[part.event] for one in documents).encode()
        for part in (HEADER, *PARTS)
    }
    return EventBatch(HEADER.event, len(documents), data.pop(HEADER.event), parts=data)


def as_line(kind: Sent, values: Mapping[str, Any], required: str) -> str:
    """A row as COPY text. Errors: InvalidRow for a value that its column cannot hold."""
    readers = [LENIENT.get(name, READERS[name]) for name in map(kind.type_of, kind.sent)]
    found = [values.get(column) for column in kind.sent]
    return copy_line(found, readers, kind.sent, kind.sent.index(required))


def truth(value: Any) -> str:
    """A boolean of either engine: PostgreSQL's are kept as words."""
    return {"true": "t", "false": "f"}.get(value) or READERS["boolean"](value)


def whole(value: Any) -> str:
    """A number of either engine: PostgreSQL's are kept as texts."""
    if isinstance(value, str) and not value.isdecimal():
        raise InvalidValue("type")
    return str(value)


def small(value: Any) -> str:
    """A small number of either engine."""
    is_whole = isinstance(value, str) and value.removeprefix("-").isdecimal()
    return READERS["integer"](int(value) if is_whole else value)


LENIENT = {"boolean": truth, "bigint": whole, "integer": small}


def flaws(number_of: Mapping[int, int]) -> dict[int, Flaw]:
    """What table broken says, by the number of the quarantined row."""
    found = fetch("SELECT replication_counter, reason, field, rule FROM broken")
    return {number_of[counter]: Flaw(*flaw) for counter, *flaw in found}


def keep_open(kind: Sent, left: Mapping[int, Flaw]) -> None:
    """Note of rows what is wrong with them today, and that they were tried once more.

    Whatever else is wrong, an id that HQ holds with other content comes first.
    """
    run_sql(
        sql.SQL(
            """UPDATE quarantine q
                  SET reason = CASE WHEN held.is_there THEN 'event_conflict' ELSE f.reason END,
                      field = CASE WHEN held.is_there THEN 'event_id' ELSE f.field END,
                      rule = CASE WHEN held.is_there THEN 'an id of its own' ELSE f.rule END,
                      attempts = q.attempts + 1, last_seen_at = now()
                 FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[])
                      AS f (id, reason, field, rule)
                 JOIN quarantine mine USING (id)
                CROSS JOIN LATERAL (SELECT EXISTS (
                      SELECT FROM {} s WHERE s.event_id = mine.event_id) AS is_there) held
                WHERE q.id = f.id"""
        ).format(sql.Identifier(kind.event)),
        [
            list(left),
            [flaw.reason for flaw in left.values()],
            [flaw.field for flaw in left.values()],
            [flaw.rule for flaw in left.values()],
        ],
    )


def make_document(row: Quarantine, values: Mapping[str, Any], *, by: Any) -> UUID:
    """Keep a document of HQ in the place of a quarantined one. Returns its id.

    Effects: one sale, in the caller's transaction. Errors: EventRefused with the broken rule.
    """
    made = uuid4()
    (counter,) = fetch_one("SELECT nextval('hq_event_counter')")
    own = {"event_id": str(made), "replication_counter": counter, "operation": "create"}
    try:
        events = as_events([as_document({**values, **own})])
    except InvalidRow as broken:
        raise EventRefused([Rule(broken.reason, broken.field, "")]) from None
    said = {"origin": Origin.HQ, "database": None, "corrects": str(row.pk)}
    said["made_by"] = by.pk if by else None
    keep_again(Arrival(row.database, None, row.generation), events, made=said)
    found = [Rule(flaw.reason, flaw.field, "", flaw.rule) for flaw in flaws({counter: 0}).values()]
    forget_tables()
    if found:
        raise EventRefused(found)
    return made
