"""Events -> rows: merge what tills did to one entity into its present state, for many at once.

Works on table `claimed`, which says which pending events belong to which customer: of new
customers by GUID, of known ones event by event. One statement marks the events and writes the rows
that come of them, so that an event staged meanwhile is in both or in neither.

Order of events (reliability 3.4): within a channel database as it wrote them; between databases by
the earlier of the till's time and HQ's, so that a clock in the future does not win for ever, and at
one moment by channel code and register. Events made in HQ are those of one more database, whose id
is 0; at one moment they come first.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from psycopg2 import sql

from stores.hqdb.sql import Row, fetch_one, identifiers, run_sql
from stores.models import Company, RunStep
from stores.pipeline.events.kinds import ADDRESS, AFFILIATION, CONTACT, EventKind
from stores.pipeline.events.kinds import normalized as tidied_text

# Owners of claimed events: new customers are known by GUID, named events one by one. A chunk's
# GUIDs lie side by side in the index, so that it costs the same in a backlog of any size. A new
# GUID is known to the channel that made it and to nobody else.
BY_GUID = sql.SQL(
    """t.async_account = c.async_account
       AND coalesce(t.database_id, t.for_database_id) = ANY(c.databases)
       AND t.async_account BETWEEN
           (SELECT async_account FROM claimed ORDER BY 1 LIMIT 1)
       AND (SELECT async_account FROM claimed ORDER BY 1 DESC LIMIT 1)"""
)
BY_EVENT = sql.SQL("t.event_id = c.event_id")

LATEST_EVENT_COLUMNS = ("event_at", "event_database", "event_generation", "event_counter")

NEWEST_EVENTS = sql.SQL(
    """taken AS (
       UPDATE {event} t
          SET status = 'applied', customer_id = c.customer_id, reason = NULL, field = NULL,
              applied_at = now(), applied_run_id = %(run)s
         FROM claimed c
        WHERE t.company_id = %(company)s AND t.status = 'pending' AND {owner}
        RETURNING c.customer_id, c.hq_version, t.async_account, t.operation,
              coalesce(t.database_id, 0) AS database_id, t.generation, t.replication_counter,
              coalesce(t.database_id, t.for_database_id) AS home_database_id,
              least(t.occurred_at, t.staged_at) AS seen_at, {columns}),
     several AS (
       SELECT customer_id {key} FROM taken GROUP BY customer_id {key} HAVING count(*) > 1),
     dated AS (
       SELECT t.*, max(seen_at) OVER (PARTITION BY customer_id {key}, database_id
                                      ORDER BY generation, replication_counter) AS at
         FROM taken t WHERE EXISTS (SELECT FROM several v WHERE {same_entity})),
     ranked AS (
       SELECT *, first_value(operation) OVER newest_first AS last_operation,
              first_value(at) OVER newest_first AS last_at,
              first_value(database_id) OVER newest_first AS last_database,
              first_value(generation) OVER newest_first AS last_generation,
              first_value(replication_counter) OVER newest_first AS last_counter
         FROM dated
       WINDOW newest_first AS (
              PARTITION BY customer_id {key}
              ORDER BY at DESC, database_id DESC, generation DESC, replication_counter DESC)),
     newest AS (
       SELECT t.*, seen_at AS at, operation AS last_operation, seen_at AS last_at,
              database_id AS last_database, generation AS last_generation,
              replication_counter AS last_counter
         FROM taken t WHERE NOT EXISTS (SELECT FROM several v WHERE {same_entity})
       UNION ALL (
       SELECT DISTINCT ON (customer_id {key}) * FROM ranked
        ORDER BY customer_id {key}, operation = 'deactivate',
                 at DESC, database_id DESC, generation DESC, replication_counter DESC))"""
)

# What a column becomes on its way, where its text is not only tidied.
NORMALIZED_COLUMNS = {
    ("address", "purpose"): f"""coalesce(nullif({tidied_text("purpose", "t")}, ''),
            CASE (SELECT k.customer_type FROM customer k WHERE k.id = t.customer_id)
            WHEN 'organization' THEN 'business' ELSE 'home' END)""",  # noqa: S608 - our own names
    ("address", "country"): f"""coalesce(nullif({tidied_text("country", "t")}, ''),
            (SELECT nullif(h.country, '') FROM channel h JOIN channel_database b
                 ON b.channel_id = h.id
              WHERE b.id = coalesce(t.database_id, t.for_database_id)))""",  # noqa: S608
    ("contact", "marketing_opt_in"): "coalesce(t.marketing_opt_in, false)",
}

IS_NEWER = sql.SQL(
    """CASE WHEN {stored}.event_database = {new}.event_database
            THEN ({new}.event_generation, {new}.event_counter)
               > ({stored}.event_generation, {stored}.event_counter)
            ELSE ({new}.event_at, database_place({new}.event_database))
               > ({stored}.event_at, database_place({stored}.event_database)) END"""
)


def newest_events(
    kind: EventKind, owner: sql.SQL = BY_GUID, *, is_apart: bool = False
) -> sql.Composable:
    """CTEs that mark the claimed events as applied; the last one, newest, has one row an entity.

    Its columns are those of the newest event that is no deactivation; last_… tell of the newest
    event of all. Most entities have one event, and nothing is to be sorted for them. `is_apart`
    leaves out the entities with the ids in parameter `apart`.
    """
    condition: sql.Composable = owner
    if is_apart:
        condition = owner + sql.SQL(" AND t.{} <> ALL(%(apart)s::uuid[])").format(
            sql.Identifier(kind.key[0])
        )
    columns = [
        sql.SQL("{} AS {}").format(normalized_column(kind, column), sql.Identifier(column))
        for column in kind.columns
    ]
    return NEWEST_EVENTS.format(
        event=sql.Identifier(kind.event),
        owner=condition,
        columns=sql.SQL(", ").join(columns),
        key=sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(column)) for column in kind.key),
        same_entity=sql.SQL(" AND ").join(
            sql.SQL("v.{0} = t.{0}").format(sql.Identifier(column))
            for column in ("customer_id", *kind.key)
        ),
    )


def normalized_column(kind: EventKind, column: str) -> sql.Composable:
    """The documented normalisation of one column, and the defaults of an address."""
    if special := NORMALIZED_COLUMNS.get((kind.name, column)):
        return sql.SQL(special)
    if kind.type_of(column) == "text":
        return sql.SQL(tidied_text(column, "t"))
    return sql.SQL("t.{}").format(sql.Identifier(column))


def is_newer(stored: str, new: str) -> sql.Composable:
    return IS_NEWER.format(stored=sql.Identifier(stored), new=sql.Identifier(new))


def merge_children(
    step: RunStep,
    company: Company,
    kind: EventKind,
    owner: sql.SQL = BY_GUID,
    *,
    apart: Sequence[UUID] = (),
) -> bool:
    """Merge the claimed events of one kind into addresses, contacts, affiliations or attributes.

    Events about the ids in `apart` are left alone.

    Says whether several were about one entity, or one of them changed nothing.
    Effects: the kind's table and its staging, in the caller's transaction. An event older than
    what is there becomes superseded; one that names another customer's row becomes failed.
    """
    events, entities, written = merge_kind(
        kind,
        owner,
        {"company": company.pk, "run": step.run_key, "apart": list(map(str, apart))},
        is_apart=bool(apart),
    )
    if written < entities:
        write_unapplied_reasons(kind)
    return bool(events > entities or written < entities)


def merge_kind(kind: EventKind, owner: sql.SQL, values: dict[str, Any], *, is_apart: bool) -> Row:
    """Mark, merge and write one kind. Returns how many events and entities there were, and written.

    What belongs to new customers is new too, unless another customer has the id or the channel's
    default customer the affiliation; to insert without looking costs a fifth less.
    """
    if owner is BY_GUID and kind is not AFFILIATION:
        with suppress(IntegrityError), transaction.atomic():
            return fetch_one(merge_statement(kind, owner, is_new=True, is_apart=is_apart), values)
    return fetch_one(merge_statement(kind, owner, is_apart=is_apart), values)


def merge_statement(
    kind: EventKind, owner: sql.SQL, *, is_new: bool = False, is_apart: bool = False
) -> sql.Composable:
    """The statement of merge_kind; with `is_new` it is refused if a row is there already."""
    return sql.SQL(
        """WITH {newest},
         {owners}
         fresh AS (
           SELECT n.customer_id, {columns}, n.operation = 'deactivate' AS is_removal,
                  n.last_operation <> 'deactivate' AS is_active, n.hq_version,
                  n.last_at AS event_at, n.last_database AS event_database,
                  n.last_generation AS event_generation, n.last_counter AS event_counter
             FROM newest n),
         removed AS (
           UPDATE {table} old SET is_active = false, hq_version = f.hq_version, {latest}
             FROM fresh f
            WHERE f.is_removal AND old.customer_id = f.customer_id AND {same_key} AND {newer_fresh}
           RETURNING 1),
         written AS (
           INSERT INTO {table} AS old (customer_id, {names}, is_active, hq_version, {event})
           SELECT customer_id, {names}, is_active, hq_version, {event} FROM fresh f
            WHERE {owner_condition}
              AND (NOT f.is_removal
                   OR NOT EXISTS (SELECT FROM {table} old
                                   WHERE old.customer_id = f.customer_id AND {same_key}))
           {on_conflict} RETURNING 1)
         SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM fresh),
                (SELECT count(*) FROM removed) + (SELECT count(*) FROM written)"""
    ).format(
        newest=newest_events(kind, owner, is_apart=is_apart),
        owners=owners_of_ids(kind, owner),
        owner_condition=owner_condition(kind),
        columns=sql.SQL(", ").join(merged_value(kind, column) for column in kind.columns),
        names=identifiers(kind.columns),
        event=identifiers(LATEST_EVENT_COLUMNS),
        table=sql.Identifier(kind.table),
        latest=sql.SQL(", ").join(
            sql.SQL("{0} = f.{0}").format(sql.Identifier(column)) for column in LATEST_EVENT_COLUMNS
        ),
        same_key=sql.SQL(" AND ").join(
            sql.SQL("old.{0} = f.{0}").format(sql.Identifier(column)) for column in kind.key
        ),
        newer_fresh=is_newer("old", "f"),
        on_conflict=sql.SQL("") if is_new else replace_if_older(kind),
    )


def replace_if_older(kind: EventKind) -> sql.Composable:
    """What an insert does about a row that is there: an older one of the customer is replaced."""
    changed = [column for column in kind.columns if column not in kind.key]
    changed += ["is_active", "hq_version", *LATEST_EVENT_COLUMNS]
    return sql.SQL(
        """ON CONFLICT ({conflict}) DO UPDATE SET {changed}
            WHERE old.customer_id = excluded.customer_id AND {newer}"""
    ).format(
        conflict=identifiers(kind.conflict),
        changed=sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in changed
        ),
        newer=is_newer("old", "excluded"),
    )


def owners_of_ids(kind: EventKind, owner: sql.SQL) -> sql.Composable:
    """CTE: whose an id is that several customers name at once: its owner's, else the earliest's."""
    if kind not in (ADDRESS, CONTACT):
        return sql.SQL("")
    # New customers own nothing yet.
    owned = sql.SQL(
        """NOT EXISTS (SELECT FROM {table} old
                        WHERE old.{key} = n.{key} AND old.customer_id = n.customer_id),"""
    )
    return sql.SQL(
        """owners AS (
           SELECT DISTINCT ON (n.{key}) n.{key}, n.customer_id FROM newest n
            WHERE n.{key} IN (SELECT {key} FROM newest GROUP BY {key} HAVING count(*) > 1)
            ORDER BY n.{key}, {owned} n.last_at, n.last_database, n.last_generation,
                     n.last_counter),"""
    ).format(
        key=sql.Identifier(kind.key[0]),
        owned=sql.SQL("")
        if owner is BY_GUID
        else owned.format(table=sql.Identifier(kind.table), key=sql.Identifier(kind.key[0])),
    )


def owner_condition(kind: EventKind) -> sql.Composable:
    """Condition on fresh f: no other customer has the id, of those who name it at once."""
    if kind not in (ADDRESS, CONTACT):
        return sql.SQL("true")
    return sql.SQL(
        """NOT EXISTS (SELECT FROM owners o
                        WHERE o.{key} = f.{key} AND o.customer_id <> f.customer_id)"""
    ).format(key=sql.Identifier(kind.key[0]))


def merged_value(kind: EventKind, column: str) -> sql.Composable:
    """A column of the row to be written; of several primaries the latest event's wins."""
    if column != "is_primary" or kind.primary is None:
        return sql.SQL("n.{}").format(sql.Identifier(column))
    return sql.SQL(
        """n.is_primary AND (n.last_operation = 'deactivate' OR (
               row_number() OVER (
                   PARTITION BY n.customer_id, n.{within}, n.is_primary,
                                n.last_operation = 'deactivate'
                   ORDER BY n.last_at DESC, n.last_database DESC, n.last_generation DESC,
                            n.last_counter DESC) = 1
               AND (n.hq_version = 1 OR NOT EXISTS (
                   SELECT FROM {table} other
                    WHERE other.customer_id = n.customer_id AND other.{within} = n.{within}
                      AND other.is_primary AND other.is_active AND other.{key} <> n.{key})
                   AND NOT EXISTS (SELECT FROM {event} t WHERE {later_primary}))))
           AS is_primary"""
    ).format(
        within=sql.Identifier(kind.primary),
        table=sql.Identifier(kind.table),
        event=sql.Identifier(kind.event),
        key=sql.Identifier(kind.key[0]),
        later_primary=later_primary(kind, "n", "last_at", "last_database"),
    )


