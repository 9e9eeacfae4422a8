"""The five kinds of events that channels send, and the tables that each of them travels through.

An event is a row in which a till says what became of a customer, or of one of the customer's
addresses, contacts, affiliations or attributes. The tables of a kind have the same columns in the
channel and in HQ's staging; the rows of HQ that its events create and change are in a third table.
"""

from dataclasses import dataclass
from functools import cache

from psycopg2 import sql

from stores.channeldb.models import EventOfCustomer
from stores.channeldb.schema.tables import EVENT_TABLES, PART_TABLES, TABLE_BY_NAME
from stores.hqdb.sql import Name
from stores.values.characters import PROSE_COLUMNS

# PostgreSQL's types of incoming columns, by the kinds of a channel's columns. Texts have no limit
# before the rules have been checked.
MONEY_TYPE = "numeric"
SENT_TYPES = {"counter": "bigint", "time": "timestamptz", "money": MONEY_TYPE}
TYPE_OF_COLUMN = {
    column.name: SENT_TYPES.get(column.kind, column.kind)
    for table in (*EVENT_TABLES, *PART_TABLES)
    for column in table.columns
}


def normalized(column: str, of: str = "") -> str:
    """Return SQL for the normalized text of a column; `of` is its table in the statement."""
    value = f"{of}.{column}" if of else column
    if column == "locator":
        kind = f"{of}.kind" if of else "kind"
        return (
            f"CASE normalize_key({kind}) WHEN 'email' THEN normalize_email({value})"
            f" WHEN 'phone' THEN normalize_phone({value}) ELSE normalize_key({value}) END"
        )
    if column in ("email", "receipt_email"):
        return f"normalize_email({value})"
    if column == "phone":
        return f"normalize_phone({value})"
    return f"normalize_text({value})" if column in PROSE_COLUMNS else f"normalize_key({value})"


@cache
def sent_columns(table: str) -> tuple[str, ...]:
    """Return the columns of a channel's table that travel to HQ, in their order."""
    return tuple(name for name in TABLE_BY_NAME[table].column_names if name != "acknowledged_at")


# The columns that every event of a customer has.
EVENT_COLUMNS = tuple(
    str(field.column)
    for field in EventOfCustomer._meta.concrete_fields
    if field.column != "acknowledged_at"
)


@dataclass(frozen=True)
class StagedTable:
    """A table whose rows channels send. `event` is its name in the channel and in HQ's staging."""

    event: str

    @property
    def sent_columns(self) -> tuple[str, ...]:
        return sent_columns(self.event)

    @property
    def types(self) -> tuple[str, ...]:
        """PostgreSQL's types of the columns while they travel."""
        return tuple(self.type_of(column) for column in self.sent_columns)

    def type_of(self, column: str) -> str:
        return TYPE_OF_COLUMN[column]

    @property
    def names(self) -> dict[str, Name]:
        """What the table is called in statements: {event} and, as a text, {name}."""
        return {"event": sql.Identifier(self.event), "name": sql.Literal(self.event)}


@dataclass(frozen=True, kw_only=True)
class EventKind(StagedTable):
    """One of the five kinds of events. An entity is what an event is about, such as an address.

    `key` are the columns that tell apart the entities of one customer. `conflict` is the unique key
    of HQ's table, for ON CONFLICT. Of the rows that a customer has with the same value in the
    column `primary`, only one may be primary.
    """

    key: tuple[str, ...]
    conflict: tuple[str, ...]
    primary: str | None = None

    @property
    def noun(self) -> str:
        """What its events are about, in one word, such as "address"."""
        return self.event.removeprefix("async_")

    @property
    def view(self) -> str:
        """HQ's view of the staged events with their state."""
        return f"staged_{self.noun}"

    @property
    def table(self) -> str:
        """HQ's table of the rows that the events create and change."""
        return "customer" if self.noun == "customer" else f"customer_{self.noun}"

    @property
    def owner(self) -> str:
        """The column of that table with the id of the customer."""
        return "id" if self.noun == "customer" else "customer_id"

    @property
    def names(self) -> dict[str, Name]:
        """The holes of statements about a kind, with the same meaning in every file.

        {event}: the staging table; {name}: its name as a text; {view}, {table}, {owner}: as above;
        {key}: the column that tells apart the rows of one customer.
        """
        names = super().names | {
            "view": sql.Identifier(self.view),
            "table": sql.Identifier(self.table),
            "owner": sql.Identifier(self.owner),
        }
        return names | {"key": sql.Identifier(self.key[0])} if self.key else names

    @property
    def entity(self) -> tuple[str, ...]:
        """The columns that identify an entity: its customer and its key."""
        return ("customer_id", *self.key)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that other kinds do not have."""
        return tuple(column for column in self.sent_columns if column not in EVENT_COLUMNS)


CUSTOMER = EventKind(event="async_customer", key=(), conflict=("id",))
ADDRESS = EventKind(
    event="async_address", key=("address_id",), conflict=("address_id",), primary="purpose"
)
CONTACT = EventKind(
    event="async_contact", key=("contact_id",), conflict=("contact_id",), primary="kind"
)
AFFILIATION = EventKind(
    event="async_affiliation", key=("affiliation",), conflict=("customer_id", "affiliation")
)
ATTRIBUTE = EventKind(
    event="async_attribute", key=("attribute",), conflict=("customer_id", "attribute")
)

CHILDREN = (ADDRESS, CONTACT, AFFILIATION, ATTRIBUTE)
# Customers first: nothing of a customer is staged before the customer.
EVENT_KINDS = (CUSTOMER, *CHILDREN)
# What a new customer inherits from the default customer of its channel. An edit without a value
# for one of these does not clear it.
INHERITED_COLUMNS = ("customer_type", "language", "currency", "customer_group")
