"""From table incoming to staging: what the rules allow is staged, the rest named with its reason.

Uploads bring rows here from the channels, releases bring them back from quarantine; both pass the
same rules. Table broken names rows of incoming that cannot be used.
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
from stores.pipeline.dates import EARLIEST
from stores.pipeline.events.kinds import CUSTOMER, Kind, Sent
from stores.pipeline.events.rules import as_staged, first_broken, parameters, rules_for
from stores.pipeline.fields_to_correct import mark_fields
from stores.pipeline.upload.foreign_guids import find_foreign_guids
from stores.pipeline.upload.quarantine import (
    BROKEN,
    Arrival,
    Taken,
    keep_broken,
    keep_unreadable,
    name_broken,
    name_refused,
)

KNOWN = "ON CONFLICT (event_id) DO NOTHING"


@dataclass(frozen=True)
class Intake:
    """How the rows of one table are taken in, and what is done with what the database refuses.

    `take` stages rows, or sets them aside by our rules; `keep` sets all of them aside as refused,
    with what the database said by counter; `part` are some rows, and all that travels with them;
    `unreadable` is one row that even COPY does not bring into a table of HQ.
    """

    kind: Sent
    take: Callable[[Arrival, EventBatch], Taken]
    keep: Callable[[Arrival, EventBatch, Mapping[int, str]], Taken]
    part: Callable[[EventBatch, Sequence[bytes]], EventBatch]
    unreadable: Callable[[EventBatch, bytes, str], Unreadable]


def receive(intake: Intake, arrival: Arrival, events: EventBatch) -> Taken:
    """Take rows in; those that the database refuses, for whatever reason, are set aside alone.

    Trouble with the connection is no trouble with a row: it flies on, and the batch is forgotten.
    """
    kind = intake.kind
    taken = keep_unreadable(arrival, kind, events.unreadable)
    if not events.rows:
        return taken

    def some(rows: Sequence[bytes] | None) -> EventBatch:
        return events if rows is None else intake.part(events, rows)

    done, refused = bisect_rows(
        lambda rows: intake.take(arrival, some(rows)),
        lambda: copy.split_rows(events.data, binary=events.binary),
    )
    if refused:
        said = {counter_of(kind, events, row): told for row, told in refused.items()}
        kept, unreadable = bisect_rows(
            lambda rows: intake.keep(arrival, some(rows or list(refused)), said),
            lambda: list(refused),
        )
        found = [intake.unreadable(events, row, refused[row]) for row in unreadable]
        done += [*kept, keep_unreadable(arrival, kind, found)]
    return sum(done, taken)


def counter_of(kind: Sent, events: EventBatch, row: bytes) -> int:
    """The counter of one row of COPY data."""
    return int(values_of(kind, events, row)[kind.sent.index("replication_counter")])


def counters_of(kind: Sent, events: EventBatch) -> list[int]:
    """The counters of all rows that were read."""
    rows = copy.split_rows(events.data, binary=events.binary) if events.rows else []
    read = [counter_of(kind, events, row) for row in rows]
    return read + [row.counter for row in events.unreadable]


def values_of(kind: Sent, events: EventBatch, row: bytes) -> tuple[Any, ...]:
    """The values of one row of COPY data."""
    types = [kind.type_of(column) for column in kind.sent]
    return copy.row_values(row, types, binary=events.binary)


def intake_of(kind: Kind) -> Intake:
    """How the events of a kind are taken in."""

    def put(events: EventBatch) -> None:
        make_incoming(kind)
        copy_in("incoming", kind.sent, events.data, binary=events.binary)

    def take(arrival: Arrival, events: EventBatch) -> Taken:
        put(events)
        return take_in(replace(arrival, unread=events.unread), kind)

    def keep(arrival: Arrival, events: EventBatch, refused: Mapping[int, str]) -> Taken:
        put(events)
        run_sql(BROKEN)
        name_refused(refused)
        kept = keep_broken(replace(arrival, unread=events.unread), kind)
        run_sql("DROP TABLE broken, incoming")
        return kept

    def unreadable(events: EventBatch, row: bytes, told: str) -> Unreadable:
        values = values_of(kind, events, row)
        counter = int(values[kind.sent.index("replication_counter")])
        return Unreadable(counter, "refused", "", values, told)

    return Intake(kind, take, keep, part, unreadable)


def part(events: EventBatch, rows: Sequence[bytes]) -> EventBatch:
    """Some of the rows, as COPY data like the whole."""
    data = copy.join_rows(rows, binary=events.binary)
    return replace(events, rows=len(rows), data=data, unreadable=[])


def take_in(arrival: Arrival, kind: Kind) -> Taken:
    """Stage the rows of incoming, or quarantine them; what is known already is neither.

    Effects: staging and quarantine, in the caller's transaction; incoming is gone.
    """
    erased = stage_erased(arrival, kind)
    leave_known(kind)
    run_sql(BROKEN)
    taken = Taken(erased=erased)
    if count_incoming():
        if find_broken(arrival, kind):
            taken += keep_broken(arrival, kind)
        staged, refused = insert_staged(arrival, kind)
        taken += Taken(staged=staged)
        if staged < count_incoming():
            run_sql("TRUNCATE broken")
            if name_conflicts(kind) + name_refused(refused):
                taken += keep_broken(arrival, kind)
        if kind is CUSTOMER:
            mark_fields(arrival.database.channel.company, arrival.database.pk, arrival.unread)
        close_returned(arrival, kind)
    run_sql("DROP TABLE broken, incoming")
    return taken


def count_incoming() -> int:
    (rows,) = fetch_one("SELECT count(*) FROM incoming")
    return int(rows)


def leave_known(kind: Kind) -> None:
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
                mine=as_staged(kind, content_of(kind), of="i"),
                held=identifiers(content_of(kind), of="s"),
            )
        )


def content_of(kind: Kind) -> list[str]:
    """What makes two events of one id the same; a copied channel may count them otherwise."""
    return [column for column in kind.sent if column != "replication_counter"]


def make_incoming(kind: Sent, *, name: str = "incoming") -> None:
    """Table incoming, or one for a part of documents; its texts have no limit yet."""
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind.type_of(column)))
        for column in kind.sent
    )
    run_sql(
        sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(sql.Identifier(name), columns)
    )


# ------------------------------------------------------------------------- rules


def find_broken(arrival: Arrival, kind: Kind) -> int:
    """Name the rows of incoming that break a rule. Returns how many.

    What HQ holds already is not judged again: the rules may have changed since.
    """
    channel, rules = arrival.database.channel, rules_for(kind)
    name_broken(
        sql.SQL(
            """SELECT replication_counter, (%(codes)s::text[])[place + 1],
                      (%(fields)s::text[])[place + 1], (%(allowed)s::text[])[place + 1]
                 FROM incoming, LATERAL (SELECT {} AS place) rule WHERE place IS NOT NULL"""
        ).format(first_broken(kind)),
        parameters(channel.company_id)
        | {
            "codes": [rule.code for rule in rules],
            "fields": [rule.field for rule in rules],
            "allowed": [rule.allows for rule in rules],
        },
    )
    find_foreign_accounts(channel)
    find_foreign_guids(arrival, kind)
    (found,) = fetch_one("SELECT count(*) FROM broken")
    if not found:
        return 0
    return int(found) - run_sql(
        sql.SQL(
            """DELETE FROM broken b USING incoming i JOIN {} s USING (event_id)
                WHERE i.replication_counter = b.replication_counter"""
        ).format(sql.Identifier(kind.event))
    )


def find_foreign_accounts(channel: Channel) -> None:
    """Name rows whose account is another company's, or none of this one's shape.

    An account of its shape that HQ does not know waits: HQ may have been set back in time.
    """
    name_broken(
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


def insert_staged(arrival: Arrival, kind: Kind) -> tuple[int, dict[int, str]]:
    """Stage the rows of incoming. Returns how many were new, and the counters of refused ones.

    Should the database refuse one for a reason that no rule foresees, it is found by halving.
    """
    # To look for known rows costs half as much again as to insert, and mostly there are none.
    try:
        with transaction.atomic():
            return insert(arrival, kind, ""), {}
    except DatabaseError as error:
        if not is_data_error(error):
            raise
    staged, refused = bisect_rows(partial(insert, arrival, kind, KNOWN), fetch_counters)
    return sum(staged), refused


def fetch_counters() -> list[int]:
    """The counters of the rows of incoming."""
    found = fetch("SELECT replication_counter FROM incoming ORDER BY 1")
    return [counter for (counter,) in found]


def insert(arrival: Arrival, kind: Kind, known: str, counters: Sequence[int] | None = None) -> int:
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
            columns=identifiers(kind.sent),
            values=as_staged(kind, kind.sent),
            known=sql.SQL(known),
            some=sql.SQL(
                "" if counters is None else "WHERE replication_counter = ANY(%(counters)s)"
            ),
        ),
        origin_of(arrival) | {"counters": None if counters is None else list(counters)},
    )


def origin_of(arrival: Arrival) -> dict[str, Any]:
    """What staging says of where a row came from."""
    return {
        "database": arrival.database.pk,
        "company": arrival.database.channel.company_id,
        "generation": arrival.generation,
        "session": str(arrival.session.pk) if arrival.session else None,
    }


def name_conflicts(kind: Kind) -> int:
    """Name rows whose event id HQ holds with other content; equal ones are merely known."""
    return name_broken(
        sql.SQL(
            """SELECT i.replication_counter, 'event_conflict', 'event_id', 'an id of its own'
                 FROM incoming i JOIN {table} s USING (event_id)
                WHERE s.status <> 'erased' AND ({mine}) IS DISTINCT FROM ({held})"""
        ).format(
            table=sql.Identifier(kind.event),
            mine=as_staged(kind, content_of(kind), of="i"),
            held=identifiers(content_of(kind), of="s"),
        )
    )


def close_returned(arrival: Arrival, kind: Sent) -> None:
    """Close quarantined rows that came again and now pass: the rules may have changed."""
    run_sql(
        """UPDATE quarantine q SET status = 'released', settled_at = now(), became = q.event_id,
                                   settled_because = 'It came again and passed the rules.'
             FROM incoming i
            WHERE q.status = 'open' AND q.database_id = %(database)s AND q."table" = %(table)s
              AND q.generation = %(generation)s AND q.event_id = i.event_id
              AND q.row_key = i.replication_counter::text AND q.reason <> 'event_conflict'""",
        origin_of(arrival) | {"table": kind.event},
    )


# ----------------------------------------------------------------- erased people


def stage_erased(arrival: Arrival, kind: Kind) -> int:
    """Stage events of erased customers without what they say. Returns how many were new."""
    company = arrival.database.channel.company_id
    (some,) = fetch_one(
        "SELECT EXISTS (SELECT FROM customer WHERE company_id = %s AND state = 'erased')", [company]
    )
    if not some:
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
            blanks=sql.SQL("").join(sql.SQL(", ") + blank(kind, column) for column in kind.key),
        ),
        origin_of(arrival) | {"earliest": EARLIEST},
    )
    run_sql(
        """DELETE FROM incoming i USING of_erased e
            WHERE e.replication_counter = i.replication_counter"""
    )
    run_sql("DROP TABLE of_erased")
    return staged


def blank(kind: Kind, column: str) -> sql.Composable:
    """What a key says of an erased person: an id stays, a word goes."""
    if kind.type_of(column) == "uuid":
        return sql.SQL("coalesce(i.{}, i.event_id)").format(sql.Identifier(column))
    return sql.SQL("''")
