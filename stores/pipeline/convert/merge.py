"""Merge events into HQ's rows, for many customers at once.

An entity is what events are about: a customer, or one of the customer's addresses, contacts,
affiliations or attributes. A claim says which events of a chunk belong to which customers. Merging
writes what the newest claimed event of each entity says, unless the row shows a later event.

The order of events (reliability 3.4): a database's own events are in the order in which it wrote
them. Between databases the time decides, which is the till's or, if it is earlier, that of the
arrival at HQ, so that a clock in the future does not win for ever. Of the same time, the code of
the channel and the name of the register decide. HQ's own events are those of a database 0, which
comes first.
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
from stores.pipeline.convert.open_events import opened_events
from stores.pipeline.events.kinds import ADDRESS, AFFILIATION, CONTACT, EventKind, normalized

NEWEST_EVENTS = load(__file__, "_newest_events")
ON_CONFLICT_REPLACE = load(__file__, "_on_conflict_replace")
MERGE_ADDRESSES = load(__file__, "merge_addresses")
MERGE_ATTRIBUTES = load(__file__, "merge_attributes")
DEMOTE_PRIMARIES = load(__file__, "demote_primaries")
SETTLE_UNAPPLIED = load(__file__, "settle_unapplied")

# That `event` belongs to the new customer of `claimed`. A channel knows the GUIDs of new customers
# only if it created them.
IS_OF_NEW = sql.SQL(
    """event.async_account = claimed.async_account AND event.account_number IS NULL
       AND coalesce(event.database_id, event.for_database_id) = ANY(claimed.databases)"""
)
# The events of known customers are claimed one by one.
IS_CLAIMED_EVENT = sql.SQL("event.event_id = claimed.event_id")
# Who gets an id that several customers name is decided over all events of a chunk.
IS_NOT_CONTESTED = sql.SQL(" AND event.{id} <> ALL(%(contested)s::uuid[])")
# Kinds whose entities have an id, and of which one may be primary. The others have a name.
KINDS_WITH_ID = (ADDRESS, CONTACT)

# Columns that HQ does not keep as they are or merely normalized.
NORMALIZED_COLUMNS = {
    ("address", "purpose"): f"""coalesce(nullif({normalized("purpose", "event")}, ''),
            CASE (SELECT customer_type FROM customer WHERE id = {{customer}})
            WHEN 'organization' THEN 'business' ELSE 'home' END)""",  # noqa: S608 - our own names
    ("address", "country"): f"""coalesce(nullif({normalized("country", "event")}, ''),
            (SELECT nullif(channel.country, '')
               FROM channel JOIN channel_database home ON home.channel_id = channel.id
              WHERE home.id = coalesce(event.database_id, event.for_database_id)))""",  # noqa: S608
    ("contact", "marketing_opt_in"): "coalesce(event.marketing_opt_in, false)",
}


def normalized_column(
    kind: EventKind, column: str, *, customer: str = "event.customer_id"
) -> sql.Composable:
    """Return a column of `event` as HQ keeps it; `customer` is the customer of the event."""
    if special := NORMALIZED_COLUMNS.get((kind.noun, column)):
        return sql.SQL(special).format(customer=sql.SQL(customer))
    if kind.type_of(column) == "text":
        return sql.SQL(normalized(column, "event"))
    return sql.Identifier("event", column)


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
    """Events of one kind in a chunk, with the customers that they belong to.

    `claimed` is the work table of customers, or of events with their customers. `events` is the
    table or query of the events. `is_claimed` is the condition that `event` belongs to the customer
    of `claimed`, and names none of the `contested` ids.
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

    @property
    def parts(self) -> dict[str, sql.Composable]:
        """The holes of all statements about the claim."""
        return {
            "claimed": self.claimed,
            "events": self.events,
            "is_claimed": self.is_claimed,
            **self.kind.names,
        }


def claim_of_new(
    chunk: Chunk, kind: EventKind, guids: WorkTable, *, contested: Sequence[str] = ()
) -> Claim:
    """Claim the events of a chunk that belong to its new customers, without contested ids."""
    is_claimed: sql.Composable = IS_OF_NEW
    if kind in KINDS_WITH_ID:
        is_claimed = IS_OF_NEW + IS_NOT_CONTESTED.format(id=sql.Identifier(kind.key[0]))
    events = sql.SQL("({})").format(chunk.events(kind))
    return Claim(chunk, kind, guids, events, is_claimed, contested)


def claim_of_known(chunk: Chunk, kind: EventKind, events: WorkTable) -> Claim:
    """Claim the events in a work table, which names the customer of each."""
    return Claim(chunk, kind, events, sql.Identifier(kind.event), IS_CLAIMED_EVENT)


