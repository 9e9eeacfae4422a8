"""From table incoming to staging: what the rules allow is staged, the rest named with its reason.

Uploads bring rows here from the channels, releases bring them back from quarantine; both pass the
same rules. Table rejected names rows of incoming that cannot be used.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.db import DatabaseError, transaction
from psycopg2 import sql

from stores.channeldb.exchange import copy
from stores.channeldb.exchange.protocol import EventBatch, Unreadable
from stores.hqdb.retry import bisect_rows, is_data_error
from stores.hqdb.sql import copy_in, fetch, fetch_one, identifiers, prefer_index_scans, run_sql
from stores.models import Channel
from stores.pipeline.dates import EARLIEST_DATE
from stores.pipeline.events.kinds import CUSTOMER, EventKind, StagedTable
from stores.pipeline.events.rules import first_broken, rule_parameters, rules_for, stored_values
from stores.pipeline.fields_to_correct import record_fields
from stores.pipeline.upload.foreign_guids import reject_foreign_guids
from stores.pipeline.upload.quarantine import (
    CREATE_REJECTED,
    StagingCounts,
    UploadBatch,
    quarantine_rejected,
    quarantine_unreadable,
    reject_refused,
    reject_rows,
)

SKIP_KNOWN = "ON CONFLICT (event_id) DO NOTHING"


@dataclass(frozen=True)
class TableStaging:
    """How the rows of one table are taken in, and what is done with what the database refuses.

    `stage` stages rows, or quarantines them by our rules; `quarantine` takes all as refused,
    with what the database said by counter; `select` are some rows, and all that travels with them;
    `unreadable` is one row that even COPY does not bring into a table of HQ.
    """

    kind: StagedTable
    stage: Callable[[UploadBatch, EventBatch], StagingCounts]
    quarantine: Callable[[UploadBatch, EventBatch, Mapping[int, str]], StagingCounts]
    select: Callable[[EventBatch, Sequence[bytes]], EventBatch]
    unreadable: Callable[[EventBatch, bytes, str], Unreadable]


def stage_events(staging: TableStaging, batch: UploadBatch, events: EventBatch) -> StagingCounts:
    """Take rows in; those that the database refuses, for whatever reason, are set aside alone.

    Trouble with the connection is no trouble with a row: it flies on, and the batch is forgotten.
    """
    kind = staging.kind
    counts = quarantine_unreadable(batch, kind, events.unreadable)
    if not events.rows:
        return counts

    def selected(rows: Sequence[bytes] | None) -> EventBatch:
        return events if rows is None else staging.select(events, rows)

    done, refused = bisect_rows(
        lambda rows: staging.stage(batch, selected(rows)),
        lambda: copy.split_rows(events.data, binary=events.binary),
    )
    if refused:
        refusals = {counter_of(kind, events, row): refusal for row, refusal in refused.items()}
        quarantined, unreadable = bisect_rows(
            lambda rows: staging.quarantine(batch, selected(rows or list(refused)), refusals),
            lambda: list(refused),
        )
        rows_without_form = [staging.unreadable(events, row, refused[row]) for row in unreadable]
        done += [*quarantined, quarantine_unreadable(batch, kind, rows_without_form)]
    return sum(done, counts)


def counter_of(kind: StagedTable, events: EventBatch, row: bytes) -> int:
    return int(values_of(kind, events, row)[kind.sent_columns.index("replication_counter")])


def counters_of(kind: StagedTable, events: EventBatch) -> list[int]:
    rows = copy.split_rows(events.data, binary=events.binary) if events.rows else []
    read = [counter_of(kind, events, row) for row in rows]
    return read + [row.counter for row in events.unreadable]


def values_of(kind: StagedTable, events: EventBatch, row: bytes) -> tuple[Any, ...]:
    types = [kind.type_of(column) for column in kind.sent_columns]
    return copy.row_values(row, types, binary=events.binary)


def staging_of(kind: EventKind) -> TableStaging:
    def load(events: EventBatch) -> None:
        create_incoming(kind)
        copy_in("incoming", kind.sent_columns, events.data, binary=events.binary)

    def stage(batch: UploadBatch, events: EventBatch) -> StagingCounts:
        load(events)
        return stage_batch(replace(batch, unread=events.unread), kind)

    def quarantine(
        batch: UploadBatch, events: EventBatch, refused: Mapping[int, str]
    ) -> StagingCounts:
        load(events)
        run_sql(CREATE_REJECTED)
        reject_refused(refused)
        quarantined = quarantine_rejected(replace(batch, unread=events.unread), kind)
        run_sql("DROP TABLE rejected, incoming")
        return quarantined

    def unreadable(events: EventBatch, row: bytes, refusal: str) -> Unreadable:
        values = values_of(kind, events, row)
        counter = int(values[kind.sent_columns.index("replication_counter")])
        return Unreadable(counter, "refused", "", values, refusal)

    return TableStaging(kind, stage, quarantine, select_rows, unreadable)


def select_rows(events: EventBatch, rows: Sequence[bytes]) -> EventBatch:
    """Some of the rows, as COPY data like the whole."""
    data = copy.join_rows(rows, binary=events.binary)
    return replace(events, rows=len(rows), data=data, unreadable=[])


def stage_batch(batch: UploadBatch, kind: EventKind) -> StagingCounts:
    """Stage the rows of incoming, or quarantine them; what is known already is neither.

    Effects: staging and quarantine, in the caller's transaction; incoming is gone.
    """
    erased = stage_erased(batch, kind)
    drop_known(kind)
    run_sql(CREATE_REJECTED)
    counts = StagingCounts(erased=erased)
    if count_incoming():
        if reject_invalid_rows(batch, kind):
            counts += quarantine_rejected(batch, kind)
        staged, refused = insert_staged(batch, kind)
        counts += StagingCounts(staged=staged)
        if staged < count_incoming():
            run_sql("TRUNCATE rejected")
            if reject_conflicting(kind) + reject_refused(refused):
                counts += quarantine_rejected(batch, kind)
        if kind is CUSTOMER:
            record_fields(batch.database.channel.company, batch.database.pk, batch.unread)
        close_returned(batch, kind)
    run_sql("DROP TABLE rejected, incoming")
    return counts


def count_incoming() -> int:
    (rows,) = fetch_one("SELECT count(*) FROM incoming")
    return int(rows)


def drop_known(kind: EventKind) -> None:
    """Take out of incoming what HQ holds already, word for word: nothing is to be done with it.

    Rows come again as a batch, after a crash or when a channel sends everything once more; so only
    when the first is known is it worth looking for the others.
    """
    known = sql.SQL(
        """SELECT EXISTS (SELECT FROM {table} s WHERE s.event_id =
               (SELECT event_id FROM incoming ORDER BY replication_counter LIMIT 1))"""
    ).format(table=sql.Identifier(kind.event))
    if not fetch_one(known)[0]:
        return
    with prefer_index_scans():
        run_sql(
            sql.SQL(
                """DELETE FROM incoming i USING {table} s
                    WHERE s.event_id = i.event_id AND ({mine}) IS NOT DISTINCT FROM ({held})"""
            ).format(
                table=sql.Identifier(kind.event),
                mine=stored_values(kind, content_columns(kind), of="i"),
                held=identifiers(content_columns(kind), of="s"),
            )
        )


def content_columns(kind: EventKind) -> list[str]:
    """What makes two events of one id the same; a copied channel may count them otherwise."""
    return [column for column in kind.sent_columns if column != "replication_counter"]


def create_incoming(kind: StagedTable, *, name: str = "incoming") -> None:
    """Table incoming, or one for a part of documents; its texts have no limit yet."""
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind.type_of(column)))
        for column in kind.sent_columns
    )
    run_sql(
        sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(sql.Identifier(name), columns)
    )


# ------------------------------------------------------------------------- rules


def reject_invalid_rows(batch: UploadBatch, kind: EventKind) -> int:
    """Name the rows of incoming that break a rule. Returns how many.

    What HQ holds already is not judged again: the rules may have changed since.
    """
    channel, rules = batch.database.channel, rules_for(kind)
    reject_rows(
        sql.SQL(
            """SELECT replication_counter, (%(codes)s::text[])[place + 1],
                      (%(fields)s::text[])[place + 1], (%(allowed)s::text[])[place + 1]
                 FROM incoming, LATERAL (SELECT {} AS place) rule WHERE place IS NOT NULL"""
        ).format(first_broken(kind)),
        rule_parameters(channel.company_id)
        | {
            "codes": [rule.code for rule in rules],
            "fields": [rule.field for rule in rules],
            "allowed": [rule.allows for rule in rules],
        },
    )
    reject_foreign_accounts(channel)
    reject_foreign_guids(batch, kind)
    (count,) = fetch_one("SELECT count(*) FROM rejected")
    if not count:
        return 0
    return int(count) - run_sql(
        sql.SQL(
            """DELETE FROM rejected b USING incoming i JOIN {} s USING (event_id)
                WHERE i.replication_counter = b.replication_counter"""
        ).format(sql.Identifier(kind.event))
    )


def reject_foreign_accounts(channel: Channel) -> None:
    """Name rows whose account is another company's, or none of this one's shape.

    An account of its shape that HQ does not know waits: HQ may have been set back in time.
    """
    reject_rows(
        sql.SQL(
            """SELECT i.replication_counter, 'company_mismatch', 'account_number',
                      'an account of ' || %(company)s
                 FROM incoming i
                CROSS JOIN LATERAL (SELECT tidy_key(i.account_number)) named (account)
                WHERE named.account <> ''
                  AND NOT EXISTS (SELECT FROM customer c WHERE c.company_id = %(company)s
                                     AND c.account_number = named.account)
                  AND (EXISTS (SELECT FROM customer c WHERE c.account_number = named.account)
                    OR NOT EXISTS (SELECT FROM number_sequence q WHERE q.company_id = %(company)s
                                      AND account_place(q.format, named.account) IS NOT NULL))"""
        ),
        {"company": channel.company_id},
    )


# ----------------------------------------------------------------------- staging


def insert_staged(batch: UploadBatch, kind: EventKind) -> tuple[int, dict[int, str]]:
    """Stage the rows of incoming. Returns how many were new, and the counters of refused ones.

    Should the database refuse one for a reason that no rule foresees, it is found by halving.
    """
    # To look for known rows costs half as much again as to insert, and mostly there are none.
    try:
        with transaction.atomic():
            return insert_incoming(batch, kind, ""), {}
    except DatabaseError as error:
        if not is_data_error(error):
            raise
    staged, refused = bisect_rows(partial(insert_incoming, batch, kind, SKIP_KNOWN), fetch_counters)
    return sum(staged), refused


def fetch_counters() -> list[int]:
    rows = fetch("SELECT replication_counter FROM incoming ORDER BY 1")
    return [counter for (counter,) in rows]


def insert_incoming(
    batch: UploadBatch, kind: EventKind, known: str, counters: Sequence[int] | None = None
) -> int:
    """Insert rows of incoming into staging; `known` is what to do with those it holds.

    In the order of the GUIDs, as conversion takes them: the events of a chunk lie side by side.
    """
    return run_sql(
        sql.SQL(
            """INSERT INTO {table} (database_id, company_id, generation, session_id, {columns})
               SELECT %(database)s, %(company)s, %(generation)s, %(session)s, {values}
                 FROM incoming {some} ORDER BY async_account, replication_counter {known}"""
        ).format(
            table=sql.Identifier(kind.event),
            columns=identifiers(kind.sent_columns),
            values=stored_values(kind, kind.sent_columns),
            known=sql.SQL(known),
            some=sql.SQL(
                "" if counters is None else "WHERE replication_counter = ANY(%(counters)s)"
            ),
        ),
        origin_columns(batch) | {"counters": None if counters is None else list(counters)},
    )


def origin_columns(batch: UploadBatch) -> dict[str, Any]:
    return {
        "database": batch.database.pk,
        "company": batch.database.channel.company_id,
        "generation": batch.generation,
        "session": str(batch.session.pk) if batch.session else None,
    }


def reject_conflicting(kind: EventKind) -> int:
    """Name rows whose event id HQ holds with other content; equal ones are merely known."""
    return reject_rows(
        sql.SQL(
            """SELECT i.replication_counter, 'event_conflict', 'event_id', 'an id of its own'
                 FROM incoming i JOIN {table} s USING (event_id)
                WHERE s.status <> 'erased' AND ({mine}) IS DISTINCT FROM ({held})"""
        ).format(
            table=sql.Identifier(kind.event),
            mine=stored_values(kind, content_columns(kind), of="i"),
            held=identifiers(content_columns(kind), of="s"),
        )
    )


def close_returned(batch: UploadBatch, kind: StagedTable) -> None:
    """Close quarantined rows that came again and now pass: the rules may have changed."""
    run_sql(
        """UPDATE quarantine q SET status = 'released', settled_at = now(), became = q.event_id,
                                   settled_because = 'It came again and passed the rules.'
             FROM incoming i
            WHERE q.status = 'open' AND q.database_id = %(database)s AND q."table" = %(table)s
              AND q.generation = %(generation)s AND q.event_id = i.event_id
              AND q.row_key = i.replication_counter::text AND q.reason <> 'event_conflict'""",
        origin_columns(batch) | {"table": kind.event},
    )


# ----------------------------------------------------------------- erased people


def stage_erased(batch: UploadBatch, kind: EventKind) -> int:
    """Stage events of erased customers without what they say. Returns how many were new."""
    company = batch.database.channel.company_id
    (has_erased,) = fetch_one(
        "SELECT EXISTS (SELECT FROM customer WHERE company_id = %s AND state = 'erased')", [company]
    )
    if not has_erased:
        return 0
    run_sql(
        """CREATE TEMP TABLE of_erased ON COMMIT DROP AS
           SELECT i.replication_counter, k.id AS customer_id FROM incoming i
             LEFT JOIN guid_map m
                    ON m.async_account = i.async_account AND m.company_id = %(company)s
             JOIN customer k ON k.company_id = %(company)s AND k.state = 'erased'
              AND (k.id = m.customer_id OR k.account_number = tidy_key(i.account_number))""",
        {"company": company},
    )
    staged = run_sql(
        sql.SQL(
            """INSERT INTO {table} (database_id, company_id, generation, session_id, event_id,
                                    replication_counter, occurred_at, operation, async_account,
                                    status, customer_id {keys})
               SELECT DISTINCT ON (i.event_id) %(database)s, %(company)s, %(generation)s,
                      %(session)s, i.event_id, i.replication_counter,
                      CASE WHEN i.occurred_at BETWEEN %(earliest)s AND now()
                           THEN i.occurred_at ELSE now() END,
                      CASE WHEN tidy_key(i.operation) IN ('create', 'deactivate')
                           THEN tidy_key(i.operation) ELSE 'update' END,
                      i.async_account, 'erased', e.customer_id {blanks}
                 FROM incoming i JOIN of_erased e USING (replication_counter)
                   ON CONFLICT (event_id) DO NOTHING"""
        ).format(
            table=sql.Identifier(kind.event),
            keys=sql.SQL("").join(
                sql.SQL(", {}").format(sql.Identifier(column)) for column in kind.key
            ),
            blanks=sql.SQL("").join(
                sql.SQL(", ") + erased_value(kind, column) for column in kind.key
            ),
        ),
        origin_columns(batch) | {"earliest": EARLIEST_DATE},
    )
    run_sql(
        """DELETE FROM incoming i USING of_erased e
            WHERE e.replication_counter = i.replication_counter"""
    )
    run_sql("DROP TABLE of_erased")
    return staged


def erased_value(kind: EventKind, column: str) -> sql.Composable:
    """What a key says of an erased person: an id stays, a word goes."""
    if kind.type_of(column) == "uuid":
        return sql.SQL("coalesce(i.{}, i.event_id)").format(sql.Identifier(column))
    return sql.SQL("''")
