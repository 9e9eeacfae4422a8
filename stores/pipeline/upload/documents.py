"""P-0001 for sales: store documents, or quarantine them.

A *document* is the header of a sale with its lines and payments, which are stored or quarantined
together. To *reject* a document is to enter its header's counter in a work table, with the reason.
A document is *incomplete* if lines are missing that its header announces, which happens if a till
did not write them in the same transaction. It is left in the channel for a while, and rejected if
they do not come. Source: reliability 3.2 to 3.4.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

from stores.channeldb.exchange.protocol import EventBatch
from stores.hqdb.files import load
from stores.hqdb.sql import fetch_value, fetch_values, identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, empty_table, query_table
from stores.models import Channel
from stores.models.channel import database_knows_zone
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
    StagingCounts,
    UploadSource,
    drop_rejected,
    insert_quarantined,
    names_and_texts,
    reject_refused,
    rejected_rows,
    rows_to_quarantine,
)
from stores.pipeline.upload.staging import (
    close_returned,
    incoming_rows,
    origin_columns,
    reject_foreign_accounts,
)

REJECT_INVALID_DOCUMENTS = load(__file__, "reject_invalid_documents")
DESCRIBE_DOCUMENTS = load(__file__, "describe_documents")
INSERT_DOCUMENTS = load(__file__, "insert_documents")
INSERT_DOCUMENT_ROWS = load(__file__, "insert_document_rows")
QUARANTINE_DOCUMENTS = load(__file__, "quarantine_documents")
KEPT_COLUMNS = "id bigint, transaction_id text, event_id uuid"
# An amount as HQ's columns hold it. A larger one breaks a rule, and need not be rounded.
ROUNDED_AMOUNT = sql.SQL("CASE WHEN abs({0}) < 1e14 THEN {0}::numeric(18, 4) ELSE {0} END")
# How long an incomplete document is left in the channel.
INCOMPLETE_GRACE_MINUTES = 15


@dataclass(frozen=True)
class IncomingDocuments:
    """The work tables of documents: their headers, lines and payments, and the rejected ones."""

    headers: WorkTable
    lines: WorkTable
    payments: WorkTable
    rejected: WorkTable

    @property
    def names(self) -> dict[str, WorkTable]:
        """The work tables by the names of their holes in statements."""
        return {
            "headers": self.headers,
            "lines": self.lines,
            "payments": self.payments,
            "rejected": self.rejected,
        }

    def rows_of(self, part: DocumentTable) -> WorkTable:
        tables = {HEADER.event: self.headers, LINE.event: self.lines, PAYMENT.event: self.payments}
        return tables[part.event]

    def drop_rejected(self) -> None:
        """Delete the headers of rejected documents. Lines without a header are not stored."""
        drop_rejected(self.headers, self.rejected)


@contextmanager
def incoming_documents(events: EventBatch) -> Iterator[IncomingDocuments]:
    """Make the work tables, with headers, lines and payments as they arrived."""

    def rows_of(part: DocumentTable) -> AbstractContextManager[WorkTable]:
        data = events.data if part is HEADER else events.parts.get(part.event, b"")
        return incoming_rows(part, data, binary=events.binary, name=part.incoming)

    with (
        rows_of(HEADER) as headers,
        rows_of(LINE) as lines,
        rows_of(PAYMENT) as payments,
        rejected_rows() as rejected,
    ):
        yield IncomingDocuments(headers, lines, payments, rejected)


def stage_documents(source: UploadSource, events: EventBatch) -> StagingCounts:
    """Store documents, quarantine rejected ones, and leave incomplete ones in the channel.

    Returns how many there were of each. Effects: sales and quarantine, in the caller's transaction.
    """
    with incoming_documents(events) as incoming:
        reject_invalid_documents(source, incoming)
        counts = quarantine_documents(source, incoming)
        with described_documents(incoming) as described:
            waiting = leave_incomplete(source, incoming, described)
            counts += StagingCounts(incomplete=tuple(waiting))
            counts += quarantine_documents(source, incoming)
            with inserted_documents(source, incoming, described) as kept:
                counts += StagingCounts(staged=kept.rows)
                reject_conflicting_documents(source, incoming, described, kept)
                reject_copies(source, incoming, kept)
        counts += quarantine_documents(source, incoming)
        close_returned(source, HEADER, incoming.headers)
    return counts


@contextmanager
def reinserted_documents(
    source: UploadSource,
    events: EventBatch,
    *,
    made: Mapping[str, Any] | None = None,
    others: Sequence[int] = (),
) -> Iterator[WorkTable]:
    """Store documents from quarantine, or HQ's corrections of them. Yields the rejected ones.

    `made` are the columns that HQ sets in a correction. `others` are the counters of documents that
    share their number with a different document of another channel, as a person has confirmed.
    Effects: sales, in the caller's transaction.
    """
    with incoming_documents(events) as incoming:
        reject_invalid_documents(source, incoming)
        incoming.drop_rejected()
        with described_documents(incoming) as described:
            reject_incomplete(incoming, described)
            incoming.drop_rejected()
            with inserted_documents(source, incoming, described, made, others) as kept:
                reject_conflicting_documents(source, incoming, described, kept)
                reject_copies(source, incoming, kept)
        yield incoming.rejected


# ---------------------------------------------------------------------- reject documents


def reject_invalid_documents(source: UploadSource, incoming: IncomingDocuments) -> None:
    """Reject the documents that break a rule in one of their rows.

    Those that HQ has stored before are not judged again, because the rules may have changed since.
    """
    for part in (HEADER, *DOCUMENT_PARTS):
        run_sql(
            reject_statement(part, incoming),
            {
                **CODE_LISTS,
                "codes": [rule.code for rule in part.rules],
                "fields": [rule.field for rule in part.rules],
                "allowed": [rule.allows for rule in part.rules],
            },
        )
    channel = source.database.channel
    reject_foreign_accounts(channel, incoming.headers, incoming.rejected)
    reject_foreign_guids(source, HEADER, incoming.headers, incoming.rejected)
    reject_dateless(channel, incoming)
    run_sql(
        """DELETE FROM {rejected} rejected
            USING {headers} header JOIN retail_transaction held USING (event_id)
            WHERE header.replication_counter = rejected.replication_counter""",
        **incoming.names,
    )


def reject_statement(part: DocumentTable, incoming: IncomingDocuments) -> sql.Composed:
    cases = [f"WHEN {rule.broken} THEN {position}" for position, rule in enumerate(part.rules)]
    is_header = part is HEADER
    return REJECT_INVALID_DOCUMENTS.format(
        rejected=incoming.rejected,
        headers=incoming.headers,
        incoming=incoming.rows_of(part),
        first_broken=sql.SQL(f"CASE {' '.join(cases)} END"),
        counter=sql.SQL("replication_counter" if is_header else "NULL::bigint"),
        row_counter=sql.SQL("row.counter" if is_header else "header.replication_counter"),
    )


def reject_dateless(channel: Channel, incoming: IncomingDocuments) -> None:
    """Reject documents without a business date, if HQ does not know the channel's time zone."""
    is_missing = fetch_value(
        "SELECT EXISTS (SELECT FROM {headers} WHERE business_date IS NULL)",
        headers=incoming.headers,
    )
    if is_missing and not database_knows_zone(channel.time_zone):
        run_sql(
            """INSERT INTO {rejected} (replication_counter, reason, field, rule)
               SELECT replication_counter, 'time_zone_unknown', 'business_date',
                      'a day such as 2026-03-01'
                 FROM {headers} WHERE business_date IS NULL
                   ON CONFLICT DO NOTHING""",
            **incoming.names,
        )


