"""The tables of a channel database, told once, as plain data.

`ddl.statements(vendor)` makes SQL of it and the models must agree with it. Upload and validation
take from here which tables hold events (`EVENT_TABLES`, `TABLE_OF_KIND`) and what HQ accepts in
each column (`LIMITS`, `WORDS`). The channel takes any text: what HQ cannot use is quarantined.

Migration 0001 runs what `ddl` makes of this, and a test holds a digest of it: to change the schema
once it has landed, first keep a copy of what 0001 made beside it.

Source: contract 3.1 and 3.2.
"""

from dataclasses import dataclass, replace
from typing import Literal

ColumnType = Literal[
    "uuid", "counter", "text", "time", "date", "boolean", "money", "integer", "bigint", "json"
]


@dataclass(frozen=True)
class Column:
    """One column. `limit` and `words` are what HQ accepts; the channel itself takes any text."""

    name: str
    kind: ColumnType = "text"
    limit: int | None = None
    words: tuple[str, ...] = ()
    required: bool = False
    default: str = ""


@dataclass(frozen=True)
class Table:
    """One table. `triggers` says which triggers protect it: none for the tables that HQ writes."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    unique: tuple[str, ...] = ()
    triggers: Literal["", "event", "part"] = ""

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def text_column(name: str, limit: int | None = None, *, required: bool = False) -> Column:
    """A text column with HQ's limit in characters."""
    return Column(name, limit=limit, required=required)


def word_column(name: str, *words: str) -> Column:
    """A text column in which HQ accepts only these words."""
    return Column(name, words=words)


def money_columns(*names: str) -> tuple[Column, ...]:
    """Amounts and quantities, all exact to four places."""
    return tuple(Column(name, "money") for name in names)


COMMON_COLUMNS = (
    Column("event_id", "uuid", required=True),
    Column("replication_counter", "counter"),
    Column("occurred_at", "time", required=True),
    word_column("operation", "create", "update", "deactivate"),
    Column("async_account", "uuid"),
    text_column("account_number", 20),
    text_column("staff_id", 25),
    text_column("terminal_id", 10),
    Column("created_offline", "boolean", default="no"),
    Column("acknowledged_at", "time"),
)
CUSTOMER_COLUMNS = (
    word_column("customer_type", "person", "organization"),
    text_column("first_name", 60),
    text_column("middle_name", 60),
    text_column("last_name", 60),
    text_column("name", 300),
    text_column("title", 20),
    text_column("language", 7),
    text_column("currency", 3),
    text_column("customer_group", 20),
    text_column("email", 255),
    text_column("phone", 60),
    text_column("receipt_email", 255),
    text_column("vat_number", 30),
    Column("birth_date", "date"),
)
ADDRESS_COLUMNS = (
    Column("address_id", "uuid", required=True),
    word_column("purpose", "home", "business", "delivery", "invoice", "other"),
    text_column("description", 60),
    text_column("street", 250),
    text_column("street_number", 20),
    text_column("building", 60),
    text_column("city", 60),
    text_column("county", 10),
    text_column("state", 10),
    text_column("postal_code", 10),
    text_column("country", 3),
    Column("is_primary", "boolean"),
)
CONTACT_COLUMNS = (
    Column("contact_id", "uuid", required=True),
    word_column("kind", "email", "phone", "url"),
    text_column("locator", 255),
    text_column("description", 60),
    Column("is_primary", "boolean"),
    Column("marketing_opt_in", "boolean"),
)
AFFILIATION_COLUMNS = (text_column("affiliation", 20),)
ATTRIBUTE_COLUMNS = (text_column("attribute", 60), text_column("value"))
TRANSACTION_COLUMNS = (
    text_column("transaction_id", 44),
    word_column("transaction_type", "sale", "return", "customer_order"),
    word_column("entry_status", "concluded", "voided"),
    text_column("confirmation_number", 50),
    Column("business_date", "date"),
    text_column("store_number", 10),
    text_column("currency", 3),
    *money_columns("net_amount", "tax_amount", "gross_amount", "discount_amount", "payment_amount"),
    Column("line_count", "integer"),
    Column("delivery_address_id", "uuid"),
    text_column("delivery_mode", 10),
    text_column("receipt_number", 18),
)
PART_KEY_COLUMNS = (
    text_column("transaction_id", 44, required=True),
    Column("line_number", "integer", required=True),
)
TRANSACTION_LINE_COLUMNS = (
    text_column("item_id", 20),
    text_column("description", 120),
    *money_columns("quantity"),
    text_column("unit", 10),
    *money_columns("price", "discount_amount", "tax_amount", "net_amount"),
    Column("is_voided", "boolean"),
)
TRANSACTION_PAYMENT_COLUMNS = (
    text_column("tender_type", 20),
    *money_columns("amount"),
    text_column("currency", 3),
)

