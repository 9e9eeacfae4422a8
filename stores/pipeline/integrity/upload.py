"""Checks of uploads: no event of a channel is lost or changed, and every row is accounted for."""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import identifiers, listed
from stores.models import Quarantine
from stores.pipeline.events import document_tables
from stores.pipeline.events.document_tables import DOCUMENT_KEY, DOCUMENT_PARTS, HEADER
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind
from stores.pipeline.events.rules import stored_value
from stores.pipeline.events.tables import STAGED_TABLES, TRAVELLING_TABLES
from stores.pipeline.integrity.checks import (
    GRACE,
    MAX_OFFENDING,
    Check,
    DatabaseRule,
    check_result,
    count_rows,
    offending_rows,
)
from stores.pipeline.integrity.evidence import Evidence
from stores.pipeline.integrity.snapshot import Copies
from stores.pipeline.integrity.tables import (
    COMPARED_CONTENTS,
    COMPARED_EVENTS,
    COMPARED_PARTS,
    ComparedTable,
)
from stores.pipeline.upload.documents import description_query

CHANGED_EVENTS = load(__file__, "changed_events")
CHANGED_DOCUMENTS = load(__file__, "changed_documents")
# The tables of staged events; and by table their views, and the table of sales.
STAGING_TABLES = [kind.event for kind in EVENT_KINDS]
CAPTURED_ROWS = {
    **{kind.event: kind.view for kind in EVENT_KINDS},
    document_tables.DOCUMENT_TABLE: document_tables.DOCUMENT_TABLE,
}
CAPTURED_TABLES = [table.event for table in STAGED_TABLES]
# Channels may delete events this long after HQ has acknowledged them.
RETENTION = "interval '35 days'"


def no_false_receipts(evidence: Evidence) -> Check:
    return check_result(
        "I7",
        "Every event acknowledged in a channel is at headquarters, or in quarantine there.",
        sum(
            count_rows(evidence.copies.of(copy), "acknowledged_at IS NOT NULL")
            for copy in COMPARED_EVENTS
        ),
        evidence.snapshot.unreachable,
        *(false_receipts(copy, evidence.copies) for copy in COMPARED_EVENTS),
    )


RECEIPTS = load(__file__, "receipts")
VANISHED = load(__file__, "vanished")
MISCOUNTED_UPLOADS = load(__file__, "miscounted_uploads")
MISCOUNTED_BATCHES = load(__file__, "miscounted_batches")
LOST_OR_DOUBLED = load(__file__, "lost_or_doubled")
FALSE_RECEIPT = """seen.label AS channel, {source} AS "table", held.event_id::text,
       held.replication_counter"""


def false_receipts(copy: ComparedTable, copies: Copies) -> list[dict[str, Any]]:
    columns = sql.SQL(FALSE_RECEIPT).format(source=sql.Literal(copy.source))
    return offending_rows(receipts(copy, copies, columns))


def receipts(copy: ComparedTable, copies: Copies, columns: sql.Composable) -> sql.Composed:
    return RECEIPTS.format(
        columns=columns,
        copy=copies.of(copy),
        channels=copies.channels,
        event=sql.Identifier(copy.source),
        name=sql.Literal(copy.source),
    )


# Events that an upload has skipped: they are not acknowledged, although a later event of the table
# was, and another upload has run since.
SKIPPED = sql.SQL(
    f"""WITH acknowledged AS (
          SELECT event.database_id, max(event.replication_counter) AS counter
            FROM {{copy}} event
            JOIN {{last_starts}} upload ON upload.step = 'upload'
             AND upload.database_id = event.database_id
           WHERE event.acknowledged_at < upload.since - {GRACE}
           GROUP BY event.database_id)
        SELECT seen.label AS channel, {{name}} AS "table", event.event_id::text,
               event.replication_counter
          FROM {{copy}} event
          JOIN {{channels}} seen ON seen.database_id = event.database_id
          JOIN acknowledged ON acknowledged.database_id = event.database_id
         WHERE event.acknowledged_at IS NULL
           AND event.replication_counter < acknowledged.counter
           AND NOT EXISTS (SELECT FROM incomplete_document incomplete
                            WHERE incomplete.event_id = event.event_id)"""  # noqa: S608
)


def nothing_stays_behind(evidence: Evidence) -> Check:
    return check_result(
        "I8",
        "Uploads have skipped no event, and no line or payment lacks its header.",
        sum(count_rows(evidence.copies.of(copy)) for copy in COMPARED_EVENTS),
        evidence.snapshot.unreachable,
        evidence.snapshot.orphans,
        *(
            SKIPPED.format(
                copy=evidence.copies.of(copy), name=sql.Literal(copy.source), **evidence.names
            )
            for copy in COMPARED_EVENTS
        ),
        late=sum(
            count_rows(evidence.copies.of(copy), "acknowledged_at IS NULL")
            for copy in COMPARED_EVENTS
        ),
    )


