"""Events -> rows: fold what tills did to one entity into its present state, for many at once.

Works on table `claimed`, which says which pending events belong to which customer: of new
customers by GUID, of known ones event by event. One statement marks the events and writes the rows
that come of them, so that an event staged meanwhile is in both or in neither.

Order of events (reliability 3.4): within a channel database as it wrote them; between databases by
the earlier of the till's time and HQ's, so that a clock in the future does not win for ever.
"""

from psycopg2 import sql

from stores.models import Company, RunStep
from stores.pipeline.bulk import fetch_one, names, run_sql
from stores.pipeline.kinds import ADDRESS, CONTACT, Kind

# Owners of claimed events: new customers are known by GUID, named events one by one.
BY_GUID = sql.SQL("s.async_account = c.async_account")
BY_EVENT = sql.SQL("s.event_id = c.event_id")

LATEST = ("event_at", "event_database", "event_generation", "event_counter")

NEWEST = sql.SQL(
    """taken AS (
       UPDATE {event} s
          SET status = 'applied', customer_id = c.customer_id, reason = NULL, field = NULL,
              applied_at = now(), applied_run_id = %(run)s
         FROM claimed c
        WHERE s.company_id = %(company)s AND s.status = 'pending' AND {owner}
        RETURNING s.*, c.hq_version),
     tidied AS (
       SELECT t.customer_id, t.hq_version, t.async_account, t.operation,
              t.database_id, t.generation, t.replication_counter,
              max(least(t.occurred_at, t.staged_at)) OVER (
                  PARTITION BY t.customer_id, {entity} t.database_id
                  ORDER BY t.generation, t.replication_counter) AS at,
              {columns}
         FROM taken t),
     ranked AS (
       SELECT *, first_value(operation) OVER newest_first AS last_operation,
              first_value(at) OVER newest_first AS last_at,
              first_value(database_id) OVER newest_first AS last_database,
              first_value(generation) OVER newest_first AS last_generation,
              first_value(replication_counter) OVER newest_first AS last_counter
         FROM tidied
       WINDOW newest_first AS (
              PARTITION BY customer_id {key}
              ORDER BY at DESC, database_id DESC, generation DESC, replication_counter DESC)),
     newest AS (
       SELECT DISTINCT ON (customer_id {key}) * FROM ranked
        ORDER BY customer_id {key}, operation = 'deactivate',
                 at DESC, database_id DESC, generation DESC, replication_counter DESC)"""
)

# What a column becomes on its way; the rest is trimmed and brought to NFC.
TIDIED = {
    ("address", "purpose"): """coalesce(nullif(tidy(t.purpose), ''), CASE coalesce(
            (SELECT k.customer_type FROM customer k WHERE k.id = t.customer_id),
            (SELECT a.customer_type FROM async_customer a
              WHERE a.company_id = %(company)s AND a.async_account = t.async_account
                AND a.status = 'pending' ORDER BY a.replication_counter DESC LIMIT 1))
            WHEN 'organization' THEN 'business' ELSE 'home' END)""",
    ("address", "country"): """coalesce(nullif(tidy(t.country), ''),
            (SELECT nullif(h.country, '') FROM channel h JOIN channel_database b
                 ON b.channel_id = h.id WHERE b.id = t.database_id))""",
    ("contact", "locator"): """CASE t.kind WHEN 'email' THEN tidy_email(t.locator)
            ELSE tidy(t.locator) END""",
    ("contact", "marketing_opt_in"): "coalesce(t.marketing_opt_in, false)",
    ("customer", "email"): "tidy_email(t.email)",
    ("customer", "receipt_email"): "tidy_email(t.receipt_email)",
}

NEWER = sql.SQL(
    """CASE WHEN {stored}.event_database = {new}.event_database
            THEN ({new}.event_generation, {new}.event_counter)
               > ({stored}.event_generation, {stored}.event_counter)
            ELSE ({new}.event_at, coalesce({new}.event_database, 0))
               > ({stored}.event_at, coalesce({stored}.event_database, 0)) END"""
)


def newest(kind: Kind, owner: sql.SQL = BY_GUID) -> sql.Composable:
    """CTEs that mark the claimed events as applied; the last one, newest, has one row an entity.

    Its columns are those of the newest event that is no deactivation; last_… tell of the newest
    event of all.
    """
    columns = [
        sql.SQL("{} AS {}").format(tidied(kind, column), sql.Identifier(column))
        for column in kind.columns
    ]
    return NEWEST.format(
        event=sql.Identifier(kind.event),
        owner=owner,
        entity=sql.SQL("").join(
            sql.SQL("{}, ").format(tidied(kind, column)) for column in kind.key
        ),
        key=sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(column)) for column in kind.key),
        columns=sql.SQL(", ").join(columns),
    )


def tidied(kind: Kind, column: str) -> sql.Composable:
    """The documented normalisation of one column, and the defaults of an address."""
    if special := TIDIED.get((kind.name, column)):
        return sql.SQL(special)
    if kind.type_of(column) == "text":
        return sql.SQL("tidy(t.{})").format(sql.Identifier(column))
    return sql.SQL("t.{}").format(sql.Identifier(column))


