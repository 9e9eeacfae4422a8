"""The tables of a channel database as `ddl` makes SQL of them: what `models` say, in order.

The channel takes any text: what HQ cannot use is quarantined. Its limits and words are those of
HQ's own columns and rules.

Migration 0001 runs what `ddl` makes of this, and a test holds a digest of it: to change the schema
once it has landed, first keep a copy of what 0001 made beside it.

Source: contract 3.1 and 3.2.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from django.db.models import Field, Model

from stores.channeldb import models

ColumnType = Literal[
    "uuid", "counter", "text", "time", "date", "boolean", "money", "integer", "bigint", "json"
]
COLUMN_TYPES: dict[str, ColumnType] = {
    "ChannelUUIDField": "uuid",
    "ChannelCounterField": "counter",
    "ChannelTimeField": "time",
    "ChannelMoneyField": "money",
    "TextField": "text",
    "DateField": "date",
    "BooleanField": "boolean",
    "IntegerField": "integer",
    "BigIntegerField": "bigint",
    "JSONField": "json",
}
# What the database fills in where the writer leaves a column out.
DEFAULT_WORDS = {"False": "no", "True": "yes", "0": "zero"}
FILLED_IN_NOW = ("received_at", "applied_at", "updated_at")
FILLED_IN_EMPTY = ("positions",)
# In a table of accounts the account comes first and what HQ says of the row last.
ACCOUNT_START = ("company", "account_number", "async_account", "address_id", "contact_id")
ACCOUNT_END = ("is_blocked", "is_active", "hq_version")


@dataclass(frozen=True)
class Column:
    name: str
    kind: ColumnType
    required: bool
    default: str


NO_COLUMNS: frozenset[str] = frozenset()


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

    def without(self, lacking: frozenset[str]) -> "Table":
        """The table of a channel that lacks some optional columns."""
        kept = tuple(column for column in self.columns if column.name not in lacking)
        return replace(self, columns=kept)


def column_of(field: "Field[Any, Any]") -> Column:
    default = DEFAULT_WORDS.get(str(field.default), "")
    default = "now" if field.name in FILLED_IN_NOW else default
    default = "empty" if field.name in FILLED_IN_EMPTY else default
    kind = COLUMN_TYPES[type(field).__name__]
    return Column(field.name, kind, required=not field.null, default=default)


def table_of(model: type[Model], triggers: Literal["", "event", "part"] = "") -> Table:
    fields = model._meta.concrete_fields
    key = tuple(field.name for field in model._meta.pk_fields)
    columns = [column_of(field) for field in fields]
    if issubclass(model, models.AccountRow):
        columns.sort(key=lambda column: place_in_account_table(column.name))
    unique = tuple(field.name for field in fields if field.unique and field.name not in key)
    unique = tuple(name for name in unique if name != "replication_counter")
    return Table(model._meta.db_table, key, tuple(columns), unique, triggers)


def place_in_account_table(column: str) -> int:
    if column in ACCOUNT_START:
        return ACCOUNT_START.index(column)
    start = len(ACCOUNT_START)
    return start + 1 + ACCOUNT_END.index(column) if column in ACCOUNT_END else start


# Parents before children: an upload reads them in this order, sales last.
EVENT_MODELS: tuple[type[models.Event], ...] = (
    models.CustomerEvent,
    models.AddressEvent,
    models.ContactEvent,
    models.AffiliationEvent,
    models.AttributeEvent,
    models.RetailTransaction,
)
EVENT_TABLES = tuple(table_of(model, "event") for model in EVENT_MODELS)
PART_TABLES = tuple(
    table_of(model, "part")
    for model in (models.RetailTransactionLine, models.RetailTransactionPayment)
)
HQ_TABLES = tuple(
    map(
        table_of,
        (
            models.Customer,
            models.CustomerAddress,
            models.CustomerContact,
            models.CustomerAffiliation,
            models.CustomerAttribute,
            models.AccountMap,
            models.ChannelSetting,
            models.AppliedSession,
            models.ExchangeState,
        ),
    )
)
CHANNEL_TABLES = EVENT_TABLES + PART_TABLES + HQ_TABLES
# Optional columns by the migration that adds them. A channel that lacks it is visited all the same,
# and its rows have nothing in these columns.
LATER_COLUMNS = {"0003_based_on": frozenset({"based_on"})}
# Two copies of an event may differ in these: each database counts its events, and may lack columns.
NOT_COMPARED = ("replication_counter", *sorted(frozenset().union(*LATER_COLUMNS.values())))
TABLE_BY_NAME = {table.name: table for table in CHANNEL_TABLES}
