"""The five kinds of events as the steps need them: tables, columns, keys."""

from dataclasses import dataclass
from typing import Protocol

from django.db import models

from stores.models.customer import AddressColumns, ContactColumns, CustomerColumns

# What every event carries, in the order in which it travels.
EVENT_COLUMNS = (
    "event_id",
    "replication_counter",
    "occurred_at",
    "operation",
    "async_account",
    "account_number",
    "staff_id",
    "terminal_id",
    "created_offline",
)
EVENT_COLUMN_TYPES = {
    "event_id": "uuid",
    "replication_counter": "bigint",
    "occurred_at": "timestamptz",
    "async_account": "uuid",
    "created_offline": "boolean",
    "birth_date": "date",
    "address_id": "uuid",
    "contact_id": "uuid",
    "is_primary": "boolean",
    "marketing_opt_in": "boolean",
}
# The SQL function that brings a text into shape, where it is another than `tidy`: what is compared
# and looked up holds no invisible letters.
NORMALIZERS = {
    "email": "tidy_email",
    "receipt_email": "tidy_email",
    "phone": "tidy_phone",
} | dict.fromkeys(
    (
        *("operation", "account_number", "staff_id", "terminal_id", "customer_type", "language"),
        *("currency", "customer_group", "vat_number", "purpose", "street_number", "county"),
        *("state", "postal_code", "country", "kind", "affiliation", "attribute"),
        *("transaction_id", "transaction_type", "entry_status", "confirmation_number"),
        *("store_number", "delivery_mode", "receipt_number", "item_id", "unit", "tender_type"),
    ),
    "tidy_key",
)


def normalized(column: str, of: str = "") -> str:
    """SQL for the text of a column in the documented normalisation; `of` is its table."""
    prefix = f"{of}." if of else ""
    if column == "locator":
        return (
            f"CASE tidy_key({prefix}kind) WHEN 'email' THEN tidy_email({prefix}locator)"
            f" WHEN 'phone' THEN tidy_phone({prefix}locator) ELSE tidy_key({prefix}locator) END"
        )
    return f"{NORMALIZERS.get(column, 'tidy')}({prefix}{column})"


def model_columns(model: type[models.Model]) -> tuple[str, ...]:
    return tuple(str(field.column) for field in model._meta.local_fields)


@dataclass(frozen=True)
class EventKind:
    """One kind of event: `event` table in channel and staging, `table` of HQ's rows.

    `key` names one entity among those of its customer; `primary` is the column within which only
    one row of a customer may be primary.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    conflict: tuple[str, ...]
    primary: str | None = None

    @property
    def event(self) -> str:
        return f"async_{self.name}"

    @property
    def table(self) -> str:
        return "customer" if self.name == "customer" else f"customer_{self.name}"

    @property
    def owner(self) -> str:
        """The column by which a row belongs to its customer."""
        return "id" if self.name == "customer" else "customer_id"

    @property
    def entity(self) -> tuple[str, ...]:
        """What names one entity in events: the customer, and which of its rows."""
        return ("customer_id", *self.key)

    @property
    def sent_columns(self) -> tuple[str, ...]:
        """All columns that travel from the channel, in order."""
        return EVENT_COLUMNS + self.columns

    def type_of(self, column: str) -> str:
        """PostgreSQL's type of a column while it travels; texts have no limit yet."""
        return EVENT_COLUMN_TYPES.get(column, "text")


CUSTOMER = EventKind("customer", model_columns(CustomerColumns), (), ("id",))
ADDRESS = EventKind(
    "address",
    ("address_id", *model_columns(AddressColumns)),
    ("address_id",),
    ("address_id",),
    primary="purpose",
)
CONTACT = EventKind(
    "contact",
    ("contact_id", *model_columns(ContactColumns)),
    ("contact_id",),
    ("contact_id",),
    primary="kind",
)
AFFILIATION = EventKind(
    "affiliation", ("affiliation",), ("affiliation",), ("customer_id", "affiliation")
)
ATTRIBUTE = EventKind(
    "attribute", ("attribute", "value"), ("attribute",), ("customer_id", "attribute")
)

CHILDREN = (ADDRESS, CONTACT, AFFILIATION, ATTRIBUTE)
# Parents first: a child is never staged before a customer that was written before it.
EVENT_KINDS = (CUSTOMER, *CHILDREN)


class StagedTable(Protocol):
    """What a channel sends to one event table: a kind of event, or the header of documents."""

    @property
    def event(self) -> str:
        """The table."""

    @property
    def sent_columns(self) -> tuple[str, ...]:
        """Its columns, in the order in which they travel."""

    def type_of(self, column: str) -> str:
        """PostgreSQL's type of a column while it travels."""


# What a new customer inherits; an edit that leaves it out keeps it.
INHERITED_COLUMNS = ("customer_type", "language", "currency", "customer_group")