def vanished(copy: ComparedTable, copies: Copies, condition: str = "") -> sql.Composed:
    return VANISHED.format(
        name=sql.Literal(copy.source),
        event=sql.Identifier(copy.source),
        copy=copies.of(copy),
        channels=copies.channels,
        retention=sql.SQL(RETENTION),
        condition=sql.SQL(condition or "true"),
    )


EXCUSED = """NOT EXISTS (SELECT FROM incident
                  WHERE incident.database_id = event.database_id AND incident.closed_at IS NULL
                    AND incident.kind IN ('channel_restored', 'event_vanished'))"""


def hq_holds_only_what_was_captured(evidence: Evidence) -> Check:
    return check_result(
        "I9",
        "Headquarters has no event that its channel never had, unless the channel was restored or"
        " the event is past its retention time.",
        sum(count_rows(table) for table in CAPTURED_TABLES),
        evidence.snapshot.unreachable,
        *(vanished(copy, evidence.copies, EXCUSED) for copy in COMPARED_EVENTS),
    )


def every_row_is_accounted_for(evidence: Evidence) -> Check:
    return check_result(
        "I11",
        "Every row that an upload read is accounted for, and a recount agrees, for every upload"
        " and day.",
        count_rows("upload_session"),
        lost_or_doubled_query(),
        *(
            DatabaseRule("trigger", table, "arrivals_are_counted")
            for table in (*TRAVELLING_TABLES, "quarantine")
        ),
        DatabaseRule("constraint", "upload_session", "every_row_read_is_accounted_for"),
        *(
            DatabaseRule("trigger", table, "a_staged_event_never_changes")
            for table in STAGING_TABLES
        ),
        DatabaseRule("trigger", "upload_batch", "a_batch_is_converted_once"),
        miscounted_uploads(),
        miscounted_batches(),
    )


def miscounted_uploads() -> sql.Composed:
    rows = (f"SELECT session_id FROM {rows}" for rows in CAPTURED_ROWS.values())  # noqa: S608
    return MISCOUNTED_UPLOADS.format(staged=sql.SQL(" UNION ALL ".join(rows)))


def miscounted_batches() -> sql.Composed:
    """Query for batches with other events than they count, and events without a batch."""
    rows = (f"SELECT batch_id FROM {table}" for table in STAGING_TABLES)  # noqa: S608
    return MISCOUNTED_BATCHES.format(staged=sql.SQL(" UNION ALL ".join(rows)))


def lost_or_doubled_query() -> sql.Composed:
    events = (
        f"""SELECT database_id, '{table}' AS "table", staged_at AS at, 1::bigint AS rows
              FROM {rows} WHERE session_id IS NOT NULL"""  # noqa: S608
        for table, rows in CAPTURED_ROWS.items()
    )
    parts = (
        f"""SELECT sale.database_id, '{part.event}', sale.staged_at, 1
              FROM {part.event} part JOIN {HEADER.event} sale ON sale.id = part.transaction_id
             WHERE sale.session_id IS NOT NULL
            UNION ALL
            SELECT database_id, '{part.event}', first_seen_at, rows_aside(raw, '{part.event}')
              FROM quarantine WHERE "table" = '{HEADER.event}'"""  # noqa: S608
        for part in DOCUMENT_PARTS
    )
    return LOST_OR_DOUBLED.format(held=sql.SQL(" UNION ALL ".join([*events, *parts])))


def quarantine_is_lossless(evidence: Evidence) -> Check:
    return check_result(
        "I12",
        "A quarantined row is kept whole, with its reason, and is pending nowhere else.",
        count_rows("quarantine"),
        DatabaseRule("constraint", "quarantine", "a_bad_row_is_kept_once"),
        DatabaseRule("constraint", "quarantine", "quarantine_has_a_reason"),
        list(islice(damaged_rows(), MAX_OFFENDING)),
        *(pending_as_well(kind) for kind in EVENT_KINDS),
    )


def pending_as_well(kind: EventKind) -> sql.Composed:
    """Query for open quarantined rows of which an event of the same id is pending."""
    return sql.SQL(
        """SELECT quarantine.id, quarantine.event_id::text, 'pending as well' AS what
             FROM quarantine JOIN {view} event ON event.event_id = quarantine.event_id
            WHERE quarantine."table" = {name} AND quarantine.status = 'open'
              AND quarantine.reason <> 'event_conflict' AND event.status = 'pending'"""
    ).format(**kind.names)


