"""Events -> rows: merge what tills did to one entity into its present state, for many at once.

A work table says which events of a chunk belong to which customer: of new customers by GUID, of
known ones event by event. Nothing is written on the events: those of a chunk count as applied but
for the few that are settled otherwise.

Order of events (reliability 3.4): within a channel database as it wrote them; between databases by
the earlier of the till's time and HQ's, so that a clock in the future does not win for ever, and at
one moment by channel code and register. Events made in HQ are those of one more database, whose id
is 0; at one moment they come first.
"""

from collections.abc import Sequence
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

# How `event` belongs to customer `claimed`: those of new customers by GUID, those of known ones one
# by one. A new GUID is known to the channel that made it and to nobody else.
BY_GUID = sql.SQL(
    """event.async_account = claimed.async_account AND event.account_number IS NULL
       AND coalesce(event.database_id, event.for_database_id) = ANY(claimed.databases)"""
)
BY_EVENT = sql.SQL("event.event_id = claimed.event_id")
# Ids that several customers name are decided over all events of the chunk, in claimed_events().
NOT_CONTESTED = sql.SQL(" AND event.{id} <> ALL(%(contested)s::uuid[])")
# Kinds whose rows have an id of their own, one of them primary; the others have a name.
KINDS_WITH_ID = (ADDRESS, CONTACT)

# What a column becomes on its way, where its text is not only normalized.
NORMALIZED_COLUMNS = {
    ("address", "purpose"): f"""coalesce(nullif({normalized_text("purpose", "{event}")}, ''),
            CASE (SELECT customer_type FROM customer WHERE id = {{customer}})
            WHEN 'organization' THEN 'business' ELSE 'home' END)""",  # noqa: S608 - our own names
    ("address", "country"): f"""coalesce(nullif({normalized_text("country", "{event}")}, ''),
            (SELECT nullif(channel.country, '')
               FROM channel JOIN channel_database home ON home.channel_id = channel.id
              WHERE home.id = coalesce({{event}}.database_id, {{event}}.for_database_id)))""",  # noqa: S608
    ("contact", "marketing_opt_in"): "coalesce({event}.marketing_opt_in, false)",
}


def normalized_column(
    kind: EventKind, column: str, *, event: str = "event", customer: str = "event.customer_id"
) -> sql.Composable:
    """A column of an event as HQ keeps it; `customer` is whose event it is."""
    if special := NORMALIZED_COLUMNS.get((kind.noun, column)):
        return sql.SQL(special).format(event=sql.SQL(event), customer=sql.SQL(customer))
    if kind.type_of(column) == "text":
        return sql.SQL(normalized_text(column, event))
    return sql.Identifier(event, column)


def normalized_columns(
    kind: EventKind, columns: Sequence[str], *, customer: str = "event.customer_id"
) -> sql.Composed:
    return listed(
        sql.SQL("{} AS {}").format(
            normalized_column(kind, column, customer=customer), sql.Identifier(column)
        )
        for column in columns
    )


@dataclass(frozen=True)
class Claim:
    """Events of one kind in a chunk, and the customers that they belong to.

    `claimed` are the customers, `events` a table or query of the events, and `is_claimed` the
    condition that `event` belongs to customer `claimed`, without the `contested` ids.
    """

    chunk: Chunk
    kind: EventKind
    claimed: WorkTable
    events: sql.Composable
    is_claimed: sql.Composable
    contested: Sequence[str] = ()

    @property
    def values(self) -> dict[str, object]:
        """The parameters of `events` and `is_claimed`."""
        return self.chunk.values | {"contested": list(self.contested)}


def claim_of_new(
    chunk: Chunk, kind: EventKind, guids: WorkTable, *, contested: Sequence[str] = ()
) -> Claim:
    """The events of a chunk that belong to new customers, but for contested ids."""
    is_claimed: sql.Composable = BY_GUID
    if kind in KINDS_WITH_ID:
        is_claimed = BY_GUID + NOT_CONTESTED.format(id=sql.Identifier(kind.key[0]))
    events = sql.SQL("({})").format(chunk.events(kind))
    return Claim(chunk, kind, guids, events, is_claimed, contested)


def claim_of_known(chunk: Chunk, kind: EventKind, events: WorkTable) -> Claim:
    """Events that were claimed one by one."""
    return Claim(chunk, kind, events, sql.Identifier(kind.event), BY_EVENT)


