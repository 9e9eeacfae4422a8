"""What a document of a till is made of: header, lines and payments, with the rules of each.

Each part says how it travels, where HQ keeps it and what it may hold; what is done with documents
is elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models

from stores.channeldb.exchange.protocol import EventTable
from stores.models import RetailTransaction, RetailTransactionLine, RetailTransactionPayment
from stores.pipeline.dates import EARLIEST_DATE, LATEST_DATE
from stores.pipeline.events.kinds import StagedTable, normalized, sent_columns
from stores.pipeline.events.payloads import from_json
from stores.pipeline.events.rules import (
    COMMON_RULES,
    Rule,
    is_empty,
    not_in_words,
    reserved,
    unprintable,
)

DOCUMENT_TABLE = "retail_transaction"
DOCUMENT_KEY = "transaction_id"


@dataclass(frozen=True)
class DocumentTable(StagedTable):
    """One table of a document: its name in channel and HQ, and what HQ accepts."""

    incoming: str
    model: type[models.Model]
    rules: tuple[Rule, ...]

    def stored_value(self, column: str, of: str) -> str:
        """SQL for what HQ keeps of a column of the incoming table: texts are normalized."""
        if column == "account_number":
            return f"nullif({normalized(column, of)}, '')"
        return normalized(column, of) if self.type_of(column) == "text" else f"{of}.{column}"


def stored_columns(model: type[models.Model]) -> dict[str, Any]:
    """The columns of HQ's table, without the document's key, which has its own rules."""
    return {str(f.column): f for f in model._meta.concrete_fields if f.column != DOCUMENT_KEY}


def length_rules(model: type[models.Model]) -> tuple[Rule, ...]:
    """One rule for each text that HQ holds only up to a length."""
    stored = stored_columns(model)
    return tuple(
        Rule(
            "too_long",
            column,
            f"octet_length({column}) > {field.max_length}"
            f" AND char_length({normalized(column)}) > {field.max_length}",
        )
        for column in sent_columns(model._meta.db_table)
        if isinstance(field := stored.get(column), models.CharField) and not field.choices
    )


def amount_rules(*columns: str, required: bool = False) -> tuple[Rule, ...]:
    """Rules for amounts: a number that HQ's columns can hold, and there where it must be."""
    return (presence_rules(*columns) if required else ()) + tuple(
        rule
        for column in columns
        for rule in (
            Rule("amount_format", column, f"{column} = 'NaN'"),
            Rule("overflow", column, f"abs({column}) >= 1e14 OR scale({column}) > 4"),
        )
    )


def presence_rules(*columns: str) -> tuple[Rule, ...]:
    return tuple(Rule("value_missing", column, f"{column} IS NULL") for column in columns)


CURRENCY_RULE = Rule(
    "unknown_word",
    "currency",
    f"coalesce({normalized('currency')}, '') <> ALL (%(currencies)s)",
    "a currency of ISO 4217",
)
HEADER_AMOUNTS = (
    "net_amount",
    "tax_amount",
    "gross_amount",
    "discount_amount",
    "payment_amount",
)
MAX_ID_LENGTH = 44
TRANSACTION_TYPES = ("sale", "return", "customer_order")

HEADER = DocumentTable(
    DOCUMENT_TABLE,
    "incoming",
    RetailTransaction,
    (
        Rule("key_missing", DOCUMENT_KEY, is_empty(DOCUMENT_KEY)),
        Rule(
            "too_long",
            DOCUMENT_KEY,
            f"char_length({normalized(DOCUMENT_KEY)}) > {MAX_ID_LENGTH}",
        ),
        Rule("unknown_word", "operation", f"{normalized('operation')} IS DISTINCT FROM 'create'"),
        *(rule for rule in COMMON_RULES if rule.field == "occurred_at"),
        *map(reserved, ("event_id", "async_account", "delivery_address_id")),
        *map(unprintable, (DOCUMENT_KEY, "confirmation_number", "receipt_number", "store_number")),
        Rule(
            "unknown_word",
            "transaction_type",
            f"transaction_type IS NULL OR {not_in_words('transaction_type', *TRANSACTION_TYPES)}",
        ),
        Rule(
            "unknown_word",
            "entry_status",
            f"entry_status IS NULL OR {not_in_words('entry_status', 'concluded', 'voided')}",
        ),
        *length_rules(RetailTransaction),
        CURRENCY_RULE,
        *amount_rules(*HEADER_AMOUNTS, required=True),
        *presence_rules("line_count"),
        Rule(
            "date_range",
            "business_date",
            f"business_date NOT BETWEEN date '{EARLIEST_DATE}' AND date '{LATEST_DATE}'",
        ),
        Rule(
            "value_missing",
            "confirmation_number",
            f"{normalized('transaction_type')} = 'customer_order'"
            f" AND {is_empty('confirmation_number')}",
        ),
    ),
)
LINE = DocumentTable(
    "retail_transaction_line",
    "incoming_line",
    RetailTransactionLine,
    (
        *length_rules(RetailTransactionLine),
        unprintable("item_id"),
        *amount_rules("quantity", "price", "discount_amount", "tax_amount", "net_amount"),
    ),
)
PAYMENT = DocumentTable(
    "retail_transaction_payment",
    "incoming_payment",
    RetailTransactionPayment,
    (
        Rule("value_missing", "tender_type", is_empty("tender_type")),
        *length_rules(RetailTransactionPayment),
        unprintable("tender_type"),
        CURRENCY_RULE,
        *amount_rules("amount", required=True),
    ),
)
DOCUMENT_PARTS = (LINE, PAYMENT)
DOCUMENT_SOURCE = EventTable(
    DOCUMENT_TABLE,
    HEADER.sent_columns,
    HEADER.types,
    parts=tuple(EventTable(part.event, part.sent_columns, part.types) for part in DOCUMENT_PARTS),
)


def part_rows(values: Mapping[str, Any], part: DocumentTable) -> list[dict[str, Any]]:
    """The rows of one table of a document that was set aside, whichever engine it came from."""
    if part is HEADER:
        return [dict(values)]
    return [
        {
            column: from_json(value)
            for column, value in (
                row.items() if isinstance(row, dict) else zip(part.sent_columns, row, strict=True)
            )
        }
        for row in values.get(part.event) or []
    ]