def newest_events(claim: Claim) -> sql.Composed:
    """Return the CTEs with which the statements begin that merge events."""
    kind = claim.kind
    return NEWEST_EVENTS.format(
        columns=normalized_columns(kind, kind.columns, customer="claimed.customer_id"),
        entity=identifiers(kind.entity),
        same_entity=equal(kind.entity, "several", "event"),
        **claim.parts,
    )


def merge_children_of_new(claim: Claim) -> bool:
    """Merge addresses, contacts and so on of new customers.

    Returns whether a replay is needed. Effects: those of merge_children_of_known().
    """
    merged = insert_children(claim) or fetch_one(merge_statement(claim), claim.values)
    return settle_unapplied(claim, *merged)


def insert_children(claim: Claim) -> Row | None:
    """Insert rows without ON CONFLICT, which costs a fifth less. Returns None if one exists."""
    # New customers have inherited affiliations.
    if claim.kind is AFFILIATION:
        return None
    with suppress(IntegrityError), transaction.atomic():
        return fetch_one(merge_statement(claim, may_replace=False), claim.values)
    return None


def merge_children_of_known(claim: Claim, history: WorkTable) -> bool:
    """Merge addresses, contacts and so on of customers that HQ knew before.

    Returns whether a replay is needed. Effects: HQ's table of the kind; events that come too late
    are superseded, and those that name another customer's row fail; in the caller's transaction.
    """
    return settle_unapplied(claim, *fetch_one(merge_statement(claim, history), claim.values))


def settle_unapplied(claim: Claim, events: int, entities: int, written: int) -> bool:
    """Settle the events that changed nothing, if there are any.

    Returns whether a replay is needed: there were such events, or several of one entity.
    """
    if written < entities:
        fetch(unapplied_statement(claim), claim.values)
    return written < entities or events > entities


def unapplied_statement(claim: Claim) -> sql.Composed:
    return SETTLE_UNAPPLIED.format(
        field=sql.Literal(claim.kind.key[0]),
        is_customers_own=sql.Literal(claim.kind not in KINDS_WITH_ID),
        opened_events=opened_events(claim.kind, claim.chunk.due),
        **claim.parts,
    )


def merge_statement(
    claim: Claim, history: WorkTable | None = None, *, may_replace: bool = True
) -> sql.Composed:
    """Return the statement that merges one kind. Unless it `may_replace`, it only inserts.

    `history` are the events that were applied to the customers, if HQ knew these before.
    """
    kind = claim.kind
    names = {
        **kind.names,
        "newest_events": newest_events(claim),
        "on_conflict": on_conflict_replace(kind) if may_replace else sql.SQL(""),
    }
    if kind not in KINDS_WITH_ID:
        return MERGE_ATTRIBUTES.format(columns=identifiers(kind.columns), **names)
    others = [column for column in kind.columns if column not in (*kind.key, "is_primary")]
    return MERGE_ADDRESSES.format(
        columns=identifiers(others),
        is_known=sql.Literal(history is not None),
        # It is not read for new customers.
        history=history or sql.Identifier(kind.view),
        **within_names(kind),
        **names,
    )


def on_conflict_replace(kind: EventKind) -> sql.Composed:
    changed = [column for column in (*kind.columns, "is_active") if column not in kind.key]
    return ON_CONFLICT_REPLACE.format(
        conflict=identifiers(kind.conflict), changed=assignments(changed, of="excluded")
    )


def within_names(
    kind: EventKind, *, customer: str = "event.customer_id"
) -> dict[str, sql.Composable]:
    """Return the column within which one row may be primary, and its value in `event`."""
    within = str(kind.primary)
    return {
        "within": sql.Identifier(within),
        "within_of_event": normalized_column(kind, within, customer=customer),
    }


def demote_primaries(claim: Claim) -> None:
    """Make rows no longer primary where claimed events are about to make other rows primary."""
    if claim.kind in KINDS_WITH_ID:
        run_sql(demote_statement(claim))


def demote_statement(claim: Claim) -> sql.Composed:
    # The staging table does not say whose an event is.
    within = within_names(claim.kind, customer="claimed.customer_id")
    return DEMOTE_PRIMARIES.format(claimed=claim.claimed, **within, **claim.kind.names)


def same_entity(kind: EventKind) -> sql.Composed:
    """Return the condition that `row` is HQ's row of `entity`."""
    owner = sql.SQL("row.{} = entity.customer_id").format(sql.Identifier(kind.owner))
    keys = (equal([column], "row", "entity") for column in kind.key)
    return sql.SQL(" AND ").join([owner, *keys])


def entity_of_event(kind: EventKind) -> sql.Composed:
    """Return what identifies the entity that `event` is about: its customer and its key."""
    keys = (normalized_column(kind, column) for column in kind.key)
    return listed([sql.Identifier("event", "customer_id"), *keys])