def newest_events(claim: Claim) -> sql.Composed:
    """The beginning of each statement that merges claimed events; see its file."""
    kind = claim.kind
    return NEWEST_EVENTS.format(
        claimed=claim.claimed,
        events=claim.events,
        is_claimed=claim.is_claimed,
        columns=normalized_columns(kind, kind.columns, customer="claimed.customer_id"),
        entity=identifiers(kind.entity),
        same_entity=equal(kind.entity, "several", "event"),
    )


def merge_children_of_new(claim: Claim) -> bool:
    """Merge claimed events of one kind into what new customers have.

    Says whether a replay is needed. Effects and errors: those of merge_children_of_known.
    """
    merged = insert_children(claim) or fetch_one(merge_statement(claim), claim.values)
    return settle_unapplied(claim, *merged)


def insert_children(claim: Claim) -> Row | None:
    """Insert without looking, which costs a fifth less; None if a row is there already."""
    # New customers have inherited affiliations.
    if claim.kind is AFFILIATION:
        return None
    with suppress(IntegrityError), transaction.atomic():
        return fetch_one(merge_statement(claim, may_replace=False), claim.values)
    return None


def merge_children_of_known(claim: Claim, history: WorkTable) -> bool:
    """Merge claimed events of one kind into the table of the kind. Says whether a replay is needed.

    Effects: the kind's table, and what is settled of its events, in the caller's transaction. An
    event older than what is there becomes superseded; one that names another customer's row fails.
    """
    return settle_unapplied(claim, *fetch_one(merge_statement(claim, history), claim.values))


def settle_unapplied(claim: Claim, events: int, entities: int, written: int) -> bool:
    """Settle the events that changed nothing: too late, or not theirs.

    Says whether a replay is needed: there were any, or an entity had several events.
    """
    if written < entities:
        fetch(unapplied_statement(claim), claim.values)
    return written < entities or events > entities


def unapplied_statement(claim: Claim) -> sql.Composed:
    kind = claim.kind
    return SETTLE_UNAPPLIED.format(
        claimed=claim.claimed,
        events=claim.events,
        is_claimed=claim.is_claimed,
        field=sql.Literal(kind.key[0]),
        is_customers_own=sql.Literal(kind not in KINDS_WITH_ID),
        open_failing=open_failing(kind, claim.chunk.due),
        **kind.names,
    )


def merge_statement(
    claim: Claim, history: WorkTable | None = None, *, may_replace: bool = True
) -> sql.Composed:
    """The statement for one kind; unless it `may_replace`, it is refused if a row is there.

    `history` is what was applied of the customers, where HQ knew them before.
    """
    kind = claim.kind
    names = {
        "newest_events": newest_events(claim),
        **kind.names,
        "or_replace": or_replace(kind) if may_replace else sql.SQL(""),
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
    return PRIMARY_IS_FREE.format(history=history, **primary_names(kind))


def or_replace(kind: EventKind) -> sql.Composed:
    changed = [column for column in (*kind.columns, "is_active") if column not in kind.key]
    return OR_REPLACE.format(
        conflict=identifiers(kind.conflict), changed=assignments(changed, of="excluded")
    )


def primary_names(
    kind: EventKind, *, customer: str = "event.customer_id"
) -> dict[str, sql.Composable]:
    """The names of the kind, and within what only one row of a customer may be primary."""
    within = str(kind.primary)
    return {
        **kind.names,
        "within": sql.Identifier(within),
        "within_of_event": normalized_column(kind, within, customer=customer),
    }


def demote_primaries(claim: Claim) -> None:
    """Make room for the primaries that claimed events are about to set."""
    if claim.kind in KINDS_WITH_ID:
        run_sql(demote_statement(claim))


def demote_statement(claim: Claim) -> sql.Composed:
    return DEMOTE_PRIMARIES.format(
        claimed=claim.claimed,
        # The staging table does not say whose an event is.
        **primary_names(claim.kind, customer="claimed.customer_id"),
    )


def same_entity(kind: EventKind) -> sql.Composed:
    """That `row` of the kind's table is the one of `entity`, by customer and key."""
    owner = sql.SQL("row.{} = entity.customer_id").format(sql.Identifier(kind.owner))
    keys = (equal([column], "row", "entity") for column in kind.key)
    return sql.SQL(" AND ").join([owner, *keys])


def entity_of_event(kind: EventKind) -> sql.Composed:
    """What names the entity that `event` is about: its customer, and which of its rows."""
    keys = (normalized_column(kind, column) for column in kind.key)
    return listed([sql.Identifier("event", "customer_id"), *keys])
