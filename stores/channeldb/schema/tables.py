"""The tables of a channel database, told once, as plain data.

`ddl.statements(vendor)` makes SQL of it and the models must agree with it. Upload and validation
take from here which tables hold events (`EVENT_TABLES`, `KINDS`) and what HQ accepts in each
column (`LIMITS`, `WORDS`). The channel itself takes any text: what HQ cannot use is quarantined.

Migration 0001 runs what `ddl` makes of this, and a test holds a digest of it: to change the schema
once it has landed, first keep a copy of what 0001 made beside it.

Source: contract 3.1 and 3.2.
"""

from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal[
    "uuid", "counter", "text", "time", "date", "boolean", "money", "integer", "bigint", "json"
]


@dataclass(frozen=True)
class Column:
    """One column. `limit` and `words` are what HQ accepts; the channel itself takes any text."""

    name: str
    kind: Kind = "text"
    limit: int | None = None
    words: tuple[str, ...] = ()
    required: bool = False
    default: str = ""


@dataclass(frozen=True)
class Table:
    """One table. `guard` says which triggers protect it: none for the tables that HQ writes."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    unique: tuple[str, ...] = ()
    guard: Literal["", "event", "part"] = ""

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns in the order of the table."""
        return tuple(column.name for column in self.columns)


def text(name: str, limit: int | None = None, *, required: bool = False) -> Column:
    """A text column with HQ's limit in characters."""
    return Column(name, limit=limit, required=required)


def word(name: str, *words: str) -> Column:
    """A text column in which HQ accepts only these words."""
    return Column(name, words=words)


def money(*names: str) -> tuple[Column, ...]:
    """Amounts and quantities, all exact to four places."""
    return tuple(Column(name, "money") for name in names)


EVENT = (
    Column("event_id", "uuid", required=True),
    Column("replication_counter", "counter"),
    Column("occurred_at", "time", required=True),
    word("operation", "create", "update", "deactivate"),
    Column("async_account", "uuid"),
    text("account_number", 20),
    text("staff_id", 25),
    text("terminal_id", 10),
    Column("created_offline", "boolean", default="no"),
    Column("acknowledged_at", "time"),
)
CUSTOMER = (
    word("customer_type", "person", "organization"),
    text("first_name", 60),
    text("middle_name", 60),
    text("last_name", 60),
    text("name", 300),
    text("title", 20),
    text("language", 7),
    text("currency", 3),
    text("customer_group", 20),
    text("email", 255),
    text("phone", 60),
    text("receipt_email", 255),
    text("vat_number", 30),
    Column("birth_date", "date"),
)
ADDRESS = (
    Column("address_id", "uuid", required=True),
    word("purpose", "home", "business", "delivery", "invoice", "other"),
    text("description", 60),
    text("street", 250),
    text("street_number", 20),
    text("building", 60),
    text("city", 60),
    text("county", 10),
    text("state", 10),
    text("postal_code", 10),
    text("country", 3),
    Column("is_primary", "boolean"),
)
CONTACT = (
    Column("contact_id", "uuid", required=True),
    word("kind", "email", "phone", "url"),
    text("locator", 255),
    text("description", 60),
    Column("is_primary", "boolean"),
    Column("marketing_opt_in", "boolean"),
)
AFFILIATION = (text("affiliation", 20),)
ATTRIBUTE = (text("attribute", 60), text("value"))
TRANSACTION = (
    text("transaction_id", 44),
    word("transaction_type", "sale", "return", "customer_order"),
    word("entry_status", "concluded", "voided"),
    text("confirmation_number", 50),
    Column("business_date", "date"),
    text("store_number", 10),
    text("currency", 3),
    *money("net_amount", "tax_amount", "gross_amount", "discount_amount", "payment_amount"),
    Column("line_count", "integer"),
    Column("delivery_address_id", "uuid"),
    text("delivery_mode", 10),
    text("receipt_number", 18),
)
PART_OF_TRANSACTION = (
    text("transaction_id", 44, required=True),
    Column("line_number", "integer", required=True),
)
LINE = (
    text("item_id", 20),
    text("description", 120),
    *money("quantity"),
    text("unit", 10),
    *money("price", "discount_amount", "tax_amount", "net_amount"),
    Column("is_voided", "boolean"),
)
PAYMENT = (text("tender_type", 20), *money("amount"), text("currency", 3))

