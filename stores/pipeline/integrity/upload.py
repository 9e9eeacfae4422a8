"""What was taken over from channels: nothing lost, nothing changed, everything accounted for."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import identifiers, listed
from stores.models import Quarantine
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
    missing_rules,
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
# The tables of events that HQ stages, and with the sales all that it takes over.
STAGING_TABLES = [kind.event for kind in EVENT_KINDS]
CAPTURED_TABLES = [table.event for table in STAGED_TABLES]
# Channels may delete events this long after they were acknowledged (reliability 3.2).
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
LOST_OR_DOUBLED = load(__file__, "lost_or_doubled")
FALSE_RECEIPT = """c.label AS channel, {source} AS "table", v.event_id::text,
       v.replication_counter"""


def false_receipts(copy: ComparedTable, copies: Copies) -> list[dict[str, Any]]:
    """The first acknowledged events of one table that HQ has in neither staging nor quarantine."""
    columns = sql.SQL(FALSE_RECEIPT).format(source=sql.Literal(copy.source))
    return offending_rows(receipts(copy, copies, columns))


def receipts(copy: ComparedTable, copies: Copies, columns: sql.Composable) -> sql.Composed:
    """Query for the acknowledged events of one table that HQ does not have."""
    return RECEIPTS.format(
        columns=columns,
        copy=copies.of(copy).identifier,
        channels=copies.channels.identifier,
        event=sql.Identifier(copy.source),
        name=sql.Literal(copy.source),
    )


# A later row of the table was acknowledged, and an upload has passed since: these were left.
PASSED_BY = sql.SQL(
    f"""WITH passed AS (
          SELECT later.database_id, max(later.replication_counter) AS counter
            FROM {{copy}} later
            JOIN {{last_starts}} w ON w.step = 'upload' AND w.database_id = later.database_id
           WHERE later.acknowledged_at < w.since - {GRACE} GROUP BY later.database_id)
        SELECT c.label AS channel, {{name}} AS "table", v.event_id::text, v.replication_counter
          FROM {{copy}} v JOIN {{channels}} c USING (database_id)
          JOIN passed USING (database_id)
         WHERE v.acknowledged_at IS NULL AND v.replication_counter < passed.counter
           AND NOT EXISTS (SELECT FROM incomplete_document n WHERE n.event_id = v.event_id)"""  # noqa: S608
)


def nothing_stays_behind(evidence: Evidence) -> Check:
    return check_result(
        "I8",
        "Uploads have skipped no event, and no line or payment lacks its header.",
        sum(count_rows(evidence.copies.of(copy)) for copy in COMPARED_EVENTS),
        evidence.snapshot.unreachable,
        evidence.snapshot.orphans,
        *(
            offending_rows(
                PASSED_BY.format(
                    copy=evidence.copies.of(copy).identifier,
                    name=sql.Literal(copy.source),
                    **evidence.names,
                )
            )
            for copy in COMPARED_EVENTS
        ),
        late=sum(
            count_rows(evidence.copies.of(copy), "acknowledged_at IS NULL")
            for copy in COMPARED_EVENTS
        ),
    )


def vanished(copy: ComparedTable, copies: Copies, condition: str = "") -> sql.Composed:
    """Query for the events of one table that HQ holds from a channel and that are gone there."""
    return VANISHED.format(
        name=sql.Literal(copy.source),
        event=sql.Identifier(copy.source),
        copy=copies.of(copy).identifier,
        channels=copies.channels.identifier,
        retention=sql.SQL(RETENTION),
        condition=sql.SQL(condition or "true"),
    )


EXCUSED = """NOT EXISTS (SELECT FROM incident i
                  WHERE i.database_id = s.database_id AND i.closed_at IS NULL
                    AND i.kind IN ('channel_restored', 'event_vanished'))"""


def hq_holds_only_what_was_captured(evidence: Evidence) -> Check:
    return check_result(
        "I9",
        "Headquarters has no event that its channel never had, unless the channel was restored or"
        " the event is past its retention time.",
        sum(count_rows(table) for table in CAPTURED_TABLES),
        evidence.snapshot.unreachable,
        *(offending_rows(vanished(copy, evidence.copies, EXCUSED)) for copy in COMPARED_EVENTS),
    )


def every_row_is_accounted_for(evidence: Evidence) -> Check:
    return check_result(
        "I11",
        "Every row that an upload read is accounted for, and a recount agrees, for every upload"
        " and day.",
        count_rows("upload_session"),
        lost_or_doubled(),
        missing_rules(
            *(
                DatabaseRule("trigger", table, "arrivals_are_counted")
                for table in (*TRAVELLING_TABLES, "quarantine")
            ),
            DatabaseRule("constraint", "upload_session", "every_row_read_is_accounted_for"),
            *(
                DatabaseRule("constraint", table, f"{table.replace('_', '')}_status_is_known")
                for table in STAGING_TABLES
            ),
        ),
        offending_rows(miscounted_uploads()),
    )


def miscounted_uploads() -> sql.Composed:
    rows = (f"SELECT session_id FROM {table}" for table in CAPTURED_TABLES)  # noqa: S608
    return MISCOUNTED_UPLOADS.format(staged=sql.SQL(" UNION ALL ".join(rows)))


def lost_or_doubled() -> list[dict[str, Any]]:
    """Days of which other rows are there than arrived, also where the balance has not seen it."""
    return offending_rows(lost_or_doubled_query())


def lost_or_doubled_query() -> sql.Composed:
    events = (
        f"""SELECT database_id, '{table}' AS "table", staged_at AS at, 1::bigint AS rows
              FROM {table} WHERE session_id IS NOT NULL"""  # noqa: S608
        for table in CAPTURED_TABLES
    )
    parts = (
        f"""SELECT t.database_id, '{part.event}', t.staged_at, 1
              FROM {part.event} p JOIN {HEADER.event} t ON t.id = p.transaction_id
             WHERE t.session_id IS NOT NULL
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
        missing_rules(
            DatabaseRule("constraint", "quarantine", "a_bad_row_is_kept_once"),
            DatabaseRule("constraint", "quarantine", "quarantine_has_a_reason"),
        ),
        list(damaged_rows()),
        *(
            offending_rows(
                f"""SELECT q.id, q.event_id::text, 'pending as well' AS what
                      FROM quarantine q JOIN {table} s USING (event_id)
                     WHERE q.status = 'open' AND q."table" = '{table}'
                       AND q.reason <> 'event_conflict' AND s.status = 'pending'"""  # noqa: S608
            )
            for table in STAGING_TABLES
        ),
    )


