"""Events -> rows: merge what tills did to one entity into its present state, for many at once.

A work table says which pending events belong to which customer: of new customers by GUID, of known
ones event by event. One statement marks the events and writes the rows that come of them, so that
an event staged meanwhile is in both or in neither.

Order of events (reliability 3.4): within a channel database as it wrote them; between databases by
the earlier of the till's time and HQ's, so that a clock in the future does not win for ever, and at
one moment by channel code and register. Events made in HQ are those of one more database, whose id
is 0; at one moment they come first.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from django.db import IntegrityError, transaction
from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import Row, assignments, equal, fetch_one, identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable
from stores.models import Company, RunStep
from stores.pipeline.events.kinds import ADDRESS, AFFILIATION, CONTACT, EventKind
from stores.pipeline.events.kinds import normalized as normalized_text

NEWEST_EVENTS = load(__file__, "_newest_events")
OR_REPLACE = load(__file__, "_or_replace")
MERGE_ADDRESSES = load(__file__, "merge_addresses")
MERGE_ATTRIBUTES = load(__file__, "merge_attributes")
DEMOTE_PRIMARIES = load(__file__, "demote_primaries")
WRITE_UNAPPLIED_REASONS = load(__file__, "write_unapplied_reasons")

# How events belong to claimed customers: those of new ones by GUID, named events one by one. A
# chunk's GUIDs lie side by side in the index, so that it costs the same in a backlog of any size. A
# new GUID is known to the channel that made it and to nobody else.
BY_GUID = sql.SQL(
    """t.async_account = c.async_account
       AND coalesce(t.database_id, t.for_database_id) = ANY(c.databases)
       AND t.async_account BETWEEN
           (SELECT async_account FROM {claimed} ORDER BY 1 LIMIT 1)
       AND (SELECT async_account FROM {claimed} ORDER BY 1 DESC LIMIT 1)"""
)
BY_EVENT = sql.SQL("t.event_id = c.event_id")
# Ids that several customers name are decided over all events that wait.
NOT_APART = sql.SQL(" AND t.{key} <> ALL(%(apart)s::uuid[])")
# Kinds whose rows have an id of their own, one of them primary; the others have a name.
KINDS_WITH_ID = (ADDRESS, CONTACT)

# What a column becomes on its way, where its text is not only normalized.
NORMALIZED_COLUMNS = {
    ("address", "purpose"): f"""coalesce(nullif({normalized_text("purpose", "{event}")}, ''),
            CASE (SELECT k.customer_type FROM customer k WHERE k.id = {{customer}})
            WHEN 'organization' THEN 'business' ELSE 'home' END)""",  # noqa: S608 - our own names
    ("address", "country"): f"""coalesce(nullif({normalized_text("country", "{event}")}, ''),
            (SELECT nullif(h.country, '') FROM channel h JOIN channel_database b
                 ON b.channel_id = h.id
              WHERE b.id = coalesce({{event}}.database_id, {{event}}.for_database_id)))""",  # noqa: S608
    ("contact", "marketing_opt_in"): "coalesce({event}.marketing_opt_in, false)",
}


def normalized_column(
    kind: EventKind, column: str, *, event: str = "t", customer: str = "t.customer_id"
) -> sql.Composable:
    """A column of an event as HQ keeps it; `customer` is whose event it is."""
    if special := NORMALIZED_COLUMNS.get((kind.name, column)):
        return sql.SQL(special).format(event=sql.SQL(event), customer=sql.SQL(customer))
    if kind.type_of(column) == "text":
        return sql.SQL(normalized_text(column, event))
    return sql.Identifier(event, column)


def normalized_columns(kind: EventKind, columns: Sequence[str]) -> sql.Composed:
    return listed(
        sql.SQL("{} AS {}").format(normalized_column(kind, column), sql.Identifier(column))
        for column in columns
    )


def newest_events(kind: EventKind, claimed: WorkTable, is_claimed: sql.Composable) -> sql.Composed:
    """The beginning of each statement that merges claimed events; see its file."""
    return NEWEST_EVENTS.format(
        event=sql.Identifier(kind.event),
        claimed=claimed.identifier,
        is_claimed=is_claimed,
        columns=normalized_columns(kind, kind.columns),
        entity=identifiers(kind.entity),
        same_entity=equal(kind.entity, "v", "t"),
    )


def by_guid(guids: WorkTable, kind: EventKind) -> sql.Composed:
    """That event t is of a claimed GUID; one about an id, that it is not set apart."""
    is_claimed = BY_GUID.format(claimed=guids.identifier)
    if kind in KINDS_WITH_ID:
        is_claimed += NOT_APART.format(key=sql.Identifier(kind.key[0]))
    return is_claimed


def merge_children_of_new(
    step: RunStep, company: Company, kind: EventKind, guids: WorkTable, *, apart: Sequence[UUID]
) -> bool:
    """Merge events of one kind into what new customers have. Says whether a replay is needed."""
    values = {"company": company.pk, "run": step.run_key, "apart": list(map(str, apart))}
    merged = insert_children(kind, guids, values) or fetch_one(
        merge_statement(kind, guids, by_guid(guids, kind), is_known=False), values
    )
    return is_doubtful(kind, guids, merged)


def insert_children(kind: EventKind, guids: WorkTable, values: Mapping[str, object]) -> Row | None:
    """Insert without looking, which costs a fifth less; None if a row is there already."""
    if kind is AFFILIATION:
        return None
    with suppress(IntegrityError), transaction.atomic():
        return fetch_one(
            merge_statement(kind, guids, by_guid(guids, kind), is_known=False, is_new=True), values
        )
    return None


def merge_children_of_known(
    company: Company, kind: EventKind, events: WorkTable, run_key: str | None
) -> bool:
    """Merge claimed events of one kind into the table of the kind. Says whether a replay is needed.

    Effects: the kind's table and its staging, in the caller's transaction. An event older than
    what is there becomes superseded; one that names another customer's row becomes failed.
    """
    merged = fetch_one(
        merge_statement(kind, events, BY_EVENT, is_known=True),
        {"company": company.pk, "run": run_key},
    )
    return is_doubtful(kind, events, merged)


def is_doubtful(kind: EventKind, claimed: WorkTable, merged: Row) -> bool:
    """Whether several events were about one entity, or one changed nothing, which is told why."""
    events, entities, written = merged
    if written < entities:
        write_unapplied_reasons(kind, claimed)
    return bool(events > entities or written < entities)


def merge_statement(
    kind: EventKind,
    claimed: WorkTable,
    is_claimed: sql.Composable,
    *,
    is_known: bool,
    is_new: bool = False,
) -> sql.Composed:
    """The statement for one kind; with `is_new` it is refused if a row is there already."""
    names = {
        "newest_events": newest_events(kind, claimed, is_claimed),
        "table": sql.Identifier(kind.table),
        "key": sql.Identifier(kind.key[0]),
        "or_replace": sql.SQL("") if is_new else or_replace(kind),
    }
    if kind not in KINDS_WITH_ID:
        return MERGE_ATTRIBUTES.format(columns=identifiers(kind.columns), **names)
    return MERGE_ADDRESSES.format(
        columns=identifiers(
            [column for column in kind.columns if column not in (*kind.key, "is_primary")]
        ),
        is_known=sql.Literal(is_known),
        event=sql.Identifier(kind.event),
        **primary_names(kind),
        **names,
    )


def or_replace(kind: EventKind) -> sql.Composed:
    changed = [column for column in (*kind.columns, "is_active") if column not in kind.key]
    return OR_REPLACE.format(
        conflict=identifiers(kind.conflict), changed=assignments(changed, of="excluded")
    )


def primary_names(kind: EventKind, *, customer: str = "t.customer_id") -> dict[str, sql.Composable]:
    """Within what only one row of a customer may be primary: in the row, and in event t."""
    within = str(kind.primary)
    return {
        "within": sql.Identifier(within),
        "within_of_event": normalized_column(kind, within, customer=customer),
    }


def demote_primaries(kind: EventKind, events: WorkTable) -> None:
    """Make room for the primaries that claimed events are about to set."""
    if kind in KINDS_WITH_ID:
        run_sql(demote_statement(kind, events))


def demote_statement(kind: EventKind, events: WorkTable) -> sql.Composed:
    return DEMOTE_PRIMARIES.format(
        table=sql.Identifier(kind.table),
        event=sql.Identifier(kind.event),
        claimed=events.identifier,
        key=sql.Identifier(kind.key[0]),
        # What is pending has no customer yet.
        **primary_names(kind, customer="c.customer_id"),
    )


def write_unapplied_reasons(kind: EventKind, claimed: WorkTable) -> None:
    """Say of this transaction's events that changed nothing why: too late, or not theirs."""
    run_sql(unapplied_statement(kind, claimed))


def unapplied_statement(kind: EventKind, claimed: WorkTable) -> sql.Composed:
    return WRITE_UNAPPLIED_REASONS.format(
        event=sql.Identifier(kind.event),
        table=sql.Identifier(kind.table),
        claimed=claimed.identifier,
        field=sql.Literal(kind.key[0]),
        key=sql.Identifier(kind.key[0]),
        is_customers_own=sql.Literal(kind not in KINDS_WITH_ID),
    )