ACCOUNT = (text("company", 4, required=True), text("account_number", 20, required=True))
VERSION = (
    Column("is_active", "boolean", required=True, default="yes"),
    Column("hq_version", "bigint", required=True, default="zero"),
)


def event_table(name: str, columns: tuple[Column, ...], unique: tuple[str, ...] = ()) -> Table:
    """A table to which the till adds and in which nobody changes anything."""
    return Table(name, ("event_id",), EVENT + columns, unique, guard="event")


def part_table(name: str, columns: tuple[Column, ...]) -> Table:
    """Lines of a document: written, read and acknowledged together with its header."""
    key = ("transaction_id", "line_number")
    return Table(name, key, PART_OF_TRANSACTION + columns, guard="part")


def known_table(name: str, columns: tuple[Column, ...], *key: str) -> Table:
    """What HQ tells the channel about an account; `key` is what identifies a row in it."""
    required = tuple(replace(c, required=c.required or c.name in key) for c in columns)
    return Table(name, key, ACCOUNT + required + VERSION)


# Parents before children: an upload reads them in this order, sales last.
EVENT_TABLES = (
    event_table("async_customer", CUSTOMER),
    event_table("async_address", ADDRESS),
    event_table("async_contact", CONTACT),
    event_table("async_affiliation", AFFILIATION),
    event_table("async_attribute", ATTRIBUTE),
    event_table("retail_transaction", TRANSACTION, unique=("transaction_id",)),
)
PART_TABLES = (
    part_table("retail_transaction_line", LINE),
    part_table("retail_transaction_payment", PAYMENT),
)
HQ_TABLES = (
    known_table(
        "customer",
        (
            Column("async_account", "uuid"),
            *CUSTOMER,
            Column("is_blocked", "boolean", required=True, default="no"),
        ),
        "company",
        "account_number",
    ),
    known_table("customer_address", ADDRESS, "address_id"),
    known_table("customer_contact", CONTACT, "contact_id"),
    known_table("customer_affiliation", AFFILIATION, "company", "account_number", "affiliation"),
    known_table("customer_attribute", ATTRIBUTE, "company", "account_number", "attribute"),
    Table(
        "account_map",
        ("async_account",),
        (
            Column("async_account", "uuid", required=True),
            *ACCOUNT,
            Column("received_at", "time", required=True, default="now"),
        ),
    ),
    Table("channel_setting", ("key",), (text("key", required=True), Column("value", "json"))),
    Table(
        "applied_session",
        ("session_id", "part"),
        (
            Column("session_id", "uuid", required=True),
            Column("part", "integer", required=True),
            text("job"),
            Column("rows", "integer"),
            Column("applied_at", "time", required=True, default="now"),
        ),
    ),
    Table(
        "exchange_state",
        ("database_id",),
        (
            Column("database_id", "uuid", required=True),
            Column("epoch", "bigint", required=True),
            Column("nonce", "uuid", required=True),
            Column("account_high", "json", required=True),
            Column("updated_at", "time", required=True, default="now"),
        ),
    ),
)
TABLES = EVENT_TABLES + PART_TABLES + HQ_TABLES
TABLE = {table.name: table for table in TABLES}
# The business word for each event table, as quarantine, counts and messages use it.
KINDS = {
    "customer": "async_customer",
    "address": "async_address",
    "contact": "async_contact",
    "affiliation": "async_affiliation",
    "attribute": "async_attribute",
    "transaction": "retail_transaction",
}
# HQ's limits and words: table -> column -> characters, or the words it accepts. A breach is
# quarantined with the column named, never cut.
LIMITS = {t.name: {c.name: c.limit for c in t.columns if c.limit} for t in TABLES}
WORDS = {t.name: {c.name: c.words for c in t.columns if c.words} for t in TABLES}
