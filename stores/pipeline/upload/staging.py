"""Stage incoming rows that pass the rules, and reject the others.

*Incoming* rows are in a work table: uploads read them from a channel, and releases take them back
from quarantine. To *reject* a row is to enter it in another work table, with the reason; rejected
rows then go to quarantine. A row is *known* if HQ has staged the same event before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, transaction
from psycopg2 import sql

from stores.channeldb.schema.tables import NOT_COMPARED, PART_TABLES
from stores.hqdb.files import load
from stores.hqdb.retry import is_data_error, run_for_rows
from stores.hqdb.sql import copy_in, fetch_value, identifiers, listed, prefer_index_scans, run_sql
from stores.hqdb.work_table import WorkTable, empty_table, query_table
from stores.models import Channel
from stores.pipeline.dates import EARLIEST_DATE
from stores.pipeline.events.kinds import CUSTOMER, EventKind, StagedTable
from stores.pipeline.events.rules import first_broken, rule_parameters, rules_for, stored_values
from stores.pipeline.fields_to_correct import record_fields
from stores.pipeline.upload.foreign_guids import reject_foreign_guids
from stores.pipeline.upload.quarantine import (
    StagingCounts,
    UploadSource,
    names_and_texts,
    quarantine_rejected,
    quarantined_json,
    reject_refused,
    rejected_rows,
    row_content,
)

DROP_KNOWN = load(__file__, "drop_known")
REJECT_INVALID_ROWS = load(__file__, "reject_invalid_rows")
REJECT_CONFLICTING = load(__file__, "reject_conflicting")
INSERT_STAGED = load(__file__, "insert_staged")
STAGE_ERASED = load(__file__, "stage_erased")
CLOSE_RETURNED = load(__file__, "close_returned")
# A quarantined sale has its lines and payments in it.
PARTS_IN_RAW = tuple(table.name for table in PART_TABLES)
SKIP_KNOWN = "ON CONFLICT (event_id) DO NOTHING"


def stage_batch(source: UploadSource, kind: EventKind, incoming: WorkTable) -> StagingCounts:
    """Stage the incoming rows or quarantine them. Returns how many; known rows do not count.

    Effects: staging and quarantine, in the caller's transaction.
    """
    erased = stage_erased(source, kind, incoming)
    drop_known(kind, incoming)
    counts = StagingCounts(erased=erased)
    if not incoming.count():
        return counts
    with rejected_rows() as rejected:
        if reject_invalid_rows(source, kind, incoming, rejected):
            counts += quarantine_rejected(source, kind, incoming, rejected)
        staged, refused = insert_staged(source, kind, incoming)
        counts += StagingCounts(staged=staged)
        if staged < incoming.count():
            rejected.clear()
            if reject_conflicting(kind, incoming, rejected) + reject_refused(refused, rejected):
                counts += quarantine_rejected(source, kind, incoming, rejected)
    if kind is CUSTOMER:
        company, database = source.database.channel.company, source.database.pk
        record_fields(incoming, company, database, source.unread)
    close_returned(source, kind, incoming)
    return counts


@contextmanager
def incoming_rows(
    kind: StagedTable, data: bytes, *, binary: bool, name: str = "incoming"
) -> Iterator[WorkTable]:
    """Make a work table of rows as they arrived. Its texts have no limit."""
    with empty_table(name, incoming_columns(kind)) as incoming:
        if data:
            copy_in(incoming.name, kind.sent_columns, data, binary=binary)
        yield incoming


def incoming_columns(kind: StagedTable) -> sql.Composed:
    return listed(
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(type_of_column))
        for column, type_of_column in zip(kind.sent_columns, kind.types, strict=True)
    )


def drop_known(kind: EventKind, incoming: WorkTable) -> None:
    """Delete the incoming rows that are known, with the same content.

    Known rows come as whole batches, after a crash or when a channel sends everything again. So
    only if the first row is known is it worth looking at the others.
    """
    is_known = fetch_value(
        """SELECT EXISTS (SELECT FROM {event} WHERE event_id =
               (SELECT event_id FROM {incoming} ORDER BY replication_counter LIMIT 1))""",
        incoming=incoming,
        **kind.names,
    )
    if is_known:
        with prefer_index_scans():
            run_sql(drop_statement(kind, incoming))


def drop_statement(kind: EventKind, incoming: WorkTable) -> sql.Composed:
    return DROP_KNOWN.format(incoming=incoming, **content_of(kind), **kind.names)


def content_of(kind: EventKind) -> dict[str, sql.Composable]:
    """Return the content of an event: what two events of one id must have in common."""
    columns = [column for column in kind.sent_columns if column not in NOT_COMPARED]
    return {
        "content": stored_values(kind, columns, of="incoming"),
        "held_content": identifiers(columns, of="held"),
    }


# ------------------------------------------------------------------------- rules


def reject_invalid_rows(
    source: UploadSource, kind: EventKind, incoming: WorkTable, rejected: WorkTable
) -> int:
    """Reject the incoming rows that break a rule. Returns how many.

    Known rows are not judged again, because the rules may have changed since.
    """
    channel, rules = source.database.channel, rules_for(kind)
    run_sql(
        reject_statement(kind, incoming, rejected),
        rule_parameters(channel.company_id)
        | {
            "codes": [rule.code for rule in rules],
            "fields": [rule.field for rule in rules],
            "allowed": [rule.allows for rule in rules],
        },
    )
    reject_foreign_accounts(channel, incoming, rejected)
    reject_foreign_guids(source, kind, incoming, rejected)
    count = rejected.count()
    if not count:
        return 0
    return count - run_sql(
        """DELETE FROM {rejected} rejected
            USING {incoming} incoming JOIN {event} held USING (event_id)
            WHERE incoming.replication_counter = rejected.replication_counter""",
        rejected=rejected,
        incoming=incoming,
        **kind.names,
    )


def reject_statement(kind: EventKind, incoming: WorkTable, rejected: WorkTable) -> sql.Composed:
    return REJECT_INVALID_ROWS.format(
        rejected=rejected, incoming=incoming, first_broken=first_broken(kind)
    )


def reject_foreign_accounts(channel: Channel, incoming: WorkTable, rejected: WorkTable) -> None:
    """Reject rows whose account is another company's, or has not the format of this company's.

    An unknown account of this format is no error: HQ may have been restored from an old backup.
    """
    names_accounts = fetch_value(
        "SELECT EXISTS (SELECT FROM {incoming} WHERE account_number <> '')", incoming=incoming
    )
    if not names_accounts:
        return
    run_sql(
        """INSERT INTO {rejected} (replication_counter, reason, field, rule)
           SELECT incoming.replication_counter, 'company_mismatch', 'account_number',
                  'an account of ' || %(company)s
             FROM {incoming} incoming
            CROSS JOIN LATERAL (SELECT normalize_key(incoming.account_number)) named (account)
            WHERE named.account <> ''
              AND NOT EXISTS (SELECT FROM customer WHERE company_id = %(company)s
                                 AND account_number = named.account)
              AND (EXISTS (SELECT FROM customer WHERE account_number = named.account)
                OR NOT EXISTS (SELECT FROM number_sequence sequence
                                WHERE sequence.company_id = %(company)s
                                  AND parse_number(sequence.format, named.account) IS NOT NULL))
               ON CONFLICT DO NOTHING""",
        {"company": channel.company_id},
        rejected=rejected,
        incoming=incoming,
    )


# ----------------------------------------------------------------------- staging


def insert_staged(
    source: UploadSource, kind: EventKind, incoming: WorkTable
) -> tuple[int, dict[int, str]]:
    """Insert the incoming rows into staging. Returns how many were new, and the refused ones.

    Refused rows are those that the database does not accept, although no rule forbids them: their
    counters, with its message.
    """
    origin = origin_columns(source)
    # Mostly no row is known, and an insert that skips known rows costs half as much again.
    try:
        with transaction.atomic():
            return run_sql(insert_statement(kind, incoming), origin | {"counters": None}), {}
    except DatabaseError as error:
        if not is_data_error(error):
            raise
    counters = sql.SQL("SELECT replication_counter FROM {incoming} ORDER BY 1")
    return run_for_rows(
        insert_statement(kind, incoming, SKIP_KNOWN),
        origin,
        "counters",
        counters.format(incoming=incoming),
    )


def insert_statement(kind: EventKind, incoming: WorkTable, or_skip: str = "") -> sql.Composed:
    return INSERT_STAGED.format(
        incoming=incoming,
        columns=identifiers(kind.sent_columns),
        values=stored_values(kind, kind.sent_columns, of="incoming"),
        or_skip=sql.SQL(or_skip),
        **kind.names,
    )


def origin_columns(source: UploadSource) -> dict[str, Any]:
    return {
        "origin": source.origin,
        "batch": source.batch,
        "database": source.database.pk,
        "company": source.database.channel.company_id,
        "generation": source.generation,
        "session": str(source.session.pk) if source.session else None,
    }


def reject_conflicting(kind: EventKind, incoming: WorkTable, rejected: WorkTable) -> int:
    """Reject rows whose event id HQ has staged with other content. Returns how many."""
    return run_sql(conflict_statement(kind, incoming, rejected))


def conflict_statement(kind: EventKind, incoming: WorkTable, rejected: WorkTable) -> sql.Composed:
    return REJECT_CONFLICTING.format(
        rejected=rejected, incoming=incoming, **content_of(kind), **kind.names
    )


def close_returned(source: UploadSource, kind: StagedTable, incoming: WorkTable) -> None:
    """Close the quarantined rows that have come again and were staged, since the rules changed."""
    run_sql(
        close_statement(kind, incoming),
        origin_columns(source) | {"table": kind.event, "channel": source.database.channel_id},
    )


def close_statement(kind: StagedTable, incoming: WorkTable) -> sql.Composed:
    sent = sql.SQL("jsonb_build_object({})").format(names_and_texts(kind, "incoming"))
    return CLOSE_RETURNED.format(
        incoming=incoming,
        known=row_content(quarantined_json("quarantine"), without=PARTS_IN_RAW),
        sent=row_content(sent),
    )


# ----------------------------------------------------------------- erased people


def stage_erased(source: UploadSource, kind: EventKind, incoming: WorkTable) -> int:
    """Stage the events of erased customers without their data. Returns how many were new."""
    company = source.database.channel.company_id
    has_erased = fetch_value(
        "SELECT EXISTS (SELECT FROM customer WHERE company_id = %s AND state = 'erased')", [company]
    )
    if not has_erased:
        return 0
    with query_table("of_erased", rows_of_erased(incoming), {"company": company}) as of_erased:
        staged = run_sql(
            erase_statement(kind, incoming, of_erased),
            origin_columns(source) | {"earliest": EARLIEST_DATE},
        )
        run_sql(
            """DELETE FROM {incoming} incoming USING {of_erased} erased
                WHERE erased.replication_counter = incoming.replication_counter""",
            incoming=incoming,
            of_erased=of_erased,
        )
    return staged


def rows_of_erased(incoming: WorkTable) -> sql.Composed:
    return sql.SQL(
        """SELECT incoming.replication_counter,
                  CASE WHEN normalize_key(incoming.account_number) = customer.account_number
                       THEN customer.account_number END AS account_number
             FROM {incoming} incoming
             LEFT JOIN guid_map guid
                    ON guid.async_account = incoming.async_account
                   AND guid.company_id = %(company)s
             JOIN customer ON customer.company_id = %(company)s AND customer.state = 'erased'
              AND (customer.id = guid.customer_id
                   OR customer.account_number = normalize_key(incoming.account_number))"""
    ).format(incoming=incoming)


def erase_statement(kind: EventKind, incoming: WorkTable, of_erased: WorkTable) -> sql.Composed:
    columns = ["event_id", *kind.key]
    keys = [erased_value(kind, column) for column in kind.key]
    return STAGE_ERASED.format(
        incoming=incoming,
        of_erased=of_erased,
        columns=identifiers(columns),
        values=listed([sql.Identifier("incoming", "event_id"), *keys]),
        **kind.names,
    )


def erased_value(kind: EventKind, column: str) -> sql.Composable:
    """Return what staging holds of a key of an erased customer: an id stays, a name does not."""
    if kind.type_of(column) == "uuid":
        return sql.SQL("coalesce(incoming.{}, incoming.event_id)").format(sql.Identifier(column))
    return sql.SQL("''")