def damaged_rows() -> Iterator[dict[str, Any]]:
    rows = Quarantine.objects.values_list("pk", "raw", "payload_hash", "reason", "attempts")
    for pk, raw, payload_hash, reason, attempts in rows.iterator():
        is_whole = hashlib.sha256(raw).digest() == bytes(payload_hash) and is_row(bytes(raw))
        if not is_whole:
            yield {"id": pk, "what": "damaged"}
        elif not reason or attempts < 1:
            yield {"id": pk, "what": "without reason or attempt"}


def is_row(raw: bytes) -> bool:
    try:
        return isinstance(json.loads(raw), dict)
    except ValueError:
        return False


def what_waits_has_a_reason(evidence: Evidence) -> Check:
    return check_result(
        "I14",
        "Everything that waits or failed has a reason, and nothing waits for what has already"
        " arrived.",
        sum(count_rows(table) for table in STAGING_TABLES)
        + count_rows("retail_transaction")
        + count_rows("statement"),
        DatabaseRule("constraint", "open_event", "a_failed_event_says_why"),
        DatabaseRule("constraint", "open_event", "open_event_status_is_known"),
        DatabaseRule("trigger", "open_event", "an_event_is_open_or_settled"),
        DatabaseRule("trigger", "settled_event", "an_event_is_open_or_settled"),
        DatabaseRule("constraint", "retail_transaction", "an_order_that_waits_says_why"),
        DatabaseRule("constraint", "statement", "an_open_statement_says_why"),
        """SELECT "table", event_id::text, 'failed without reason' AS what
             FROM open_event WHERE status = 'failed' AND coalesce(reason, '') = ''""",
        """SELECT open."table", open.event_id::text, 'open and settled' AS what
             FROM open_event open JOIN settled_event USING ("table", event_id)""",
        # A later conversion has left a batch, an event without a reason, or one with an account.
        f"""SELECT batch.id AS batch, batch.rows, 'passed by' AS what
              FROM upload_batch batch
              JOIN {{last_starts}} conversion ON conversion.step = 'convert'
               AND conversion.company_id = batch.company_id
             WHERE batch.converted_at IS NULL
               AND batch.staged_at < conversion.since - {GRACE}""",  # noqa: S608
        f"""SELECT event."table", event.event_id::text,
                   coalesce(event.reason, 'none') AS reason, 'passed by' AS what
              FROM open_event event
              JOIN {{last_starts}} conversion ON conversion.step = 'convert'
               AND conversion.company_id = event.company_id
              LEFT JOIN guid_map ON guid_map.async_account = event.async_account
              LEFT JOIN customer ON customer.company_id = event.company_id
               AND customer.account_number = event.account_number
             WHERE event.status = 'waiting'
               AND coalesce(event.released_at, guid_map.created_at, customer.created_at)
                   < conversion.since - {GRACE}
               AND coalesce(event.released_at, event.last_tried_at)
                   < conversion.since - {GRACE}""",  # noqa: S608
        late=count_rows("open_event", "status = 'waiting'")
        + count_rows("upload_batch", "converted_at IS NULL"),
        names=evidence.names,
    )


def changed_events(kind: EventKind, copies: Copies) -> sql.Composed:
    (content,) = (copy for copy in COMPARED_CONTENTS if copy.source == kind.event)
    columns = [column for column in kind.sent_columns if column != "replication_counter"]
    sent = {column: sql.SQL(stored_value(kind, column, "held")) for column in columns}
    differing = (
        sql.SQL("CASE WHEN {} IS DISTINCT FROM {} THEN {} END").format(
            value, sql.Identifier("event", column), sql.Literal(column)
        )
        for column, value in sent.items()
    )
    return CHANGED_EVENTS.format(
        contents=copies.of(content),
        channels=copies.channels,
        differing=listed(differing),
        columns=identifiers(columns, of="event"),
        sent=listed(sent.values()),
        **kind.names,
    )


def changed_documents(copies: Copies) -> sql.Composed:
    (content,) = (copy for copy in COMPARED_CONTENTS if copy.source == HEADER.event)
    lines, payments = COMPARED_PARTS[HEADER.event]
    described = description_query(
        copies.of(content),
        copies.of(lines),
        copies.of(payments),
        key=("database_id", DOCUMENT_KEY),
    )
    return CHANGED_DOCUMENTS.format(described=described, channels=copies.channels)


def changed(copies: Copies) -> dict[str, sql.Composed]:
    return {
        **{kind.event: changed_events(kind, copies) for kind in EVENT_KINDS},
        HEADER.event: changed_documents(copies),
    }


def events_never_change(evidence: Evidence) -> Check:
    what = "every event" if evidence.snapshot.full else "a sample of events that moves on every day"
    return check_result(
        "I40",
        f"Events never change: headquarters has them as their channel has them ({what}).",
        sum(count_rows(evidence.copies.of(copy)) for copy in COMPARED_CONTENTS),
        evidence.snapshot.unreachable,
        *map(offending_rows, changed(evidence.copies).values()),
    )
