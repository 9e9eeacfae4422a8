"""P-0001 for sales: a header with its lines and payments is one document and shares one fate.

A header comes before its lines only where a till broke its transaction; it is left in the channel
and counted as waiting, and after a while set aside, so that it cannot clog the batches. Source:
reliability 3.2 to 3.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from psycopg2 import sql

from stores.channeldb.exchange import copy
from stores.channeldb.exchange.protocol import EventBatch, Unreadable
from stores.hqdb.sql import copy_in, fetch, fetch_one, identifiers, run_sql
from stores.models import Channel
from stores.models.channel import database_knows_zone
from stores.models.staging import Origin
from stores.pipeline.events.document_tables import (
    DOCUMENT_KEY,
    DOCUMENT_PARTS,
    HEADER,
    LINE,
    PAYMENT,
    DocumentTable,
)
from stores.pipeline.events.kinds import MONEY_TYPE
from stores.pipeline.events.rules import CODE_LISTS
from stores.pipeline.upload.foreign_guids import reject_foreign_guids
from stores.pipeline.upload.quarantine import (
    CREATE_QUARANTINED,
    CREATE_REJECTED,
    StagingCounts,
    UploadBatch,
    as_object,
    drop_rejected,
    insert_quarantined,
    reject_refused,
    reject_rows,
)
from stores.pipeline.upload.staging import (
    TableStaging,
    close_returned,
    create_incoming,
    origin_columns,
    reject_foreign_accounts,
    values_of,
)

# As HQ's columns hold it; what they cannot hold, and no rule has seen yet, stays as it is.
ROUNDED_AMOUNT = sql.SQL("CASE WHEN abs({0}) < 1e14 THEN {0}::numeric(18, 4) ELSE {0} END")
INCOMING_TABLES = (HEADER.incoming, *(part.incoming for part in DOCUMENT_PARTS))
# A till that broke its own transaction has mended it by then, or never will.
INCOMPLETE_GRACE_MINUTES = 15


def stage_documents(batch: UploadBatch, events: EventBatch) -> StagingCounts:
    """Keep documents, set the unusable ones aside, leave the incomplete ones in the channel.

    Effects: sales and quarantine in HQ, in the caller's transaction.
    """
    load_documents(events)
    run_sql(CREATE_REJECTED)
    reject_invalid_documents(batch)
    counts = quarantine_documents(batch)
    describe_documents()
    counts += StagingCounts(incomplete=tuple(find_incomplete(batch)))
    counts += quarantine_documents(batch)
    counts += StagingCounts(staged=insert_documents(batch))
    reject_conflicting_documents(batch)
    reject_copies(batch)
    counts += quarantine_documents(batch)
    close_returned(batch, HEADER)
    drop_document_tables()
    return counts


def quarantine_refused_documents(
    batch: UploadBatch, events: EventBatch, refused: Mapping[int, str]
) -> StagingCounts:
    """Set documents aside, whole, with what the database said of each."""
    load_documents(events)
    run_sql(CREATE_REJECTED)
    reject_refused(refused)
    quarantined = quarantine_documents(batch)
    drop_temporary_tables(*INCOMING_TABLES, "rejected")
    return quarantined


def select_documents(events: EventBatch, rows: Sequence[bytes]) -> EventBatch:
    """Some of the documents, each with its lines and payments."""
    numbers = {document_number(HEADER, events, row) for row in rows}
    parts = {
        part.event: copy.join_rows(
            [
                row
                for row in rows_of_table(events, part)
                if document_number(part, events, row) in numbers
            ],
            binary=events.binary,
        )
        for part in DOCUMENT_PARTS
    }
    data = copy.join_rows(rows, binary=events.binary)
    return replace(events, rows=len(rows), data=data, unreadable=[], parts=parts)


def rows_of_table(events: EventBatch, table: DocumentTable) -> list[bytes]:
    data = events.parts.get(table.event, b"")
    return copy.split_rows(data, binary=events.binary) if data else []


def document_number(table: DocumentTable, events: EventBatch, row: bytes) -> Any:
    return values_of(table, events, row)[table.sent_columns.index(DOCUMENT_KEY)]


def unreadable_document(events: EventBatch, row: bytes, refusal: str) -> Unreadable:
    """A document of which some row does not even come into a table of HQ."""
    values = values_of(HEADER, events, row)
    counter = int(values[HEADER.sent_columns.index("replication_counter")])
    document = select_documents(events, [row])
    parts = {
        part.event: [values_of(part, document, line) for line in rows_of_table(document, part)]
        for part in DOCUMENT_PARTS
    }
    return Unreadable(counter, "refused", "", values, refusal, parts=parts)


def reinsert_documents(
    batch: UploadBatch,
    events: EventBatch,
    *,
    made: Mapping[str, Any] | None = None,
    others: Sequence[int] = (),
) -> None:
    """Keep documents that were set aside, or that HQ makes in their place; nobody else writes them.

    Effects: sales in HQ, in the caller's transaction; table rejected names the unusable ones
    until drop_document_tables(). `made` is what HQ says of a document of its own; `others` are the
    counters of those that a person found to be others than another channel's of their numbers.
    """
    load_documents(events)
    run_sql(CREATE_REJECTED)
    reject_invalid_documents(batch)
    drop_rejected()
    describe_documents()
    reject_rows(
        sql.SQL(
            """SELECT i.replication_counter, 'document_incomplete', 'line_count', ''
                 FROM document d JOIN incoming i USING (replication_counter)
                WHERE d.lines < i.line_count"""
        )
    )
    drop_rejected()
    insert_documents(batch, made, others)
    reject_conflicting_documents(batch)
    reject_copies(batch)


def drop_document_tables() -> None:
    drop_temporary_tables(*INCOMING_TABLES, "document", "kept_document", "rejected")


def drop_temporary_tables(*tables: str) -> None:
    run_sql(sql.SQL("DROP TABLE {}").format(identifiers(tables)))


def load_documents(events: EventBatch) -> None:
    """Copy headers, lines and payments into their incoming tables, whose texts have no limit."""
    for part in (HEADER, *DOCUMENT_PARTS):
        create_incoming(part, name=part.incoming)
        data = events.data if part is HEADER else events.parts.get(part.event, b"")
        if data:
            copy_in(part.incoming, part.sent_columns, data, binary=events.binary)


def reject_invalid_documents(batch: UploadBatch) -> None:
    """Name the documents that break a rule, in whichever of their rows; its first rule counts.

    What HQ holds already is not judged again: the rules may have changed since.
    """
    for part in (HEADER, *DOCUMENT_PARTS):
        cases = [f"WHEN {rule.broken} THEN {place}" for place, rule in enumerate(part.rules)]
        counter = "counter" if part is HEADER else "i.replication_counter"
        reject_rows(
            sql.SQL(
                """SELECT found.replication_counter, (%(codes)s::text[])[place + 1],
                          (%(fields)s::text[])[place + 1], (%(allowed)s::text[])[place + 1]
                     FROM (SELECT i.replication_counter, min(p.place) AS place
                             FROM incoming i
                             JOIN (SELECT transaction_id, {counter} AS counter,
                                          CASE {cases} END AS place FROM {incoming}) p
                               ON p.transaction_id IS NOT DISTINCT FROM i.transaction_id
                              AND {mine} = i.replication_counter
                            WHERE p.place IS NOT NULL GROUP BY 1) found"""
            ).format(
                counter=sql.SQL("replication_counter" if part is HEADER else "NULL::bigint"),
                cases=sql.SQL(" ".join(cases)),
                incoming=sql.Identifier(part.incoming),
                mine=sql.SQL(counter),
            ),
            {
                **CODE_LISTS,
                "codes": [rule.code for rule in part.rules],
                "fields": [rule.field for rule in part.rules],
                "allowed": [rule.allows for rule in part.rules],
            },
        )
    reject_foreign_accounts(batch.database.channel)
    reject_foreign_guids(batch, HEADER)
    reject_dateless(batch.database.channel)
    run_sql(
        """DELETE FROM rejected b USING incoming i JOIN retail_transaction s USING (event_id)
            WHERE i.replication_counter = b.replication_counter"""
    )


def reject_dateless(channel: Channel) -> None:
    """Name documents without a business date, if HQ's database cannot tell the channel's time."""
    (is_missing,) = fetch_one("SELECT EXISTS (SELECT FROM incoming WHERE business_date IS NULL)")
    if is_missing and not database_knows_zone(channel.time_zone):
        reject_rows(
            sql.SQL(
                """SELECT replication_counter, 'time_zone_unknown', 'business_date',
                          'a day such as 2026-03-01'
                     FROM incoming WHERE business_date IS NULL"""
            )
        )


def describe_documents() -> None:
    """Table document: how many lines each has, and a hash over all it says."""
    run_sql(
        sql.SQL("CREATE TEMP TABLE document ON COMMIT DROP AS {}").format(
            description_query(
                HEADER.incoming, *(part.incoming for part in DOCUMENT_PARTS), key=(DOCUMENT_KEY,)
            )
        )
    )


def description_query(
    header: str, line: str, payment: str, *, key: Sequence[str]
) -> sql.Composable:
    """Query for how many lines each document has, and a hash over all it says.

    Of three tables as a channel sent them, whose rows belong together by `key`.
    """
    return sql.SQL(
        """WITH line AS (
             SELECT {key}, count(*) AS lines, {lines} AS content FROM {line} l GROUP BY {key}),
         payment AS (
             SELECT {key}, {payments} AS content FROM {payment} l GROUP BY {key})
         SELECT {others} i.replication_counter, i.event_id, coalesce(line.lines, 0) AS lines,
                sha256(convert_to(concat_ws(E'\\x1d', {said}, line.content, payment.content),
                                  'UTF8')) AS content_hash
           FROM {header} i LEFT JOIN line USING ({key}) LEFT JOIN payment USING ({key})"""
    ).format(
        key=identifiers(key),
        others=sql.SQL("").join(
            sql.SQL("{}, ").format(sql.Identifier("i", column))
            for column in key
            if column != DOCUMENT_KEY
        ),
        header=sql.Identifier(header),
        line=sql.Identifier(line),
        payment=sql.Identifier(payment),
        said=row_text(HEADER, "i", without=("event_id", "replication_counter")),
        lines=rows_text(LINE),
        payments=rows_text(PAYMENT),
    )


def find_incomplete(batch: UploadBatch) -> list[int]:
    """Leave headers in the channel whose announced lines are not there, but not for ever.

    Those that have waited too long are named as broken. Returns the counters of the others.
    """
    database = batch.database.pk
    run_sql(
        """INSERT INTO incomplete_document (database_id, event_id)
           SELECT %s, d.event_id FROM document d JOIN incoming i USING (replication_counter)
            WHERE d.lines < i.line_count ON CONFLICT DO NOTHING""",
        [database],
    )
    run_sql(
        """DELETE FROM incomplete_document n USING document d JOIN incoming i
                 USING (replication_counter)
            WHERE n.database_id = %s AND n.event_id = d.event_id AND d.lines >= i.line_count""",
        [database],
    )
    reject_rows(
        sql.SQL(
            # Far in the future by a clock that has been set back since: long ago.
            """SELECT d.replication_counter, 'document_incomplete', 'line_count', ''
                 FROM incomplete_document n JOIN document d USING (event_id)
                WHERE n.database_id = %s
                  AND n.first_seen_at NOT BETWEEN now() - %s * interval '1 minute'
                                              AND now() + %s * interval '1 minute'"""
        ),
        [database, INCOMPLETE_GRACE_MINUTES, INCOMPLETE_GRACE_MINUTES],
    )
    waiting = [
        counter
        for (counter,) in fetch(
            """SELECT d.replication_counter
                 FROM incomplete_document n JOIN document d USING (event_id)
                WHERE n.database_id = %s AND NOT EXISTS (
                      SELECT FROM rejected b
                       WHERE b.replication_counter = d.replication_counter)""",
            [database],
        )
    ]
    run_sql("DELETE FROM incoming WHERE replication_counter = ANY(%s)", [waiting])
    return waiting


def row_text(part: DocumentTable, alias: str, without: Sequence[str] = ()) -> sql.Composable:
    """One row as a text that is the same for the same values on both engines."""
    columns = [
        (ROUNDED_AMOUNT if part.type_of(column) == MONEY_TYPE else sql.SQL("{}")).format(
            sql.Identifier(alias, column)
        )
        for column in part.sent_columns
        if column not in without
    ]
    return sql.SQL("ROW({})::text").format(sql.SQL(", ").join(columns))


def rows_text(part: DocumentTable) -> sql.Composable:
    return sql.SQL("string_agg({}, E'\x1e' ORDER BY l.line_number)").format(row_text(part, "l"))


def insert_documents(
    batch: UploadBatch, made: Mapping[str, Any] | None = None, others: Sequence[int] = ()
) -> int:
    """Keep the documents that HQ does not know. Returns how many.

    Table kept_document: their ids in HQ, by the number that their lines and payments name.
    """
    channel = batch.database.channel
    values = {
        **origin_columns(batch),
        "origin": Origin.TILL,
        "made_by": None,
        "corrects": None,
        "channel": channel.pk,
        "zone": channel.time_zone,
        "day_ends_at": channel.day_ends_at,
        "others": list(others),
        **(made or {}),
    }
    copied = [
        column for column in HEADER.sent_columns if column not in ("operation", "business_date")
    ]
    run_sql(
        """CREATE TEMP TABLE kept_document (id bigint, transaction_id text, event_id uuid)
               ON COMMIT DROP"""
    )
    inserted = run_sql(
        sql.SQL(
            """WITH kept AS (
                 INSERT INTO retail_transaction (database_id, channel_id, company_id, generation,
                                                 session_id, origin, made_by_id, corrects,
                                                 shares_number, business_date, content_hash,
                                                 order_reason, {columns})
                 SELECT %(database)s, %(channel)s, %(company)s, %(generation)s, %(session)s,
                        %(origin)s, %(made_by)s, %(corrects)s,
                        i.replication_counter = ANY(%(others)s),
                        coalesce(i.business_date,
                                 business_date_of(i.occurred_at, %(zone)s, %(day_ends_at)s)),
                        d.content_hash,
                        CASE WHEN i.transaction_type = 'customer_order'
                              AND i.entry_status = 'concluded'
                              THEN CASE WHEN i.gross_amount = 0 AND i.payment_amount <> 0
                                        THEN 'nothing_ordered' ELSE 'not_ordered' END END,
                        {values}
                   FROM incoming i JOIN document d USING (replication_counter)
                  ORDER BY i.replication_counter
                     ON CONFLICT DO NOTHING
                 RETURNING id, event_id)
               INSERT INTO kept_document
               SELECT k.id, i.transaction_id, event_id
                 FROM kept k JOIN incoming i USING (event_id)"""
        ).format(columns=identifiers(copied), values=normalized_values(HEADER, copied)),
        values,
    )
    for part in DOCUMENT_PARTS:
        own = [column for column in part.sent_columns if column != DOCUMENT_KEY]
        run_sql(
            sql.SQL(
                """INSERT INTO {table} (transaction_id, {columns})
                   SELECT k.id, {values}
                     FROM {incoming} i JOIN kept_document k USING (transaction_id)
                    ORDER BY 1, i.line_number"""
            ).format(
                table=sql.Identifier(part.event),
                columns=identifiers(own),
                values=normalized_values(part, own),
                incoming=sql.Identifier(part.incoming),
            )
        )
    return inserted


def normalized_values(part: DocumentTable, columns: Sequence[str]) -> sql.SQL:
    return sql.SQL(", ".join(part.stored_value(column, "i") for column in columns))


def reject_conflicting_documents(batch: UploadBatch) -> None:
    """Name what clashes with a document that HQ holds; equal ones are merely known.

    Events of a copied database, which goes on under another channel, have known ids and collapse.
    """
    reject_rows(
        sql.SQL(
            """SELECT DISTINCT ON (i.replication_counter) i.replication_counter,
                      CASE WHEN t.event_id = i.event_id THEN 'event_conflict'
                           ELSE 'document_conflict' END,
                      CASE WHEN t.event_id = i.event_id THEN 'event_id'
                           WHEN t.transaction_id = tidy_key(i.transaction_id) THEN 'transaction_id'
                           ELSE 'confirmation_number' END, 'one of its own'
                 FROM incoming i JOIN document d USING (replication_counter)
                 JOIN retail_transaction t
                   ON t.event_id = i.event_id
                   OR (t.channel_id = %s
                       AND (t.transaction_id = tidy_key(i.transaction_id)
                            OR t.transaction_type = 'customer_order'
                               AND tidy_key(i.transaction_type) = 'customer_order'
                               AND t.confirmation_number = tidy_key(i.confirmation_number)))
                WHERE t.content_hash <> d.content_hash
                  AND i.event_id NOT IN (SELECT event_id FROM kept_document)
                ORDER BY i.replication_counter, t.event_id = i.event_id DESC"""
        ),
        [batch.database.channel_id],
    )


def reject_copies(batch: UploadBatch) -> None:
    """Name documents that another channel has sent under another event: a copied till sells on.

    The database did not keep them, though nothing of their own channel clashes with them.
    """
    reject_rows(
        sql.SQL(
            """SELECT i.replication_counter, 'document_elsewhere', 'transaction_id',
                      'one of its own'
                 FROM incoming i
                WHERE i.event_id NOT IN (SELECT event_id FROM kept_document)
                  AND NOT EXISTS (SELECT FROM retail_transaction held
                                   WHERE held.event_id = i.event_id
                                      OR held.transaction_id = tidy_key(i.transaction_id)
                                         AND held.channel_id = %s)"""
        ),
        [batch.database.channel_id],
    )


def quarantine_documents(batch: UploadBatch) -> StagingCounts:
    """Move the documents that table rejected names to quarantine, whole."""
    run_sql(CREATE_QUARANTINED)
    moved = run_sql(
        sql.SQL(
            """INSERT INTO to_quarantine
               SELECT i.replication_counter::text, i.event_id, i.async_account, i.account_number,
                      b.reason, b.field, b.rule,
                      convert_to(
                          (jsonb_build_object({header}) || jsonb_build_object({parts}))::text,
                          'UTF8')
                 FROM rejected b JOIN incoming i USING (replication_counter)"""
        ).format(
            header=as_object(HEADER), parts=sql.SQL(", ").join(map(rows_as_json, DOCUMENT_PARTS))
        )
    )
    drop_rejected()
    run_sql("TRUNCATE rejected")
    if moved:
        return insert_quarantined(batch, HEADER)
    run_sql("DROP TABLE to_quarantine")
    return StagingCounts()


def rows_as_json(part: DocumentTable) -> sql.Composable:
    """Name and rows of one table of a document, as objects of texts."""
    columns = sql.SQL(", ").join(
        sql.SQL("{}, {}::text").format(sql.Literal(column), sql.Identifier("p", column))
        for column in part.sent_columns
    )
    return sql.SQL(
        """{}, (SELECT jsonb_agg(jsonb_build_object({}) ORDER BY p.line_number)
                  FROM {} p WHERE p.transaction_id = i.transaction_id)"""
    ).format(sql.Literal(part.event), columns, sql.Identifier(part.incoming))


DOCUMENT_STAGING = TableStaging(
    HEADER, stage_documents, quarantine_refused_documents, select_documents, unreadable_document
)