def newer(stored: str, new: str) -> sql.Composable:
    """Whether one row's latest event comes after another's."""
    return NEWER.format(stored=sql.Identifier(stored), new=sql.Identifier(new))


def write_children(step: RunStep, company: Company, kind: Kind, owner: sql.SQL = BY_GUID) -> None:
    """Fold the claimed events of one kind into addresses, contacts, affiliations or attributes.

    Effects: the kind's table and its staging, in the caller's transaction. An event older than
    what is there becomes superseded; one that names another customer's row becomes failed.
    """
    entities, written = fetch_one(
        statement(kind, owner), {"company": company.pk, "run": str(step.run_id)}
    )
    if written < entities:
        explain_unwritten(kind)


def statement(kind: Kind, owner: sql.SQL) -> sql.Composable:
    """Mark, fold and write one kind; returns how many entities there were, and were written."""
    changed = [column for column in kind.columns if column not in kind.key]
    changed += ["is_active", "hq_version", *LATEST]
    return sql.SQL(
        """WITH {newest},
         fresh AS (
           SELECT n.customer_id, {columns}, n.operation = 'deactivate' AS is_removal,
                  n.last_operation <> 'deactivate' AS is_active, n.hq_version,
                  n.last_at AS event_at, n.last_database AS event_database,
                  n.last_generation AS event_generation, n.last_counter AS event_counter,
                  {claim} AS claim
             FROM newest n),
         removed AS (
           UPDATE {table} old SET is_active = false, hq_version = f.hq_version, {latest}
             FROM fresh f
            WHERE f.is_removal AND old.customer_id = f.customer_id AND {same_key} AND {newer_fresh}
           RETURNING 1),
         written AS (
           INSERT INTO {table} AS old (customer_id, {names}, is_active, hq_version, {event})
           SELECT customer_id, {names}, is_active, hq_version, {event} FROM fresh f
            WHERE f.claim = 1
              AND (NOT f.is_removal
                   OR NOT EXISTS (SELECT FROM {table} old
                                   WHERE old.customer_id = f.customer_id AND {same_key}))
               ON CONFLICT ({conflict}) DO UPDATE SET {changed}
                  WHERE old.customer_id = excluded.customer_id AND {newer_excluded}
           RETURNING 1)
         SELECT (SELECT count(*) FROM fresh),
                (SELECT count(*) FROM removed) + (SELECT count(*) FROM written)"""
    ).format(
        newest=newest(kind, owner),
        columns=sql.SQL(", ").join(fresh_column(kind, column) for column in kind.columns),
        claim=claim_to_id(kind, owner),
        names=names(kind.columns),
        event=names(LATEST),
        table=sql.Identifier(kind.table),
        latest=sql.SQL(", ").join(
            sql.SQL("{0} = f.{0}").format(sql.Identifier(column)) for column in LATEST
        ),
        same_key=sql.SQL(" AND ").join(
            sql.SQL("old.{0} = f.{0}").format(sql.Identifier(column)) for column in kind.key
        ),
        newer_fresh=newer("old", "f"),
        newer_excluded=newer("old", "excluded"),
        conflict=names(kind.conflict),
        changed=sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in changed
        ),
    )


def claim_to_id(kind: Kind, owner: sql.SQL) -> sql.Composable:
    """The place among customers who name one id at once: its owner's is 1, else the earliest's."""
    if kind not in (ADDRESS, CONTACT):
        return sql.SQL("1")
    # New customers own nothing yet.
    owned = sql.SQL(
        """NOT EXISTS (SELECT FROM {table} old
                        WHERE old.{key} = n.{key} AND old.customer_id = n.customer_id),"""
    ).format(table=sql.Identifier(kind.table), key=sql.Identifier(kind.key[0]))
    return sql.SQL(
        """row_number() OVER (PARTITION BY n.{key} ORDER BY {owned} n.last_at, n.last_database,
                                           n.last_generation, n.last_counter)"""
    ).format(key=sql.Identifier(kind.key[0]), owned=sql.SQL("") if owner is BY_GUID else owned)


def fresh_column(kind: Kind, column: str) -> sql.Composable:
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
                      AND other.is_primary AND other.is_active AND other.{key} <> n.{key}))))
           AS is_primary"""
    ).format(
        within=sql.Identifier(kind.primary),
        table=sql.Identifier(kind.table),
        key=sql.Identifier(kind.key[0]),
    )


def demote_primaries(kind: Kind) -> None:
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
                  AND least(s.occurred_at, s.staged_at) >= old.event_at"""
        ).format(
            table=sql.Identifier(kind.table),
            event=sql.Identifier(kind.event),
            within=sql.Identifier(str(kind.primary)),
            column=sql.SQL(
                """coalesce(nullif(tidy(s.purpose), ''),
                       (SELECT CASE k.customer_type WHEN 'organization' THEN 'business'
                                    ELSE 'home' END FROM customer k WHERE k.id = c.customer_id))"""
            )
            if kind is ADDRESS
            else sql.SQL("tidy(s.kind)"),
            key=sql.Identifier(kind.key[0]),
        ),
    )


def explain_unwritten(kind: Kind) -> None:
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
                                     AND mine.database_id = row.event_database
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
