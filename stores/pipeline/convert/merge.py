"""Events -> rows: merge what tills did to one entity into its present state, for many at once.

A work table says which events of a chunk belong to which customer: of new customers by GUID, of
known ones event by event. Nothing is written on the events: those of a chunk count as applied but
for the few that are settled otherwise.

Order of events (reliability 3.4): within a channel database as it wrote them; between databases by
the earlier of the till's time and HQ's, so that a clock in the future does not win for ever, and at
one moment by channel code and register. Events made in HQ are those of one more database, whose id
is 0; at one moment they come first.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import Row, assignments, equal, fetch, fetch_one, identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable
from stores.pipeline.convert.chunk import Chunk
from stores.pipeline.convert.open_events import open_failing
from stores.pipeline.events.kinds import ADDRESS, AFFILIATION, CONTACT, EventKind
from stores.pipeline.events.kinds import normalized as normalized_text

NEWEST_EVENTS = load(__file__, "_newest_events")
OR_REPLACE = load(__file__, "_or_replace")
MERGE_ADDRESSES = load(__file__, "merge_addresses")
MERGE_ATTRIBUTES = load(__file__, "merge_attributes")
DEMOTE_PRIMARIES = load(__file__, "demote_primaries")
PRIMARY_IS_FREE = load(__file__, "_primary_is_free")
SETTLE_UNAPPLIED = load(__file__, "settle_unapplied")

# How events belong to claimed customers: those of new ones by GUID, named events one by one. A new
# GUID is known to the channel that made it and to nobody else.
BY_GUID = sql.SQL(
    """t.async_account = c.async_account AND t.account_number IS NULL
       AND coalesce(t.database_id, t.for_database_id) = ANY(c.databases)"""
)
BY_EVENT = sql.SQL("t.event_id = c.event_id")
# Ids that several customers name are decided over all events of the chunk.
NOT_APART = sql.SQL(" AND {id} <> ALL(%(apart)s::uuid[])")
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


def normalized_columns(
    kind: EventKind, columns: Sequence[str], *, customer: str = "t.customer_id"
) -> sql.Composed:
    return listed(
        sql.SQL("{} AS {}").format(
            normalized_column(kind, column, customer=customer), sql.Identifier(column)
        )
        for column in columns
    )


@dataclass(frozen=True)
class Claim:
    """Events of one kind, and the customers that they belong to.

    `claimed` are the customers, `events` a table or query of the events, and `is_claimed` the
    condition that event t belongs to customer c.
    """

    kind: EventKind
    claimed: WorkTable
    events: sql.Composable
    is_claimed: sql.Composable


def claim_of_new(chunk: Chunk, kind: EventKind, guids: WorkTable, *, apart: bool = False) -> Claim:
    """The events of a chunk that belong to new customers; `apart`: but for contested ids."""
    is_claimed: sql.Composable = BY_GUID
    if apart and kind in KINDS_WITH_ID:
        is_claimed = BY_GUID + NOT_APART.format(id=sql.Identifier("t", kind.key[0]))
    return Claim(kind, guids, sql.SQL("({})").format(chunk.events(kind)), is_claimed)


def claim_of_known(kind: EventKind, events: WorkTable) -> Claim:
    """Events that were claimed one by one."""
    return Claim(kind, events, sql.Identifier(kind.event), BY_EVENT)


def newest_events(claim: Claim) -> sql.Composed:
    """The beginning of each statement that merges claimed events; see its file."""
    kind = claim.kind
    return NEWEST_EVENTS.format(
        claimed=claim.claimed,
        events=claim.events,
        is_claimed=claim.is_claimed,
        columns=normalized_columns(kind, kind.columns, customer="c.customer_id"),
        entity=identifiers(kind.entity),
        same_entity=equal(kind.entity, "v", "t"),
    )


def merge_children_of_new(
    chunk: Chunk, kind: EventKind, guids: WorkTable, *, apart: Sequence[str]
) -> bool:
    """Merge events of one kind into what new customers have, but for the ids in `apart`.

    Says whether a replay is needed. Effects and errors: those of merge_children_of_known.
    """
    claim = claim_of_new(chunk, kind, guids, apart=True)
    values = chunk.values | {"apart": list(apart)}
    merged = insert_children(claim, values) or fetch_one(merge_statement(claim), values)
    return is_doubtful(claim, chunk.due, merged, values)


def insert_children(claim: Claim, values: Mapping[str, object]) -> Row | None:
    """Insert without looking, which costs a fifth less; None if a row is there already."""
    if claim.kind is AFFILIATION:
        return None
    with suppress(IntegrityError), transaction.atomic():
        return fetch_one(merge_statement(claim, is_new=True), values)
    return None


def merge_children_of_known(
    chunk: Chunk, kind: EventKind, events: WorkTable, history: WorkTable
) -> bool:
    """Merge claimed events of one kind into the table of the kind. Says whether a replay is needed.

    Effects: the kind's table, and what is settled of its events, in the caller's transaction. An
    event older than what is there becomes superseded; one that names another customer's row fails.
    """
    claim = claim_of_known(kind, events)
    merged = fetch_one(merge_statement(claim, history=history), chunk.values)
    return is_doubtful(claim, chunk.due, merged, chunk.values)


def is_doubtful(claim: Claim, due: WorkTable, merged: Row, values: Mapping[str, object]) -> bool:
    """Whether several events were about one entity, or one changed nothing, which is settled."""
    events, entities, written = merged
    if written < entities:
        fetch(unapplied_statement(claim, due), values)
    return bool(events > entities or written < entities)


def merge_statement(
    claim: Claim, *, history: WorkTable | None = None, is_new: bool = False
) -> sql.Composed:
    """The statement for one kind; with `is_new` it is refused if a row is there already.

    `history` is what was applied of the customers, where HQ knew them before.
    """
    kind = claim.kind
    names = {
        "newest_events": newest_events(claim),
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
        is_known=sql.Literal(history is not None),
        within=sql.Identifier(str(kind.primary)),
        primary_is_free=primary_is_free(kind, history) if history else sql.SQL("true"),
        **names,
    )


def primary_is_free(kind: EventKind, history: WorkTable) -> sql.Composed:
    return PRIMARY_IS_FREE.format(
        table=sql.Identifier(kind.table),
        key=sql.Identifier(kind.key[0]),
        history=history,
        **primary_names(kind),
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
        claimed=events,
        key=sql.Identifier(kind.key[0]),
        # What is claimed does not say whose it is.
        **primary_names(kind, customer="c.customer_id"),
    )


def unapplied_statement(claim: Claim, due: WorkTable) -> sql.Composed:
    """Settle the claimed events that changed nothing: too late, or not theirs. See its file."""
    kind = claim.kind
    return SETTLE_UNAPPLIED.format(
        claimed=claim.claimed,
        events=claim.events,
        is_claimed=claim.is_claimed,
        table=sql.Identifier(kind.table),
        name=sql.Literal(kind.event),
        field=sql.Literal(kind.key[0]),
        key=sql.Identifier(kind.key[0]),
        is_customers_own=sql.Literal(kind not in KINDS_WITH_ID),
        open_failing=open_failing(kind, due),
    )
