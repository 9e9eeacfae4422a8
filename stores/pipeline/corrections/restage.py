"""Stage quarantined rows again, as if they arrived now, if they pass the present rules.

A row is in quarantine because it broke a rule, or because a column could not hold a value. A row
that still does has a flaw, and stays in quarantine.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

from stores.channeldb.exchange.protocol import EventBatch
from stores.channeldb.exchange.sqlite_values import READERS, InvalidRow, InvalidValue, copy_line
from stores.hqdb.sql import fetch, fetch_value, run_sql
from stores.hqdb.work_table import WorkTable
from stores.models import Quarantine
from stores.models.staging import Origin
from stores.pipeline.corrections.events import EventRefused
from stores.pipeline.events.document_tables import DOCUMENT_KEY, DOCUMENT_PARTS, HEADER, part_rows
from stores.pipeline.events.kinds import CUSTOMER, EventKind, StagedTable
from stores.pipeline.events.payloads import decode
from stores.pipeline.events.rules import Rule
from stores.pipeline.fields_to_correct import record_fields
from stores.pipeline.upload.batches import close_batch, open_batch
from stores.pipeline.upload.documents import reinserted_documents
from stores.pipeline.upload.quarantine import (
    UploadSource,
    drop_rejected,
    reject_refused,
    rejected_rows,
)
from stores.pipeline.upload.staging import (
    incoming_rows,
    insert_staged,
    reject_conflicting,
    reject_invalid_rows,
)


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a row now: the reason word, the field, and the rule as a text."""

    reason: str
    field: str
    rule: str


def restage(source: UploadSource, kind: EventKind, rows: Sequence[Quarantine]) -> dict[int, Flaw]:
    """Stage the events that pass. Return the flaws of the others by quarantine id."""
    failing: dict[int, Flaw] = {}
    for part in independent_parts(rows, counter_of):
        failing |= restage_events(source, kind, part)
    return failing


def restage_events(
    source: UploadSource, kind: EventKind, rows: Sequence[Quarantine]
) -> dict[int, Flaw]:
    """Stage events with different counters as one batch. Return the flaws of those that fail."""
    failing: dict[int, Flaw] = {}
    lines: list[str] = []
    # The quarantine id of each row by its replication counter, which is the key of its row.
    row_ids: dict[int, int] = {}
    for row in rows:
        try:
            lines.append(as_line(kind, decode(bytes(row.raw)), required="event_id"))
            row_ids[int(row.row_key)] = row.pk
        except InvalidRow as error:
            failing[row.pk] = unreadable_flaw(row, error)
    data = "".join(lines).encode()
    with incoming_rows(kind, data, binary=False) as incoming, rejected_rows() as rejected:
        reject_invalid_rows(source, kind, incoming, rejected)
        failing |= flaws_of(rejected, row_ids)
        drop_rejected(incoming, rejected)
        batch = open_batch(source.database.channel.company, database=source.database)
        staged, refused = insert_staged(replace(source, batch=batch), kind, incoming)
        close_batch(batch, staged)
        rejected.clear()
        reject_conflicting(kind, incoming, rejected)
        reject_refused(refused, rejected)
        failing |= flaws_of(rejected, row_ids)
        drop_rejected(incoming, rejected)
        if kind is CUSTOMER:
            record_fields(incoming, source.database.channel.company, source.database.pk)
    return failing


def unreadable_flaw(row: Quarantine, error: InvalidRow) -> Flaw:
    """Return the flaw of an unreadable value: the recorded one if the field is the same."""
    if error.field == row.field:
        return Flaw(row.reason, row.field, row.rule)
    return Flaw(error.reason, error.field, "")


def restage_documents(source: UploadSource, rows: Sequence[Quarantine]) -> dict[int, Flaw]:
    """Stage the sales that pass. Return the flaws of the others by quarantine id."""
    failing: dict[int, Flaw] = {}
    for part in independent_parts(rows, counter_and_number_of):
        failing |= restage_sales(source, part)
    return failing


def independent_parts(
    rows: Sequence[Quarantine], keys_of: Callable[[Quarantine], set[tuple[str, str]]]
) -> Iterator[list[Quarantine]]:
    """Yield the rows in parts, in which no key occurs twice.

    A till may have changed a row while it was in quarantine. Then two rows have one counter.
    """
    remaining = list(rows)
    while remaining:
        part: list[Quarantine] = []
        others: list[Quarantine] = []
        seen: set[tuple[str, str]] = set()
        for row in remaining:
            keys = keys_of(row)
            (others if keys & seen else part).append(row)
            seen |= keys
        yield part
        remaining = others


def counter_of(row: Quarantine) -> set[tuple[str, str]]:
    return {("counter", row.row_key)}


def counter_and_number_of(row: Quarantine) -> set[tuple[str, str]]:
    """Return also the transaction number, by which lines and payments find their header."""
    number = decode(bytes(row.raw)).get(DOCUMENT_KEY)
    return counter_of(row) | {("number", str(number))}


