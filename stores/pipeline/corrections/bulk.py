"""Lock many transactions, and write a field of them with a record of each change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, models
from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch
from stores.models import RetailTransaction, RetailTransactionLine, RetailTransactionPayment
from stores.models.transaction import BEING_CORRECTED
from stores.pipeline.sales.claims import lock_sales

LOCK_SALES = load(__file__, "lock_sales_to_correct").format(
    being_corrected=sql.SQL(BEING_CORRECTED)
)
REPLACE_VALUES = load(__file__, "replace_values")
# How many transactions one database transaction corrects.
BATCH_SIZE = 1_000


# The models of the parts of a transaction.
PARTS: dict[str, type[models.Model]] = {
    "header": RetailTransaction,
    "line": RetailTransactionLine,
    "payment": RetailTransactionPayment,
}


@dataclass(frozen=True)
class ChangeNote:
    """What is recorded with each change: who, why, and the bulk correction that it belongs to."""

    user: Any
    reason: str
    correction: UUID | None = None


def lock_correctable(ids: Sequence[Any], user: Any, *, changes_prepaid: bool = False) -> list[int]:
    """Lock the transactions that the user may correct; prepaid ones if no prepayment changes."""
    values = {"ids": list(ids), "by": user.pk, "is_free": not changes_prepaid, "limit": BATCH_SIZE}
    return lock_sales(LOCK_SALES, values)


def replace_values(
    part: str,
    name: str,
    new_values: sql.Composable,
    condition: sql.Composable,
    parameters: Mapping[str, Any],
    note: ChangeNote,
) -> set[int]:
    """Write a field of a part of many transactions. Returns the transactions that changed.

    `new_values` is a query for sale, line_number and new. `condition` is true if a row, `part`, may
    get the value of a row of the query, `change`. Effects: the table of the part, and
    transaction_change.
    """
    changed = fetch(
        replace_statement(part, name, new_values, condition),
        {
            **parameters,
            "name": name,
            "reason": note.reason,
            "user": note.user.pk,
            "correction": str(note.correction) if note.correction else None,
        },
    )
    return {sale for (sale,) in changed}


def replace_statement(
    part: str, name: str, new_values: sql.Composable, condition: sql.Composable
) -> sql.Composed:
    is_header = part == "header"
    return REPLACE_VALUES.format(
        new_values=new_values,
        condition=condition,
        field=sql.Identifier(name),
        table=sql.Identifier(PARTS[part]._meta.db_table),
        key=sql.Identifier("id" if is_header else "transaction_id"),
        same_line=sql.SQL("true" if is_header else "part.line_number = change.line_number"),
    )


def column_type(part: str, name: str) -> sql.SQL:
    return sql.SQL(str(PARTS[part]._meta.get_field(name).db_type(connection)))