def reject_incomplete(incoming: IncomingDocuments, described: WorkTable) -> None:
    """Reject incomplete documents."""
    run_sql(
        """INSERT INTO {rejected} (replication_counter, reason, field, rule)
           SELECT header.replication_counter, 'document_incomplete', 'line_count', ''
             FROM {described} described JOIN {headers} header USING (replication_counter)
            WHERE described.lines < header.line_count
               ON CONFLICT DO NOTHING""",
        described=described,
        **incoming.names,
    )


def leave_incomplete(
    source: UploadSource, incoming: IncomingDocuments, described: WorkTable
) -> list[int]:
    """Leave incomplete documents in the channel, but reject those that have waited too long.

    Returns the counters of those that are left, and deletes these from the incoming documents.
    """
    names = {"described": described, **incoming.names}
    values = {"database": source.database.pk, "grace": INCOMPLETE_GRACE_MINUTES}
    run_sql(
        """INSERT INTO incomplete_document (database_id, event_id)
           SELECT %(database)s, described.event_id
             FROM {described} described JOIN {headers} header USING (replication_counter)
            WHERE described.lines < header.line_count ON CONFLICT DO NOTHING""",
        values,
        **names,
    )
    run_sql(
        """DELETE FROM incomplete_document incomplete
            USING {described} described JOIN {headers} header USING (replication_counter)
            WHERE incomplete.database_id = %(database)s
              AND incomplete.event_id = described.event_id
              AND described.lines >= header.line_count""",
        values,
        **names,
    )
    run_sql(
        # A time far in the future was noted before a clock was set back: that was long ago.
        """INSERT INTO {rejected} (replication_counter, reason, field, rule)
           SELECT described.replication_counter, 'document_incomplete', 'line_count', ''
             FROM incomplete_document incomplete JOIN {described} described USING (event_id)
            WHERE incomplete.database_id = %(database)s
              AND incomplete.first_seen_at NOT BETWEEN now() - %(grace)s * interval '1 minute'
                                                   AND now() + %(grace)s * interval '1 minute'
               ON CONFLICT DO NOTHING""",
        values,
        **names,
    )
    return fetch_values(
        """DELETE FROM {headers} header USING incomplete_document incomplete
            WHERE incomplete.database_id = %(database)s AND incomplete.event_id = header.event_id
              AND NOT EXISTS (SELECT FROM {rejected} rejected
                               WHERE rejected.replication_counter = header.replication_counter)
           RETURNING header.replication_counter""",
        values,
        **names,
    )


