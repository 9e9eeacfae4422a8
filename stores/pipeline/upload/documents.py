"""P-0001 for sales: a header with its lines and payments is one document and shares one fate.

A header comes before its lines only where a till broke its transaction; it is left in the channel
and counted as waiting, and after a while set aside, so that it cannot clog the batches. Source:
reliability 3.2 to 3.4.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

from stores.channeldb.exchange.protocol import EventBatch
from stores.hqdb.files import load
from stores.hqdb.sql import fetch, fetch_one, identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, empty_table, query_table
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
# As HQ's columns hold it; what they cannot hold, and no rule has seen yet, stays as it is.
ROUNDED_AMOUNT = sql.SQL("CASE WHEN abs({0}) < 1e14 THEN {0}::numeric(18, 4) ELSE {0} END")
# A till that broke its own transaction has mended it by then, or never will.
INCOMPLETE_GRACE_MINUTES = 15


@dataclass(frozen=True)
class IncomingDocuments:
    """Documents on their way into HQ: headers, lines and payments, and which cannot be used."""

    headers: WorkTable
    lines: WorkTable
    payments: WorkTable
    rejected: WorkTable

    @property
    def names(self) -> dict[str, WorkTable]:
        """The work tables by the names that they have in statements."""
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
        """Take the headers of the rejected documents away; their lines are then nobody's."""
        drop_rejected(self.headers, self.rejected)


@contextmanager
def incoming_documents(events: EventBatch) -> Iterator[IncomingDocuments]:
    """Headers, lines and payments as they arrived; their texts have no limit yet."""

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
    """Keep documents, set the unusable ones aside, leave the incomplete ones in the channel.

    Effects: sales and quarantine in HQ, in the caller's transaction.
    """
    with incoming_documents(events) as incoming:
        reject_invalid_documents(source, incoming)
        taken = quarantine_documents(source, incoming)
        with described_documents(incoming) as described:
            waiting = leave_incomplete(source, incoming, described)
            taken += StagingCounts(incomplete=tuple(waiting))
            taken += quarantine_documents(source, incoming)
            with inserted_documents(source, incoming, described) as kept:
                taken += StagingCounts(staged=kept.rows)
                reject_conflicting_documents(source, incoming, described, kept)
                reject_copies(source, incoming, kept)
        taken += quarantine_documents(source, incoming)
        close_returned(source, HEADER, incoming.headers)
    return taken


@contextmanager
def reinserted_documents(
    source: UploadSource,
    events: EventBatch,
    *,
    made: Mapping[str, Any] | None = None,
    others: Sequence[int] = (),
) -> Iterator[WorkTable]:
    """Keep documents that were set aside, or that HQ makes in their place; nobody else writes them.

    Effects: sales in HQ, in the caller's transaction. Lends the table that names the unusable ones.
    `made` is what HQ says of a document of its own; `others` are the counters of those that a
    person found to be others than another channel's of their numbers.
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


# ------------------------------------------------------------------- what cannot be used


def reject_invalid_documents(source: UploadSource, incoming: IncomingDocuments) -> None:
    """Name the documents that break a rule, in whichever of their rows; its first rule counts.

    What HQ holds already is not judged again: the rules may have changed since.
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
    cases = [f"WHEN {rule.broken} THEN {place}" for place, rule in enumerate(part.rules)]
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
    """Name documents without a business date, if HQ's database cannot tell the channel's time."""
    (is_missing,) = fetch_one(
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
    """Name documents that have not all the lines that they announce."""
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
    """Leave headers in the channel whose announced lines are not there, but not for ever.

    Those that have waited too long are named as rejected. Returns the counters of the others, which
    are taken out of the incoming ones.
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
        # Far in the future by a clock that has been set back since: long ago.
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
    rows = fetch(
        """DELETE FROM {headers} header USING incomplete_document incomplete
            WHERE incomplete.database_id = %(database)s AND incomplete.event_id = header.event_id
              AND NOT EXISTS (SELECT FROM {rejected} rejected
                               WHERE rejected.replication_counter = header.replication_counter)
           RETURNING header.replication_counter""",
        values,
        **names,
    )
    return [counter for (counter,) in rows]


def reject_conflicting_documents(
    source: UploadSource, incoming: IncomingDocuments, described: WorkTable, kept: WorkTable
) -> None:
    """Name what clashes with a document that HQ holds; equal ones are merely known.

    Events of a copied database, which goes on under another channel, have known ids and collapse.
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
                        OR held.transaction_type = 'customer_order'
                           AND normalize_key(header.transaction_type) = 'customer_order'
                           AND held.confirmation_number
                               = normalize_key(header.confirmation_number)))
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
    """Name documents that another channel has sent under another event: a copied till sells on.

    The database did not keep them, though nothing of their own channel clashes with them.
    """
    run_sql(
        """INSERT INTO {rejected} (replication_counter, reason, field, rule)
           SELECT header.replication_counter, 'document_elsewhere', 'transaction_id',
                  'one of its own'
             FROM {headers} header
            WHERE header.event_id NOT IN (SELECT event_id FROM {kept})
              AND NOT EXISTS (SELECT FROM retail_transaction held
                               WHERE held.event_id = header.event_id
                                  OR held.transaction_id = normalize_key(header.transaction_id)
                                     AND held.channel_id = %s)
               ON CONFLICT DO NOTHING""",
        [source.database.channel_id],
        kept=kept,
        **incoming.names,
    )


# ---------------------------------------------------------------------- what is kept


def described_documents(incoming: IncomingDocuments) -> AbstractContextManager[WorkTable]:
    """How many lines each document has, and a hash over all it says.

    Shape: replication_counter, event_id, lines, content_hash.
    """
    tables = (incoming.headers, incoming.lines, incoming.payments)
    return query_table("described_document", description_query(*tables, key=(DOCUMENT_KEY,)))


def description_query(
    headers: WorkTable, lines: WorkTable, payments: WorkTable, *, key: Sequence[str]
) -> sql.Composed:
    """Query for how many lines each document has, and a hash over all it says.

    Of three tables as a channel sent them, whose rows belong together by `key`.
    """
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
    """One row as a text that is the same for the same values on both engines."""
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
    """Keep the documents that HQ does not know, and lend the table of those that were kept.

    Shape: their ids in HQ, by the number that their lines and payments name; their event_id.
    """
    channel = source.database.channel
    values = {
        **origin_columns(source),
        "origin": Origin.TILL,
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
    """Set documents aside, whole, with what the database said of each."""
    with incoming_documents(events) as incoming:
        reject_refused(refused, incoming.rejected)
        return quarantine_documents(source, incoming)


def quarantine_documents(source: UploadSource, incoming: IncomingDocuments) -> StagingCounts:
    """Move the rejected documents to quarantine, whole."""
    with rows_to_quarantine() as rows:
        moved = run_sql(gather_statement(incoming, rows))
        incoming.drop_rejected()
        incoming.rejected.empty()
        return insert_quarantined(source, HEADER, rows) if moved else StagingCounts()


def gather_statement(incoming: IncomingDocuments, rows: WorkTable) -> sql.Composed:
    return QUARANTINE_DOCUMENTS.format(
        to_quarantine=rows,
        header_row=names_and_texts(HEADER, "header"),
        line_row=names_and_texts(LINE, "row"),
        payment_row=names_and_texts(PAYMENT, "row"),
        **incoming.names,
    )
