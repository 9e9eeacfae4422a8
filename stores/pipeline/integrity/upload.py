"""What was taken over from channels: nothing lost, nothing changed, everything accounted for."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from psycopg2 import sql

from stores.hqdb.sql import Query
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
from stores.pipeline.integrity.snapshot import Snapshot
from stores.pipeline.integrity.tables import (
    COMPARED_CONTENTS,
    COMPARED_EVENTS,
    COMPARED_PARTS,
    ComparedTable,
)
from stores.pipeline.upload.documents import description_query

# The tables of events that HQ stages, and with the sales all that it takes over.
STAGING_TABLES = [kind.event for kind in EVENT_KINDS]
CAPTURED_TABLES = [table.event for table in STAGED_TABLES]
# Channels may delete events this long after they were acknowledged (reliability 3.2).
RETENTION = "interval '35 days'"


def no_false_receipts(snapshot: Snapshot) -> Check:
    return check_result(
        "I7",
        "Every event acknowledged in a channel is at headquarters, or in quarantine there.",
        sum(count_rows(copy.target, "acknowledged_at IS NOT NULL") for copy in COMPARED_EVENTS),
        snapshot.unreachable,
        *(false_receipts(copy) for copy in COMPARED_EVENTS),
    )


# Acknowledged events of one table that HQ has in neither staging nor quarantine. A copied database
# holds the receipts of its original, so an event with an id may have come from any.
RECEIPTS = """SELECT {columns}
                FROM {target} v JOIN seen_channel c USING (database_id)
                LEFT JOIN {staged} s ON s.event_id = v.event_id
               WHERE s.event_id IS NULL AND v.acknowledged_at IS NOT NULL
                 AND NOT EXISTS (SELECT FROM quarantine q
                                  WHERE q.event_id = v.event_id AND q."table" = '{source}')
                 AND NOT EXISTS (SELECT FROM quarantine q
                                  WHERE q.database_id = v.database_id AND q."table" = '{source}'
                                    AND q.row_key = v.replication_counter::text
                                    AND (q.event_id IS NULL OR v.event_id IS NULL))"""


def false_receipts(copy: ComparedTable) -> list[dict[str, Any]]:
    """The first acknowledged events of one table that HQ has in neither staging nor quarantine."""
    return offending_rows(receipts(copy, RECEIPT.format(source=copy.source)))


def receipts(copy: ComparedTable, columns: str) -> str:
    """Query for the acknowledged events of one table that HQ does not have."""
    return RECEIPTS.format(
        columns=columns, target=copy.target, source=copy.source, staged=copy.source
    )


RECEIPT = """c.label AS channel, '{source}' AS "table", v.event_id::text, v.replication_counter"""


# A later row of the table was acknowledged, and an upload has passed since: these were left.
PASSED_BY = """WITH passed AS (
                 SELECT later.database_id, max(later.replication_counter) AS counter
                   FROM {target} later
                   JOIN worked w ON w.step = 'upload' AND w.database_id = later.database_id
                  WHERE later.acknowledged_at < w.since - {grace} GROUP BY later.database_id)
               SELECT c.label AS channel, '{source}' AS "table", v.event_id::text,
                      v.replication_counter
                 FROM {target} v JOIN seen_channel c USING (database_id)
                 JOIN passed USING (database_id)
                WHERE v.acknowledged_at IS NULL AND v.replication_counter < passed.counter
                  AND NOT EXISTS (SELECT FROM incomplete_document n
                                   WHERE n.event_id = v.event_id)"""


def nothing_stays_behind(snapshot: Snapshot) -> Check:
    return check_result(
        "I8",
        "Uploads have skipped no event, and no line or payment lacks its header.",
        sum(count_rows(copy.target) for copy in COMPARED_EVENTS),
        snapshot.unreachable,
        snapshot.orphans,
        *(
            offending_rows(PASSED_BY.format(target=copy.target, source=copy.source, grace=GRACE))
            for copy in COMPARED_EVENTS
        ),
        late=sum(count_rows(copy.target, "acknowledged_at IS NULL") for copy in COMPARED_EVENTS),
    )


# Events that HQ holds from a channel and that are no longer there.
VANISHED = f"""SELECT c.label AS channel, '{{table}}' AS "table", s.event_id::text
                 FROM {{table}} s JOIN seen_channel c USING (database_id)
                 LEFT JOIN seen_{{table}} v
                        ON v.database_id = s.database_id AND v.event_id = s.event_id
                WHERE v.event_id IS NULL AND s.generation = c.generation
                  AND s.staged_at < c.read_at AND s.staged_at > now() - {RETENTION}"""  # noqa: S608
EXCUSED = """ AND NOT EXISTS (SELECT FROM incident i
                  WHERE i.database_id = s.database_id AND i.closed_at IS NULL
                    AND i.kind IN ('channel_restored', 'event_vanished'))"""


def hq_holds_only_what_was_captured(snapshot: Snapshot) -> Check:
    return check_result(
        "I9",
        "Headquarters has no event that its channel never had, unless the channel was restored or"
        " the event is past its retention time.",
        sum(count_rows(table) for table in CAPTURED_TABLES),
        snapshot.unreachable,
        *(offending_rows(VANISHED.format(table=table) + EXCUSED) for table in CAPTURED_TABLES),
    )


def every_row_is_accounted_for(snapshot: Snapshot) -> Check:
    rows = " UNION ALL ".join(f"SELECT session_id FROM {table}" for table in CAPTURED_TABLES)  # noqa: S608
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
        offending_rows(
            f"""WITH staged AS (SELECT session_id AS id, count(*) AS n FROM ({rows}) r
                               WHERE session_id IS NOT NULL GROUP BY 1),
                    aside AS (SELECT session_id AS id, count(*) AS n FROM quarantine GROUP BY 1)
               SELECT id::text AS session, u.read, u.staged, s.n AS staged_rows, u.quarantined,
                      q.n AS quarantined_rows
                 FROM upload_session u FULL JOIN staged s USING (id) FULL JOIN aside q USING (id)
                WHERE u.id IS NULL
                   OR u.read <> u.staged + u.unchanged + u.quarantined + u.waiting
                   OR u.staged <> coalesce(s.n, 0) OR u.quarantined <> coalesce(q.n, 0)"""  # noqa: S608
        ),
    )


def lost_or_doubled() -> list[dict[str, Any]]:
    """Days of which other rows are there than arrived, also where the balance has not seen it.

    Lines and payments are counted with the sale that they came with.
    """
    taken = [
        f"""SELECT database_id, '{table}' AS "table", staged_at AS at, 1::bigint AS rows
              FROM {table} WHERE session_id IS NOT NULL"""  # noqa: S608
        for table in CAPTURED_TABLES
    ]
    belonging = [
        f"""SELECT t.database_id, '{part.event}', t.staged_at, 1
              FROM {part.event} p JOIN {HEADER.event} t ON t.id = p.transaction_id
             WHERE t.session_id IS NOT NULL
            UNION ALL
            SELECT database_id, '{part.event}', first_seen_at, rows_aside(raw, '{part.event}')
              FROM quarantine WHERE "table" = '{HEADER.event}'"""  # noqa: S608
        for part in DOCUMENT_PARTS
    ]
    rows = " UNION ALL ".join([*taken, *belonging])
    return offending_rows(
        f"""WITH held AS (
              SELECT database_id, "table", (at AT TIME ZONE 'UTC')::date AS day, sum(rows) AS n
                FROM ({rows} UNION ALL
                      SELECT database_id, "table", first_seen_at, 1 FROM quarantine) r
               GROUP BY 1, 2, 3 HAVING sum(rows) > 0)
            SELECT concat_ws('/', h.code, nullif(b.name, '')) AS channel, "table", day::text,
                   a.rows AS arrived, held.n::bigint AS held
              FROM arrival a FULL JOIN held USING (database_id, "table", day)
              LEFT JOIN channel_database b ON b.id = coalesce(a.database_id, held.database_id)
              LEFT JOIN channel h ON h.id = b.channel_id
             WHERE a.rows IS DISTINCT FROM held.n"""  # noqa: S608
    )


def quarantine_is_lossless(snapshot: Snapshot) -> Check:
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


def what_waits_has_a_reason(snapshot: Snapshot) -> Check:
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
                      FROM {table} s JOIN worked w ON w.step = 'convert'
                                                  AND w.company_id = s.company_id
                      LEFT JOIN guid_map m USING (async_account)
                      LEFT JOIN customer k ON k.company_id = s.company_id
                                          AND k.account_number = s.account_number
                     WHERE s.status = 'pending' AND s.staged_at < w.since - {GRACE}
                       AND (coalesce(s.reason, '') = ''
                            OR least(m.created_at, k.created_at) < w.since - {GRACE})"""  # noqa: S608
            )
            for table in STAGING_TABLES
        ),
        late=sum(count_rows(table, "status = 'pending'") for table in STAGING_TABLES),
    )