def reject_conflicting_documents(
    source: UploadSource, incoming: IncomingDocuments, described: WorkTable, kept: WorkTable
) -> None:
    """Reject documents with the event id or a number of a stored document that says otherwise.

    Documents of a database that was copied to another channel are the same ones, and no conflict.
    """
    run_sql(
        """INSERT INTO {rejected} (replication_counter, reason, field, rule)
           SELECT DISTINCT ON (header.replication_counter) header.replication_counter,
                  CASE WHEN held.event_id = header.event_id THEN 'event_conflict'
                       ELSE 'document_conflict' END,
                  CASE WHEN held.event_id = header.event_id THEN 'event_id'
                       WHEN held.transaction_id = normalize_key(header.transaction_id)
                       THEN 'transaction_id'
                       ELSE 'confirmation_number' END, 'one of its own'
             FROM {headers} header JOIN {described} described USING (replication_counter)
             JOIN retail_transaction held
               ON held.event_id = header.event_id
               OR (held.channel_id = %s
                   AND (held.transaction_id = normalize_key(header.transaction_id)
                        OR (held.transaction_type = 'customer_order'
                            AND normalize_key(header.transaction_type) = 'customer_order'
                            AND held.confirmation_number
                                = normalize_key(header.confirmation_number))))
            WHERE held.content_hash <> described.content_hash
              AND header.event_id NOT IN (SELECT event_id FROM {kept})
            ORDER BY header.replication_counter, held.event_id = header.event_id DESC
               ON CONFLICT DO NOTHING""",
        [source.database.channel_id],
        described=described,
        kept=kept,
        **incoming.names,
    )


def reject_copies(source: UploadSource, incoming: IncomingDocuments, kept: WorkTable) -> None:
    """Reject documents that were not stored because another channel has used their number.

    It happens if a database is copied, and both tills go on selling.
    """
    run_sql(
        """INSERT INTO {rejected} (replication_counter, reason, field, rule)
           SELECT header.replication_counter, 'document_elsewhere', 'transaction_id',
                  'one of its own'
             FROM {headers} header
            WHERE header.event_id NOT IN (SELECT event_id FROM {kept})
              AND NOT EXISTS (SELECT FROM retail_transaction held
                               WHERE held.event_id = header.event_id
                                  OR (held.transaction_id = normalize_key(header.transaction_id)
                                      AND held.channel_id = %s))
               ON CONFLICT DO NOTHING""",
        [source.database.channel_id],
        kept=kept,
        **incoming.names,
    )


# ----------------------------------------------------------------------- store documents


def described_documents(incoming: IncomingDocuments) -> AbstractContextManager[WorkTable]:
    """Make a work table of how many lines each document has, and a hash of all it says.

    Shape: replication_counter, event_id, lines, content_hash.
    """
    tables = (incoming.headers, incoming.lines, incoming.payments)
    return query_table("described_document", description_query(*tables, key=(DOCUMENT_KEY,)))