def later_primary(kind: EventKind, row: str, at: str, database: str) -> sql.Composable:
    """Whether event t gave the place of a row's primary to another one later, and for good."""
    return sql.SQL(
        """t.customer_id = {row}.customer_id AND t.status IN ('applied', 'superseded')
           AND t.is_primary AND t.operation <> 'deactivate'
           AND t.{key} <> {row}.{key} AND {within_of_t} = {row}.{within}
           AND (least(t.occurred_at, t.staged_at), database_place(t.database_id))
             > ({row}.{at}, database_place({row}.{database}))"""
    ).format(
        row=sql.Identifier(row),
        at=sql.Identifier(at),
        database=sql.Identifier(database),
        key=sql.Identifier(kind.key[0]),
        within=sql.Identifier(str(kind.primary)),
        within_of_t=normalized_column(kind, str(kind.primary)),
    )


def demote_primaries(kind: EventKind) -> None:
    """Make room for the primaries that claimed events are about to set."""
    if kind not in (ADDRESS, CONTACT):
        return
    run_sql(
        sql.SQL(
            """UPDATE {table} old SET is_primary = false, hq_version = c.hq_version
                 FROM claimed c JOIN {event} s ON s.event_id = c.event_id
                WHERE s.status = 'pending' AND s.is_primary AND s.operation <> 'deactivate'
                  AND old.customer_id = c.customer_id AND old.is_primary AND old.is_active
                  AND old.{within} = {column} AND old.{key} <> s.{key}
                  AND CASE WHEN coalesce(s.database_id, 0) = old.event_database
                      THEN (s.generation, s.replication_counter)
                         > (old.event_generation, old.event_counter)
                      ELSE (least(s.occurred_at, s.staged_at), database_place(s.database_id))
                         > (old.event_at, database_place(old.event_database)) END"""
        ).format(
            table=sql.Identifier(kind.table),
            event=sql.Identifier(kind.event),
            within=sql.Identifier(str(kind.primary)),
            column=sql.SQL(
                f"""coalesce(nullif({tidied_text("purpose", "s")}, ''),
                       (SELECT CASE k.customer_type WHEN 'organization' THEN 'business'
                                    ELSE 'home' END FROM customer k WHERE k.id = c.customer_id))"""  # noqa: S608
            )
            if kind is ADDRESS
            else sql.SQL(tidied_text("kind", "s")),
            key=sql.Identifier(kind.key[0]),
        ),
    )


