"""The three tables of a document: the header of a sale, its lines and its payments.

A channel sends the rows of the three tables together. Each table has a model, in which HQ keeps the
rows, and rules, which say what HQ accepts. The header is also an event like those of customers.
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
    is_too_long,
    not_in_words,
    reserved,
    unprintable,
)

DOCUMENT_TABLE = "retail_transaction"
DOCUMENT_KEY = "transaction_id"


@dataclass(frozen=True)
class DocumentTable(StagedTable):
    """One table of a document. `incoming` is the name of the work table of arriving rows."""

    incoming: str
    model: type[models.Model]
    rules: tuple[Rule, ...]

    def stored_value(self, column: str, of: str) -> str:
        """Return SQL for what HQ keeps of a column of table `of`: texts are normalized."""
        if column == "account_number":
            return f"nullif({normalized(column, of)}, '')"
        return normalized(column, of) if self.type_of(column) == "text" else f"{of}.{column}"


def length_rules(model: type[models.Model]) -> tuple[Rule, ...]:
    """Return a rule for each text that HQ keeps only up to a length."""
    # The key of the document has a rule of its own.
    fields = {
        field.column: field for field in model._meta.concrete_fields if field.column != DOCUMENT_KEY
    }
    rules = []
    for column in sent_columns(model._meta.db_table):
        field = fields.get(column)
        if isinstance(field, models.CharField) and field.max_length and not field.choices:
            rules.append(Rule("too_long", column, is_too_long(column, field.max_length)))
    return tuple(rules)


def amount_rules(*columns: str, required: bool = False) -> tuple[Rule, ...]:
    """Return rules for amounts: HQ's columns must be able to hold them, and be filled if needed."""
    rules = list(presence_rules(*columns)) if required else []
    for column in columns:
        rules += [
            Rule("amount_format", column, f"{column} = 'NaN'"),
            Rule("overflow", column, f"abs({column}) >= 1e14 OR scale({column}) > 4"),
        ]
    return tuple(rules)


def presence_rules(*columns: str) -> tuple[Rule, ...]:
    return tuple(Rule("value_missing", column, f"{column} IS NULL") for column in columns)


CURRENCY_RULE = Rule(
    "unknown_word",
    "currency",
    f"coalesce({normalized('currency')}, '') <> ALL (%(currencies)s)",
    "a currency of ISO 4217",
)
HEADER_AMOUNTS = ("net_amount", "tax_amount", "gross_amount", "discount_amount", "payment_amount")
# The length of the number of a document in HQ's table.
MAX_ID_LENGTH = 44
TRANSACTION_TYPES = ("sale", "return", "customer_order")

HEADER = DocumentTable(
    event=DOCUMENT_TABLE,
    incoming="incoming",
    model=RetailTransaction,
    rules=(
        Rule("key_missing", DOCUMENT_KEY, is_empty(DOCUMENT_KEY)),
        Rule("too_long", DOCUMENT_KEY, is_too_long(DOCUMENT_KEY, MAX_ID_LENGTH)),
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
    event="retail_transaction_line",
    incoming="incoming_line",
    model=RetailTransactionLine,
    rules=(
        *length_rules(RetailTransactionLine),
        unprintable("item_id"),
        *amount_rules("quantity", "price", "discount_amount", "tax_amount", "net_amount"),
    ),
)
PAYMENT = DocumentTable(
    event="retail_transaction_payment",
    incoming="incoming_payment",
    model=RetailTransactionPayment,
    rules=(
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
    """Return the rows of one table from the raw JSON of a quarantined document."""
    if part is HEADER:
        return [dict(values)]
    rows = []
    for row in values.get(part.event) or []:
        # Documents whose form is broken have their rows as lists of values.
        named = row if isinstance(row, dict) else dict(zip(part.sent_columns, row, strict=True))
        rows.append({column: from_json(value) for column, value in named.items()})
    return rows