def description_query(
    headers: WorkTable, lines: WorkTable, payments: WorkTable, *, key: Sequence[str]
) -> sql.Composed:
    """Return the query that describes documents, whose rows belong together by `key`."""
    others = [column for column in key if column != DOCUMENT_KEY]
    return DESCRIBE_DOCUMENTS.format(
        key=identifiers(key),
        of_header=identifiers([*others, "replication_counter"], of="header"),
        headers=headers,
        lines=lines,
        payments=payments,
        header_text=row_text(HEADER, "header", without=("event_id", "replication_counter")),
        line_text=row_text(LINE, "row"),
        payment_text=row_text(PAYMENT, "row"),
    )


def row_text(part: DocumentTable, alias: str, without: Sequence[str] = ()) -> sql.Composable:
    """Return a row as a text, which is the same for the same values on both engines."""
    columns = (
        (ROUNDED_AMOUNT if part.type_of(column) == MONEY_TYPE else sql.SQL("{}")).format(
            sql.Identifier(alias, column)
        )
        for column in part.sent_columns
        if column not in without
    )
    return sql.SQL("ROW({})::text").format(listed(columns))


@contextmanager
def inserted_documents(
    source: UploadSource,
    incoming: IncomingDocuments,
    described: WorkTable,
    made: Mapping[str, Any] | None = None,
    others: Sequence[int] = (),
) -> Iterator[WorkTable]:
    """Store the documents that HQ does not know. Yields the work table of those that were stored.

    Shape: KEPT_COLUMNS, where transaction_id is the number that lines and payments name.
    """
    channel = source.database.channel
    values = {
        **origin_columns(source),
        "made_by": None,
        "corrects": None,
        "channel": channel.pk,
        "zone": channel.time_zone,
        "day_ends_at": channel.day_ends_at,
        "others": list(others),
        **(made or {}),
    }
    with empty_table("kept_document", KEPT_COLUMNS) as kept:
        rows = run_sql(insert_statement(incoming, described, kept), values)
        for part in DOCUMENT_PARTS:
            run_sql(insert_rows_statement(part, incoming, kept))
        yield WorkTable(kept.name, rows)


def insert_statement(
    incoming: IncomingDocuments, described: WorkTable, kept: WorkTable
) -> sql.Composed:
    copied = [
        column for column in HEADER.sent_columns if column not in ("operation", "business_date")
    ]
    return INSERT_DOCUMENTS.format(
        headers=incoming.headers,
        described=described,
        kept=kept,
        columns=identifiers(copied),
        values=normalized_values(HEADER, copied, of="header"),
    )


def insert_rows_statement(
    part: DocumentTable, incoming: IncomingDocuments, kept: WorkTable
) -> sql.Composed:
    own = [column for column in part.sent_columns if column != DOCUMENT_KEY]
    return INSERT_DOCUMENT_ROWS.format(
        table=sql.Identifier(part.event),
        incoming=incoming.rows_of(part),
        kept=kept,
        columns=identifiers(own),
        values=normalized_values(part, own, of="row"),
    )


def normalized_values(part: DocumentTable, columns: Sequence[str], *, of: str) -> sql.SQL:
    return sql.SQL(", ".join(part.stored_value(column, of) for column in columns))


# ------------------------------------------------------------------------ quarantine


def quarantine_refused_documents(
    source: UploadSource, events: EventBatch, refused: Mapping[int, str]
) -> StagingCounts:
    """Quarantine all documents. `refused` is the message of the database for each, by counter."""
    with incoming_documents(events) as incoming:
        reject_refused(refused, incoming.rejected)
        return quarantine_documents(source, incoming)


def quarantine_documents(source: UploadSource, incoming: IncomingDocuments) -> StagingCounts:
    """Move the rejected documents to quarantine, with their lines and payments."""
    with rows_to_quarantine() as rows:
        moved = run_sql(gather_statement(incoming, rows))
        incoming.drop_rejected()
        incoming.rejected.clear()
        return insert_quarantined(source, HEADER, rows) if moved else StagingCounts()


def gather_statement(incoming: IncomingDocuments, rows: WorkTable) -> sql.Composed:
    return QUARANTINE_DOCUMENTS.format(
        to_quarantine=rows,
        header_row=names_and_texts(HEADER, "header"),
        line_row=names_and_texts(LINE, "row"),
        payment_row=names_and_texts(PAYMENT, "row"),
        **incoming.names,
    )