def damaged_rows() -> Iterator[dict[str, Any]]:
    """Quarantined rows that can no longer be had back as they came."""
    named = 0
    rows = Quarantine.objects.values_list("pk", "raw", "payload_hash", "reason", "attempts")
    for pk, raw, payload_hash, reason, attempts in rows.iterator():
        is_whole = hashlib.sha256(raw).digest() == bytes(payload_hash) and is_row(bytes(raw))
        if is_whole and reason and attempts > 0:
            continue
        yield {"id": pk, "what": "damaged" if not is_whole else "without reason or attempt"}
        named += 1
        if named == MAX_OFFENDING:
            return


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
        missing_rules(
            *(
                DatabaseRule("constraint", table, f"{table.replace('_', '')}_failed_says_why")
                for table in STAGING_TABLES
            ),
            DatabaseRule("constraint", "retail_transaction", "an_order_that_waits_says_why"),
            DatabaseRule("constraint", "statement", "an_open_statement_says_why"),
        ),
        *(
            offending_rows(
                f"""SELECT '{table}' AS "table", event_id::text, 'failed without reason' AS what
                      FROM {table} WHERE status = 'failed' AND coalesce(reason, '') = ''"""  # noqa: S608
            )
            for table in STAGING_TABLES
        ),
        *(
            offending_rows(
                f"""SELECT '{table}' AS "table", s.event_id::text, coalesce(s.reason, 'none')
                           AS reason, 'passed by' AS what
                      FROM {table} s JOIN {{last_starts}} w ON w.step = 'convert'
                                                  AND w.company_id = s.company_id
                      LEFT JOIN guid_map m USING (async_account)
                      LEFT JOIN customer k ON k.company_id = s.company_id
                                          AND k.account_number = s.account_number
                     WHERE s.status = 'pending' AND s.staged_at < w.since - {GRACE}
                       AND (coalesce(s.reason, '') = ''
                            OR least(m.created_at, k.created_at) < w.since - {GRACE})""",  # noqa: S608
                evidence.names,
            )
            for table in STAGING_TABLES
        ),
        late=sum(count_rows(table, "status = 'pending'") for table in STAGING_TABLES),
    )


def changed_events(kind: EventKind, copies: Copies) -> sql.Composed:
    """Query for events of which channel and HQ hold different contents; see its file."""
    (content,) = (copy for copy in COMPARED_CONTENTS if copy.source == kind.event)
    columns = [column for column in kind.sent_columns if column != "replication_counter"]
    sent = {column: sql.SQL(stored_value(kind, column, "v")) for column in columns}
    differing = (
        sql.SQL("CASE WHEN {} IS DISTINCT FROM {} THEN {} END").format(
            value, sql.Identifier("s", column), sql.Literal(column)
        )
        for column, value in sent.items()
    )
    return CHANGED_EVENTS.format(
        name=sql.Literal(kind.event),
        event=sql.Identifier(kind.event),
        contents=copies.of(content).identifier,
        channels=copies.channels.identifier,
        differing=listed(differing),
        held=identifiers(columns, of="s"),
        sent=listed(sent.values()),
    )


def changed_documents(copies: Copies) -> sql.Composed:
    """Query for documents of which a channel has other contents than it sent; see its file."""
    (content,) = (copy for copy in COMPARED_CONTENTS if copy.source == HEADER.event)
    lines, payments = COMPARED_PARTS[HEADER.event]
    described = description_query(
        copies.of(content).identifier,
        copies.of(lines).identifier,
        copies.of(payments).identifier,
        key=("database_id", DOCUMENT_KEY),
    )
    return CHANGED_DOCUMENTS.format(described=described, channels=copies.channels.identifier)


def changed(copies: Copies) -> dict[str, sql.Composed]:
    """Queries for the events that have changed, by table."""
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