ACCOUNT_COLUMNS = (
    text_column("company", 4, required=True),
    text_column("account_number", 20, required=True),
)
VERSION_COLUMNS = (
    Column("is_active", "boolean", required=True, default="yes"),
    Column("hq_version", "bigint", required=True, default="zero"),
)


def event_table(name: str, columns: tuple[Column, ...], unique: tuple[str, ...] = ()) -> Table:
    """A table to which the till adds and in which nobody changes anything."""
    return Table(name, ("event_id",), COMMON_COLUMNS + columns, unique, triggers="event")


def part_table(name: str, columns: tuple[Column, ...]) -> Table:
    """Lines of a document: written, read and acknowledged together with its header."""
    key = ("transaction_id", "line_number")
    return Table(name, key, PART_KEY_COLUMNS + columns, triggers="part")


def account_table(name: str, columns: tuple[Column, ...], *key: str) -> Table:
    """What HQ tells the channel about an account; `key` is what identifies a row in it."""
    required = tuple(replace(c, required=c.required or c.name in key) for c in columns)
    return Table(name, key, ACCOUNT_COLUMNS + required + VERSION_COLUMNS)


# Parents before children: an upload reads them in this order, sales last.
EVENT_TABLES = (
    event_table("async_customer", CUSTOMER_COLUMNS),
    event_table("async_address", ADDRESS_COLUMNS),
    event_table("async_contact", CONTACT_COLUMNS),
    event_table("async_affiliation", AFFILIATION_COLUMNS),
    event_table("async_attribute", ATTRIBUTE_COLUMNS),
    event_table("retail_transaction", TRANSACTION_COLUMNS, unique=("transaction_id",)),
)
PART_TABLES = (
    part_table("retail_transaction_line", TRANSACTION_LINE_COLUMNS),
    part_table("retail_transaction_payment", TRANSACTION_PAYMENT_COLUMNS),
)
HQ_TABLES = (
    account_table(
        "customer",
        (
            Column("async_account", "uuid"),
            *CUSTOMER_COLUMNS,
            Column("is_blocked", "boolean", required=True, default="no"),
        ),
        "company",
        "account_number",
    ),
    account_table("customer_address", ADDRESS_COLUMNS, "address_id"),
    account_table("customer_contact", CONTACT_COLUMNS, "contact_id"),
    account_table(
        "customer_affiliation", AFFILIATION_COLUMNS, "company", "account_number", "affiliation"
    ),
    account_table(
        "customer_attribute", ATTRIBUTE_COLUMNS, "company", "account_number", "attribute"
    ),
    Table(
        "account_map",
        ("async_account",),
        (
            Column("async_account", "uuid", required=True),
            *ACCOUNT_COLUMNS,
            Column("received_at", "time", required=True, default="now"),
        ),
    ),
    Table(
        "channel_setting", ("key",), (text_column("key", required=True), Column("value", "json"))
    ),
    Table(
        "applied_session",
        ("session_id", "part"),
        (
            Column("session_id", "uuid", required=True),
            Column("part", "integer", required=True),
            text_column("job"),
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
CHANNEL_TABLES = EVENT_TABLES + PART_TABLES + HQ_TABLES
TABLE_BY_NAME = {table.name: table for table in CHANNEL_TABLES}
# The business word for each event table, as quarantine, counts and messages use it.
TABLE_OF_KIND = {
    "customer": "async_customer",
    "address": "async_address",
    "contact": "async_contact",
    "affiliation": "async_affiliation",
    "attribute": "async_attribute",
    "transaction": "retail_transaction",
}
# HQ's limits and words: table -> column -> characters, or the words it accepts. A breach is
# quarantined with the column named, never cut.
LIMITS = {t.name: {c.name: c.limit for c in t.columns if c.limit} for t in CHANNEL_TABLES}
WORDS = {t.name: {c.name: c.words for c in t.columns if c.words} for t in CHANNEL_TABLES}