def write_unapplied_reasons(kind: EventKind) -> None:
    """Say of this transaction's events that changed nothing why: too late, or not theirs."""
    key = sql.SQL(" AND ").join(
        sql.SQL("row.{0} = s.{0}").format(sql.Identifier(column)) for column in kind.key
    )
    run_sql(
        sql.SQL(
            """UPDATE {event} s
                  SET status = CASE WHEN row.customer_id = s.customer_id THEN 'superseded'
                                    ELSE 'failed' END,
                      reason = CASE WHEN row.customer_id = s.customer_id THEN NULL
                                    ELSE 'belongs_to_another' END,
                      field = CASE WHEN row.customer_id = s.customer_id THEN NULL ELSE {field} END
                 FROM {table} row
                WHERE s.applied_at = now() AND s.status = 'applied'
                  AND s.customer_id IN (SELECT customer_id FROM claimed)
                  AND {key} AND {owned}
                  AND NOT EXISTS (SELECT FROM {event} mine
                                   WHERE mine.customer_id = s.customer_id
                                     AND mine.applied_at = now()
                                     AND row.customer_id = mine.customer_id
                                     AND coalesce(mine.database_id, 0) = row.event_database
                                     AND mine.generation = row.event_generation
                                     AND mine.replication_counter = row.event_counter)"""
        ).format(
            event=sql.Identifier(kind.event),
            table=sql.Identifier(kind.table),
            field=sql.Literal(kind.key[0]),
            key=key,
            # Addresses and contacts have ids of their own; the others exist once per customer.
            owned=sql.SQL("true")
            if kind in (ADDRESS, CONTACT)
            else sql.SQL("row.customer_id = s.customer_id"),
        )
    )