def restage_sales(source: UploadSource, rows: Sequence[Quarantine]) -> dict[int, Flaw]:
    """Stage sales with different transaction numbers. Return the flaws of those that fail."""
    failing: dict[int, Flaw] = {}
    documents: list[dict[str, str]] = []
    row_ids: dict[int, int] = {}
    for row in rows:
        try:
            documents.append(as_document(decode(bytes(row.raw))))
            row_ids[int(row.row_key)] = row.pk
        except InvalidRow as error:
            failing[row.pk] = unreadable_flaw(row, error)
    # Another channel has sent a sale with this number. By releasing the row, a person has decided
    # that both sales took place.
    others = [int(row.row_key) for row in rows if row.reason == "document_elsewhere"]
    with reinserted_documents(source, as_events(documents), others=others) as rejected:
        failing |= flaws_of(rejected, row_ids)
    return failing


def as_document(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the rows of a sale as COPY text, by table. Raise InvalidRow."""
    lines = {}
    for part in (HEADER, *DOCUMENT_PARTS):
        required = "event_id" if part is HEADER else "line_number"
        lines[part.event] = "".join(
            as_line(part, row, required=required) for row in part_rows(values, part)
        )
    return lines


def as_events(documents: Sequence[Mapping[str, str]]) -> EventBatch:
    """Return sales as a batch, in the form in which an upload reads them from a channel."""
    data = {
        part.event: "".join(document[part.event] for document in documents).encode()
        for part in (HEADER, *DOCUMENT_PARTS)
    }
    return EventBatch(HEADER.event, len(documents), data.pop(HEADER.event), parts=data)


def as_line(kind: StagedTable, values: Mapping[str, Any], *, required: str) -> str:
    """Return a row as COPY text. Raise InvalidRow if a column cannot hold its value."""
    columns = kind.sent_columns
    readers = READERS | QUARANTINE_READERS
    return copy_line(
        [values.get(column) for column in columns],
        [readers[kind.type_of(column)] for column in columns],
        columns,
        columns.index(required),
    )


def read_boolean(value: Any) -> str:
    return {"true": "t", "false": "f"}.get(value) or READERS["boolean"](value)


def read_bigint(value: Any) -> str:
    if isinstance(value, str) and not is_whole(value):
        raise InvalidValue("type")
    return str(value)


def read_integer(value: Any) -> str:
    is_text = isinstance(value, str) and is_whole(value)
    return READERS["integer"](int(value) if is_text else value)


def is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


# A quarantined row of a PostgreSQL channel has these values as texts, unlike a row of SQLite.
QUARANTINE_READERS = {"boolean": read_boolean, "bigint": read_bigint, "integer": read_integer}


def flaws_of(rejected: WorkTable, row_ids: Mapping[int, int]) -> dict[int, Flaw]:
    """Return the flaws of rejected rows by quarantine id. `row_ids` has the ids by counter."""
    rows = fetch(
        "SELECT replication_counter, reason, field, rule FROM {rejected}", rejected=rejected
    )
    return {row_ids[counter]: Flaw(*flaw) for counter, *flaw in rows}


def record_attempts(kind: StagedTable, flaws: Mapping[int, Flaw]) -> None:
    """Save one more attempt and the present flaw, or that HQ has an event with the same id."""
    run_sql(
        """WITH flaw AS (
             SELECT flaw.id, flaw.reason, flaw.field, flaw.rule,
                    EXISTS (SELECT FROM {event} event
                             WHERE event.event_id = quarantine.event_id) AS is_conflict
               FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[])
                    AS flaw (id, reason, field, rule)
               JOIN quarantine ON quarantine.id = flaw.id)
           UPDATE quarantine
              SET reason = CASE WHEN is_conflict THEN 'event_conflict' ELSE flaw.reason END,
                  field = CASE WHEN is_conflict THEN 'event_id' ELSE flaw.field END,
                  rule = CASE WHEN is_conflict THEN 'an id of its own' ELSE flaw.rule END,
                  attempts = attempts + 1, last_seen_at = now()
             FROM flaw
            WHERE quarantine.id = flaw.id""",
        [
            list(flaws),
            [flaw.reason for flaw in flaws.values()],
            [flaw.field for flaw in flaws.values()],
            [flaw.rule for flaw in flaws.values()],
        ],
        **kind.names,
    )


def replace_document(row: Quarantine, values: Mapping[str, Any], *, by: Any) -> UUID:
    """Stage a sale made at HQ, which replaces a quarantined one. Return its event id.

    This happens in the caller's transaction. Raise EventRefused if the sale breaks a rule.
    """
    event_id = uuid4()
    counter = fetch_value("SELECT nextval('hq_event_counter')")
    own = {"event_id": str(event_id), "replication_counter": counter, "operation": "create"}
    try:
        events = as_events([as_document({**values, **own})])
    except InvalidRow as error:
        raise EventRefused([Rule(error.reason, error.field, "")]) from None
    origin = {
        "origin": Origin.HQ,
        "database": None,
        "corrects": str(row.pk),
        "made_by": by.pk if by else None,
    }
    source = UploadSource(row.database, None, row.generation)
    with reinserted_documents(source, events, made=origin) as rejected:
        flaws = flaws_of(rejected, {counter: row.pk}).values()
        rules = [Rule(flaw.reason, flaw.field, "", flaw.rule) for flaw in flaws]
    if rules:
        raise EventRefused(rules)
    return event_id
