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
from stores.pipeline.events.document_tables import DOCUMENT_KEY, DOCUMENT_PARTS, HEADER, part_rows
from stores.pipeline.events.kinds import CUSTOMER, EventKind, StagedTable
from stores.pipeline.events.payloads import decode
from stores.pipeline.events.rules import Rule
from stores.pipeline.fields_to_correct import record_fields
from stores.pipeline.upload.documents import drop_document_tables, reinsert_documents
from stores.pipeline.upload.quarantine import (
    CREATE_REJECTED,
    UploadBatch,
    drop_rejected,
    reject_refused,
)
from stores.pipeline.upload.staging import (
    create_incoming,
    insert_staged,
    reject_conflicting,
    reject_invalid_rows,
)


@dataclass(frozen=True)
class Flaw:
    reason: str
    field: str
    rule: str


def restage(upload: UploadBatch, kind: EventKind, rows: Sequence[Quarantine]) -> dict[int, Flaw]:
    """Stage the rows that pass today's rules. Returns what is wrong with the others."""
    failing: dict[int, Flaw] = {}
    lines, number_of = [], {}
    for row in rows:
        try:
            lines.append(as_line(kind, decode(bytes(row.raw)), "event_id"))
            number_of[int(row.row_key)] = row.pk
        except InvalidRow as broken:
            failing[row.pk] = unreadable_flaw(row, broken)
    create_incoming(kind)
    copy_in("incoming", kind.sent_columns, "".join(lines).encode(), binary=False)
    run_sql(CREATE_REJECTED)
    reject_invalid_rows(upload, kind)
    failing |= flaws_by_number(number_of)
    drop_rejected()
    _, refused = insert_staged(upload, kind)
    run_sql("TRUNCATE rejected")
    reject_conflicting(kind)
    reject_refused(refused)
    failing |= flaws_by_number(number_of)
    drop_rejected()
    if kind is CUSTOMER:
        record_fields(upload.database.channel.company, upload.database.pk)
    run_sql("DROP TABLE rejected, incoming")
    return failing


def unreadable_flaw(row: Quarantine, broken: InvalidRow) -> Flaw:
    """What is wrong with a row that no table can hold: as was said before, if it still is."""
    if broken.field == row.field:
        return Flaw(row.reason, row.field, row.rule)
    return Flaw(broken.reason, broken.field, "")


def restage_documents(upload: UploadBatch, rows: Sequence[Quarantine]) -> dict[int, Flaw]:
    """Keep the documents that pass today's rules. Returns what is wrong with the others."""
    failing: dict[int, Flaw] = {}
    waiting = list(rows)
    while waiting:
        batch, waiting = split_independent(waiting)
        failing |= restage_batch(upload, batch)
    return failing


def split_independent(rows: Sequence[Quarantine]) -> tuple[list[Quarantine], list[Quarantine]]:
    """Rows that can be kept together, and the others: lines find their header by its number."""
    independent: list[Quarantine] = []
    others: list[Quarantine] = []
    seen: set[tuple[str, Any]] = set()
    for row in rows:
        number = decode(bytes(row.raw)).get(DOCUMENT_KEY)
        keys = {("counter", row.row_key), ("number", str(number))}
        (others if keys & seen else independent).append(row)
        seen |= keys
    return independent, others


def restage_batch(upload: UploadBatch, rows: Sequence[Quarantine]) -> dict[int, Flaw]:
    """Keep documents of different numbers. Returns what is wrong with those that are left."""
    failing: dict[int, Flaw] = {}
    number_of, copied = {}, []
    for row in rows:
        try:
            copied.append(as_document(decode(bytes(row.raw))))
            number_of[int(row.row_key)] = row.pk
        except InvalidRow as broken:
            failing[row.pk] = unreadable_flaw(row, broken)
    # Who releases these was asked whether both were sold.
    others = [int(row.row_key) for row in rows if row.reason == "document_elsewhere"]
    reinsert_documents(upload, as_events(copied), others=others)
    failing |= flaws_by_number(number_of)
    drop_document_tables()
    return failing


def as_document(values: Mapping[str, Any]) -> dict[str, str]:
    """A document as COPY text of each of its tables. Errors: InvalidRow."""
    required = {HEADER.event: "event_id"}
    return {
        part.event: "".join(
            as_line(part, row, required.get(part.event, "line_number"))
            for row in part_rows(values, part)
        )
        for part in (HEADER, *DOCUMENT_PARTS)
    }


def as_events(documents: Sequence[Mapping[str, str]]) -> EventBatch:
    data = {
        part.event: "".join(document[part.event] for document in documents).encode()
        for part in (HEADER, *DOCUMENT_PARTS)
    }
    return EventBatch(HEADER.event, len(documents), data.pop(HEADER.event), parts=data)


def as_line(kind: StagedTable, values: Mapping[str, Any], required: str) -> str:
    """A row as COPY text. Errors: InvalidRow for a value that its column cannot hold."""
    readers = [
        LENIENT_VALUES.get(name, READERS[name]) for name in map(kind.type_of, kind.sent_columns)
    ]
    values_in_order = [values.get(column) for column in kind.sent_columns]
    return copy_line(values_in_order, readers, kind.sent_columns, kind.sent_columns.index(required))


def lenient_boolean(value: Any) -> str:
    """A boolean of either engine: PostgreSQL's are kept as words."""
    return {"true": "t", "false": "f"}.get(value) or READERS["boolean"](value)


def lenient_bigint(value: Any) -> str:
    if isinstance(value, str) and not value.isdecimal():
        raise InvalidValue("type")
    return str(value)


def lenient_integer(value: Any) -> str:
    is_whole = isinstance(value, str) and value.removeprefix("-").isdecimal()
    return READERS["integer"](int(value) if is_whole else value)


LENIENT_VALUES = {"boolean": lenient_boolean, "bigint": lenient_bigint, "integer": lenient_integer}


def flaws_by_number(number_of: Mapping[int, int]) -> dict[int, Flaw]:
    """What table rejected says, by the number of the quarantined row."""
    rows = fetch("SELECT replication_counter, reason, field, rule FROM rejected")
    return {number_of[counter]: Flaw(*flaw) for counter, *flaw in rows}


def record_attempts(kind: StagedTable, flaws: Mapping[int, Flaw]) -> None:
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
            list(flaws),
            [flaw.reason for flaw in flaws.values()],
            [flaw.field for flaw in flaws.values()],
            [flaw.rule for flaw in flaws.values()],
        ],
    )


def replace_document(row: Quarantine, values: Mapping[str, Any], *, by: Any) -> UUID:
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
    columns = {"origin": Origin.HQ, "database": None, "corrects": str(row.pk)}
    columns["made_by"] = by.pk if by else None
    reinsert_documents(UploadBatch(row.database, None, row.generation), events, made=columns)
    rules = [
        Rule(flaw.reason, flaw.field, "", flaw.rule)
        for flaw in flaws_by_number({counter: 0}).values()
    ]
    drop_document_tables()
    if rules:
        raise EventRefused(rules)
    return made
