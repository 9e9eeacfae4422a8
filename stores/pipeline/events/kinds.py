"""The five kinds of events as the steps need them: tables, columns, keys."""

from dataclasses import dataclass
from functools import cache

from psycopg2 import sql

from stores.channeldb.models import Event
from stores.channeldb.schema.tables import EVENT_TABLES, PART_TABLES, TABLE_BY_NAME
from stores.hqdb.sql import Name

# PostgreSQL's types of what travels, by the kinds of a channel's columns; texts have no limit yet.
MONEY_TYPE = "numeric"
SENT_TYPES = {"counter": "bigint", "time": "timestamptz", "money": MONEY_TYPE}
TYPE_OF_COLUMN = {
    column.name: SENT_TYPES.get(column.kind, column.kind)
    for table in (*EVENT_TABLES, *PART_TABLES)
    for column in table.columns
}
# The SQL function that normalizes a text, where it is another than `normalize_text`: what is
# compared and looked up holds no invisible letters.
NORMALIZERS = {
    "email": "normalize_email",
    "receipt_email": "normalize_email",
    "phone": "normalize_phone",
} | dict.fromkeys(
    (
        *("operation", "account_number", "staff_id", "terminal_id", "customer_type", "language"),
        *("currency", "customer_group", "vat_number", "purpose", "street_number", "county"),
        *("state", "postal_code", "country", "kind", "affiliation", "attribute"),
        *("transaction_id", "transaction_type", "entry_status", "confirmation_number"),
        *("store_number", "delivery_mode", "receipt_number", "item_id", "unit", "tender_type"),
    ),
    "normalize_key",
)


def normalized(column: str, of: str = "") -> str:
    """SQL for the text of a column in the documented normalisation; `of` is its table."""
    prefix = f"{of}." if of else ""
    if column == "locator":
        return (
            f"CASE normalize_key({prefix}kind) WHEN 'email' THEN normalize_email({prefix}locator)"
            f" WHEN 'phone' THEN normalize_phone({prefix}locator)"
            f" ELSE normalize_key({prefix}locator) END"
        )
    return f"{NORMALIZERS.get(column, 'normalize_text')}({prefix}{column})"


@cache
def sent_columns(table: str) -> tuple[str, ...]:
    """The columns of a channel's table that travel to HQ, in order."""
    return tuple(name for name in TABLE_BY_NAME[table].column_names if name != "acknowledged_at")


# What every event carries.
EVENT_COLUMNS = sent_columns("async_customer")[: len(Event._meta.local_fields) - 1]


@dataclass(frozen=True)
class StagedTable:
    """A table that channels send, such as that of a kind of event; `event` is its name there."""

    event: str

    @property
    def sent_columns(self) -> tuple[str, ...]:
        """All columns that travel from the channel, in order."""
        return sent_columns(self.event)

    @property
    def types(self) -> tuple[str, ...]:
        """PostgreSQL's types of the columns while they travel; texts have no limit yet."""
        return tuple(map(self.type_of, self.sent_columns))

    def type_of(self, column: str) -> str:
        return TYPE_OF_COLUMN.get(column, "text")

    @property
    def names(self) -> dict[str, Name]:
        """What the table is called in statements: {event} and, as a text, {name}."""
        return {"event": sql.Identifier(self.event), "name": sql.Literal(self.event)}


@dataclass(frozen=True)
class EventKind(StagedTable):
    """One kind of event: `event` table in channel and staging, `table` of HQ's rows.

    `key` names one entity among those of its customer; `primary` is the column within which only
    one row of a customer may be primary.
    """

    key: tuple[str, ...]
    conflict: tuple[str, ...]
    primary: str | None = None

    @property
    def name(self) -> str:
        return self.event.removeprefix("async_")

    @property
    def view(self) -> str:
        """The events with their state."""
        return f"staged_{self.name}"

    @property
    def table(self) -> str:
        return "customer" if self.name == "customer" else f"customer_{self.name}"

    @property
    def owner(self) -> str:
        """The column by which a row belongs to its customer."""
        return "id" if self.name == "customer" else "customer_id"

    @property
    def names(self) -> dict[str, Name]:
        """The holes of statements about the kind, which mean the same in every file.

        {event}: the staging table; {name}: the same as a text; {view}: the events with their state;
        {table}: HQ's rows; {owner}: their customer; {key}: which of the customer's a row is.
        """
        names = super().names | {
            "view": sql.Identifier(self.view),
            "table": sql.Identifier(self.table),
            "owner": sql.Identifier(self.owner),
        }
        return names | {"key": sql.Identifier(self.key[0])} if self.key else names

    @property
    def entity(self) -> tuple[str, ...]:
        """What names one entity in events: the customer, and which of its rows."""
        return ("customer_id", *self.key)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that this kind has beside what every event carries."""
        return self.sent_columns[len(EVENT_COLUMNS) :]


CUSTOMER = EventKind("async_customer", (), ("id",))
ADDRESS = EventKind("async_address", ("address_id",), ("address_id",), primary="purpose")
CONTACT = EventKind("async_contact", ("contact_id",), ("contact_id",), primary="kind")
AFFILIATION = EventKind("async_affiliation", ("affiliation",), ("customer_id", "affiliation"))
ATTRIBUTE = EventKind("async_attribute", ("attribute",), ("customer_id", "attribute"))

CHILDREN = (ADDRESS, CONTACT, AFFILIATION, ATTRIBUTE)
# Parents first: a child is never staged before a customer that was written before it.
EVENT_KINDS = (CUSTOMER, *CHILDREN)
# What a new customer inherits; an edit that leaves it out keeps it.
INHERITED_COLUMNS = ("customer_type", "language", "currency", "customer_group")
