"""What a document of a till is made of: header, lines and payments, with the rules of each.

Each part says how it travels, where HQ keeps it and what it may hold; what is done with documents
is elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models

from stores.channeldb.exchange.protocol import EventTable
from stores.models import RetailTransaction, RetailTransactionLine, RetailTransactionPayment
from stores.pipeline.dates import EARLIEST, LATEST
from stores.pipeline.events.kinds import EVENT_COLUMNS, TYPES, tidied
from stores.pipeline.events.payloads import back
from stores.pipeline.events.rules import COMMON, Rule, empty, in_words, reserved, unprintable

TABLE = "retail_transaction"
MONEY = "numeric"
KEY = "transaction_id"


@dataclass(frozen=True)
class Part:
    """One table of a document: its name in channel and HQ, its columns and what HQ accepts."""

    event: str
    incoming: str
    model: type[models.Model]
    sent: tuple[str, ...]
    rules: tuple[Rule, ...]

    @property
    def types(self) -> tuple[str, ...]:
        """PostgreSQL's types of the columns while they travel; texts have no limit yet."""
        return tuple(map(self.type_of, self.sent))

    def type_of(self, column: str) -> str:
        if isinstance(held_in(self.model).get(column), models.DecimalField):
            return MONEY
        own = {"line_number": "integer", "line_count": "integer", "is_voided": "boolean"}
        dates = {"business_date": "date", "delivery_address_id": "uuid"}
        return (TYPES | own | dates).get(column, "text")

    def as_kept(self, column: str, of: str) -> str:
        """SQL for what HQ keeps of a column of the incoming table: texts are tidied."""
        if column == "account_number":
            return f"nullif({tidied(column, of)}, '')"
        return tidied(column, of) if self.type_of(column) == "text" else f"{of}.{column}"


def held_in(model: type[models.Model]) -> dict[str, Any]:
    """The columns of HQ's table, without the document's key, which has its own rules."""
    return {str(f.column): f for f in model._meta.concrete_fields if f.column != KEY}


def text_limits(model: type[models.Model], columns: Sequence[str]) -> tuple[Rule, ...]:
    """One rule for each text that HQ holds only up to a length."""
    held = held_in(model)
    return tuple(
        Rule(
            "too_long",
            column,
            f"octet_length({column}) > {field.max_length}"
            f" AND char_length({tidied(column)}) > {field.max_length}",
        )
        for column in columns
        if isinstance(field := held.get(column), models.CharField) and not field.choices
    )


def amounts(*columns: str, required: bool = False) -> tuple[Rule, ...]:
    """Rules for amounts: a number that HQ's columns can hold, and there where it must be."""
    return (present(*columns) if required else ()) + tuple(
        rule
        for column in columns
        for rule in (
            Rule("amount_format", column, f"{column} = 'NaN'"),
            Rule("overflow", column, f"abs({column}) >= 1e14 OR scale({column}) > 4"),
        )
    )


def present(*columns: str) -> tuple[Rule, ...]:
    """Rules for values without which a document cannot be kept."""
    return tuple(Rule("value_missing", column, f"{column} IS NULL") for column in columns)


CURRENCY = Rule(
    "unknown_word",
    "currency",
    f"coalesce({tidied('currency')}, '') <> ALL (%(currencies)s)",
    "a currency of ISO 4217",
)
HEADER_AMOUNTS = (
    "net_amount",
    "tax_amount",
    "gross_amount",
    "discount_amount",
    "payment_amount",
)
HEADER_COLUMNS = (
    *EVENT_COLUMNS,
    KEY,
    "transaction_type",
    "entry_status",
    "confirmation_number",
    "business_date",
    "store_number",
    "currency",
    *HEADER_AMOUNTS,
    "line_count",
    "delivery_address_id",
    "delivery_mode",
    "receipt_number",
)
LINE_COLUMNS = (
    KEY,
    "line_number",
    "item_id",
    "description",
    "quantity",
    "unit",
    "price",
    "discount_amount",
    "tax_amount",
    "net_amount",
    "is_voided",
)
PAYMENT_COLUMNS = (KEY, "line_number", "tender_type", "amount", "currency")
LONGEST_ID = 44
TRANSACTION_TYPES = ("sale", "return", "customer_order")

HEADER = Part(
    TABLE,
    "incoming",
    RetailTransaction,
    HEADER_COLUMNS,
    (
        Rule("key_missing", KEY, empty(KEY)),
        Rule("too_long", KEY, f"char_length({tidied(KEY)}) > {LONGEST_ID}"),
        Rule("unknown_word", "operation", f"{tidied('operation')} IS DISTINCT FROM 'create'"),
        *(rule for rule in COMMON if rule.field == "occurred_at"),
        *map(reserved, ("event_id", "async_account", "delivery_address_id")),
        *map(unprintable, (KEY, "confirmation_number", "receipt_number", "store_number")),
        Rule(
            "unknown_word",
            "transaction_type",
            f"transaction_type IS NULL OR {in_words('transaction_type', *TRANSACTION_TYPES)}",
        ),
        Rule(
            "unknown_word",
            "entry_status",
            f"entry_status IS NULL OR {in_words('entry_status', 'concluded', 'voided')}",
        ),
        *text_limits(RetailTransaction, HEADER_COLUMNS),
        CURRENCY,
        *amounts(*HEADER_AMOUNTS, required=True),
        *present("line_count"),
        Rule(
            "date_range",
            "business_date",
            f"business_date NOT BETWEEN date '{EARLIEST}' AND date '{LATEST}'",
        ),
        Rule(
            "value_missing",
            "confirmation_number",
            f"{tidied('transaction_type')} = 'customer_order' AND {empty('confirmation_number')}",
        ),
    ),
)
LINE = Part(
    "retail_transaction_line",
    "incoming_line",
    RetailTransactionLine,
    LINE_COLUMNS,
    (
        *text_limits(RetailTransactionLine, LINE_COLUMNS),
        unprintable("item_id"),
        *amounts("quantity", "price", "discount_amount", "tax_amount", "net_amount"),
    ),
)
PAYMENT = Part(
    "retail_transaction_payment",
    "incoming_payment",
    RetailTransactionPayment,
    PAYMENT_COLUMNS,
    (
        Rule("value_missing", "tender_type", empty("tender_type")),
        *text_limits(RetailTransactionPayment, PAYMENT_COLUMNS),
        unprintable("tender_type"),
        CURRENCY,
        *amounts("amount", required=True),
    ),
)
PARTS = (LINE, PAYMENT)
SOURCE = EventTable(
    TABLE,
    HEADER.sent,
    HEADER.types,
    parts=tuple(EventTable(part.event, part.sent, part.types) for part in PARTS),
)


def rows_in(values: Mapping[str, Any], part: Part) -> list[dict[str, Any]]:
    """The rows of one table of a document that was set aside, whichever engine it came from."""
    if part is HEADER:
        return [dict(values)]
    return [
        {
            column: back(value)
            for column, value in (
                one.items() if isinstance(one, dict) else zip(part.sent, one, strict=True)
            )
        }
        for one in values.get(part.event) or []
    ]