def changed_events(kind: EventKind) -> str:
    """Events of which channel and HQ hold different contents, with the columns that differ.

    Another channel's event of the same id is none of ours: it was set aside.
    """
    columns = [column for column in kind.sent_columns if column != "replication_counter"]
    sent = {column: stored_value(kind, column, "v") for column in columns}
    cases = ", ".join(
        f"CASE WHEN {value} IS DISTINCT FROM s.{column} THEN '{column}' END"
        for column, value in sent.items()
    )
    hq_columns, channel_columns = (
        ", ".join(f"s.{column}" for column in columns),
        ", ".join(sent.values()),
    )
    return f"""SELECT c.label AS channel, '{kind.event}' AS "table", s.event_id::text,
                      array_to_string(ARRAY[{cases}], ' ') AS columns
                 FROM content_{kind.event} v JOIN seen_channel c USING (database_id)
                 JOIN {kind.event} s USING (event_id, database_id)
                WHERE s.status <> 'erased' AND ({hq_columns}) IS DISTINCT FROM
                       ({channel_columns})"""  # noqa: S608


def changed_documents() -> sql.Composable:
    """Documents of which a channel has other contents than it sent, lines and payments included.

    By the hash that HQ made on arrival: what people corrected since is no difference.
    """
    (content,) = (copy for copy in COMPARED_CONTENTS if copy.source == HEADER.event)
    parts = COMPARED_PARTS[HEADER.event]
    return sql.SQL(
        """SELECT c.label AS channel, {name} AS "table", s.event_id::text,
                  'content' AS columns
             FROM ({described}) v JOIN seen_channel c USING (database_id)
             JOIN {table} s USING (event_id, database_id)
            WHERE s.content_hash <> v.content_hash"""
    ).format(
        name=sql.Literal(HEADER.event),
        table=sql.Identifier(HEADER.event),
        described=description_query(
            content.target, *(part.target for part in parts), key=("database_id", DOCUMENT_KEY)
        ),
    )


CHANGED: dict[str, Query] = {
    **{kind.event: changed_events(kind) for kind in EVENT_KINDS},
    HEADER.event: changed_documents(),
}


def events_never_change(snapshot: Snapshot) -> Check:
    what = "every event" if snapshot.full else "a sample of events that moves on every day"
    return check_result(
        "I40",
        f"Events never change: headquarters has them as their channel has them ({what}).",
        sum(count_rows(copy.target) for copy in COMPARED_CONTENTS),
        snapshot.unreachable,
        *map(offending_rows, CHANGED.values()),
    )
