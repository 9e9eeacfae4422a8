"""Checks of uploads: no event of a channel is lost or changed, and every row is accounted for.

HQ acknowledges an event in its channel once it is staged or quarantined at HQ. `seen` is a channel
database that was read, `held` an event in the copy of its table.
"""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import identifiers, listed
from stores.messages.message import Message
from stores.models import Quarantine
from stores.pipeline.events.document_tables import DOCUMENT_KEY, HEADER
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind
from stores.pipeline.events.rules import stored_value
from stores.pipeline.events.tables import STAGED_TABLES, TRAVELLING_TABLES
from stores.pipeline.integrity.checks import (
    MAX_OFFENDING,
    Check,
    DatabaseRule,
    check_result,
    count_rows,
    differing_columns,
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

CHANGED_DOCUMENTS = load(__file__, "changed_documents")
CHANGED_EVENTS = load(__file__, "changed_events")
LOST_OR_DOUBLED = load(__file__, "lost_or_doubled")
RECEIPTS = load(__file__, "receipts")
VANISHED = load(__file__, "vanished")
STAGING_TABLES = [kind.event for kind in EVENT_KINDS]
# Channels may delete events this long after HQ has acknowledged them.
RETENTION = "interval '35 days'"


def no_false_receipts(evidence: Evidence) -> Check:
    return check_result(
        "I7",
        Message("promise_I7"),
        sum(
            count_rows(evidence.copies.of(copy), "acknowledged_at IS NOT NULL")
            for copy in COMPARED_EVENTS
        ),
        evidence.snapshot.unreachable,
        *(
            false_receipts(copy, evidence.copies)
            for copy in evidence.copies.filled(COMPARED_EVENTS)
        ),
    )


def false_receipts(copy: ComparedTable, copies: Copies) -> list[dict[str, Any]]:
    """Return the acknowledged events that HQ does not have."""
    rows = offending_rows(receipts(copy, copies))
    return [{name: row[name] for name in row if name != "database_id"} for row in rows]


def receipts(copy: ComparedTable, copies: Copies) -> sql.Composed:
    """Return the query for acknowledged events that HQ does not have. See its file."""
    return RECEIPTS.format(
        copy=copies.of(copy),
        channels=copies.channels,
        event=sql.Identifier(copy.source),
        name=sql.Literal(copy.source),
    )


# Events of a table that uploads have skipped: they are not acknowledged, although a later event was
# acknowledged before the cutoff of the last upload.
SKIPPED = """
    WITH acknowledged AS (
      SELECT event.database_id, max(event.replication_counter) AS counter
        FROM {copy} event
        JOIN {cutoffs} upload
          ON upload.step = 'upload' AND upload.database_id = event.database_id
       WHERE event.acknowledged_at < upload.cutoff
       GROUP BY event.database_id)
    SELECT seen.label AS channel, {name} AS "table", event.event_id::text,
           event.replication_counter
      FROM {copy} event
      JOIN {channels} seen ON seen.database_id = event.database_id
      JOIN acknowledged ON acknowledged.database_id = event.database_id
     WHERE event.acknowledged_at IS NULL
       AND event.replication_counter < acknowledged.counter
       AND NOT EXISTS (SELECT FROM incomplete_document incomplete
                        WHERE incomplete.event_id = event.event_id)"""


def nothing_stays_behind(evidence: Evidence) -> Check:
    return check_result(
        "I8",
        Message("promise_I8"),
        sum(count_rows(evidence.copies.of(copy)) for copy in COMPARED_EVENTS),
        evidence.snapshot.unreachable,
        evidence.snapshot.orphans,
        *(
            offending_rows(
                SKIPPED,
                copy=evidence.copies.of(copy),
                name=sql.Literal(copy.source),
                **evidence.names,
            )
            for copy in evidence.copies.filled(COMPARED_EVENTS)
        ),
        late=sum(
            count_rows(evidence.copies.of(copy), "acknowledged_at IS NULL")
            for copy in COMPARED_EVENTS
        ),
    )


def vanished(copy: ComparedTable, copies: Copies, condition: str = "true") -> sql.Composed:
    """Return the query for events of HQ that their channel no longer has. See its file."""
    return VANISHED.format(
        name=sql.Literal(copy.source),
        event=sql.Identifier(copy.source),
        copy=copies.of(copy),
        channels=copies.channels,
        retention=sql.SQL(RETENTION),
        condition=sql.SQL(condition),
    )


# No incident explains why the event is gone.
IS_UNEXPLAINED = """NOT EXISTS (SELECT FROM incident
                  WHERE incident.database_id = event.database_id AND incident.closed_at IS NULL
                    AND incident.kind IN ('channel_restored', 'event_vanished'))"""


def hq_holds_only_what_was_captured(evidence: Evidence) -> Check:
    return check_result(
        "I9",
        Message("promise_I9"),
        sum(count_rows(table.event) for table in STAGED_TABLES),
        evidence.snapshot.unreachable,
        *(vanished(copy, evidence.copies, IS_UNEXPLAINED) for copy in COMPARED_EVENTS),
    )


def every_row_is_accounted_for(evidence: Evidence) -> Check:
    return check_result(
        "I11",
        Message("promise_I11"),
        count_rows("upload_session"),
        LOST_OR_DOUBLED,
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
        # Uploads with other rows than they counted, or whose counts do not add up.
        """WITH staged AS (
             SELECT session_id AS id, count(*) AS rows FROM staged_row
              WHERE session_id IS NOT NULL GROUP BY session_id),
           quarantined AS (
             SELECT session_id AS id, count(*) AS rows FROM quarantine GROUP BY session_id)
           SELECT id::text AS session, upload.read, upload.staged, staged.rows AS staged_rows,
                  upload.quarantined, quarantined.rows AS quarantined_rows
             FROM upload_session upload FULL JOIN staged USING (id) FULL JOIN quarantined USING (id)
            WHERE upload.id IS NULL
               OR upload.read <> upload.staged + upload.unchanged + upload.quarantined
                                 + upload.waiting
               OR upload.staged <> coalesce(staged.rows, 0)
               OR upload.quarantined <> coalesce(quarantined.rows, 0)""",
        # Batches with other events than they counted, and events without a batch.
        """WITH staged AS (
             SELECT batch_id AS id, count(*) AS rows FROM staged_row
              WHERE batch_id IS NOT NULL GROUP BY batch_id)
           SELECT id AS batch, batch.rows, staged.rows AS staged_rows
             FROM upload_batch batch FULL JOIN staged USING (id)
            WHERE batch.rows IS DISTINCT FROM staged.rows""",
    )


def quarantine_is_lossless(evidence: Evidence) -> Check:
    return check_result(
        "I12",
        Message("promise_I12"),
        count_rows("quarantine"),
        DatabaseRule("constraint", "quarantine", "a_bad_row_is_kept_once"),
        DatabaseRule("constraint", "quarantine", "quarantine_has_a_reason"),
        list(islice(damaged_rows(), MAX_OFFENDING)),
        *(pending_as_well(kind) for kind in EVENT_KINDS),
    )


def pending_as_well(kind: EventKind) -> sql.Composed:
    """Return the query for open quarantined rows with a pending event of the same id."""
    return sql.SQL(
        """SELECT quarantine.id, quarantine.event_id::text, 'pending as well' AS what
             FROM quarantine JOIN {view} event ON event.event_id = quarantine.event_id
            WHERE quarantine."table" = {name} AND quarantine.status = 'open'
              AND quarantine.reason <> 'event_conflict' AND event.status = 'pending'"""
    ).format(**kind.names)


def damaged_rows() -> Iterator[dict[str, Any]]:
    """Yield the quarantined rows that are not as they were quarantined, or lack a reason."""
    rows = Quarantine.objects.values_list("pk", "raw", "payload_hash", "reason", "attempts")
    for pk, raw, payload_hash, reason, attempts in rows.iterator():
        if hashlib.sha256(raw).digest() != bytes(payload_hash) or not is_json_object(bytes(raw)):
            yield {"id": pk, "what": "damaged"}
        elif not reason or attempts < 1:
            yield {"id": pk, "what": "without reason or attempt"}


def is_json_object(raw: bytes) -> bool:
    try:
        return isinstance(json.loads(raw), dict)
    except ValueError:
        return False


def what_waits_has_a_reason(evidence: Evidence) -> Check:
    return check_result(
        "I14",
        Message("promise_I14"),
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
        """SELECT batch.id AS batch, batch.rows, 'passed by' AS what
             FROM upload_batch batch
             JOIN {cutoffs} conversion
               ON conversion.step = 'convert' AND conversion.company_id = batch.company_id
            WHERE batch.converted_at IS NULL AND batch.staged_at < conversion.cutoff""",
        """SELECT event."table", event.event_id::text,
                  coalesce(event.reason, 'none') AS reason, 'passed by' AS what
             FROM open_event event
             JOIN {cutoffs} conversion
               ON conversion.step = 'convert' AND conversion.company_id = event.company_id
             LEFT JOIN guid_map ON guid_map.async_account = event.async_account
             LEFT JOIN customer ON customer.company_id = event.company_id
              AND customer.account_number = event.account_number
            WHERE event.status = 'waiting'
              AND coalesce(event.released_at, guid_map.created_at, customer.created_at)
                  < conversion.cutoff
              AND coalesce(event.released_at, event.last_tried_at) < conversion.cutoff""",
        late=count_rows("open_event", "status = 'waiting'")
        + count_rows("upload_batch", "converted_at IS NULL"),
        names=evidence.names,
    )


def changed_events(kind: EventKind, copies: Copies) -> sql.Composed:
    """Return the query for events with other values in the channel than at HQ. See its file."""
    (content,) = (copy for copy in COMPARED_CONTENTS if copy.source == kind.event)
    columns = [column for column in kind.sent_columns if column != "replication_counter"]
    sent = {column: sql.SQL(stored_value(kind, column, "held")) for column in columns}
    return CHANGED_EVENTS.format(
        contents=copies.of(content),
        channels=copies.channels,
        differing=differing_columns(sent, of="event"),
        columns=identifiers(columns, of="event"),
        sent=listed(sent.values()),
        **kind.names,
    )


def changed_documents(copies: Copies) -> sql.Composed:
    """Return the query for sales with another content in the channel. See its file."""
    (content,) = (copy for copy in COMPARED_CONTENTS if copy.source == HEADER.event)
    lines, payments = COMPARED_PARTS[HEADER.event]
    described = description_query(
        copies.of(content), copies.of(lines), copies.of(payments), key=("database_id", DOCUMENT_KEY)
    )
    return CHANGED_DOCUMENTS.format(described=described, channels=copies.channels)


def changed(copies: Copies) -> dict[str, sql.Composed]:
    """Return the queries for events and sales that differ between channel and HQ, by table."""
    return {
        **{kind.event: changed_events(kind, copies) for kind in EVENT_KINDS},
        HEADER.event: changed_documents(copies),
    }


def events_never_change(evidence: Evidence) -> Check:
    sample = Message("every_event" if evidence.snapshot.full else "sample_of_events")
    changed_of_table = changed(evidence.copies)
    return check_result(
        "I40",
        Message("promise_I40", sample=sample),
        sum(count_rows(evidence.copies.of(copy)) for copy in COMPARED_CONTENTS),
        evidence.snapshot.unreachable,
        *(
            offending_rows(changed_of_table[copy.source])
            for copy in evidence.copies.filled(COMPARED_CONTENTS)
        ),
    )
