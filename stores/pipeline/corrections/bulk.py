"""Lock many transactions, and write a field of them with a record of each change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, models
from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import Query, as_composable, fetch_values
from stores.models import RetailTransaction, RetailTransactionLine, RetailTransactionPayment

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


def lock_correctable(
    ids: Sequence[Any], user: Any, *, changes_prepayments: bool = False
) -> list[int]:
    """Lock those of the transactions that the user may correct now. Return their ids.

    Transactions that a job has locked or another person is correcting are skipped, and, if
    prepayments are to change, those whose prepayments are in a statement.
    """
    return fetch_values(
        """SELECT sale.id FROM retail_transaction sale
            WHERE sale.id = ANY(%(ids)s)
              AND sale.statement_id IS NULL AND sale.sales_order_id IS NULL
              AND (sale.prepayment_statement_id IS NULL OR NOT %(changes_prepayments)s)
              AND (NOT is_being_corrected(sale.editing_until) OR sale.editing_by_id = %(user)s)
            ORDER BY sale.id LIMIT %(limit)s FOR UPDATE OF sale SKIP LOCKED""",
        {
            "ids": list(ids),
            "user": user.pk,
            "changes_prepayments": changes_prepayments,
            "limit": BATCH_SIZE,
        },
    )


def replace_values(
    part: str,
    field: str,
    new_values: Query,
    values: Mapping[str, Any],
    note: ChangeNote,
    *,
    only_unchanged: bool = False,
) -> set[int]:
    """Write a field of a part of many transactions. Return the ids of those that changed.

    `new_values` is a query with the parameters `values`, for the columns sale, line_number, new and
    written. If `only_unchanged` is true, a row is left alone unless it still has the value
    `written`. Effects: the table of the part, and transaction_change.
    """
    changed = fetch_values(
        replace_statement(part, field, new_values),
        {
            **values,
            "field": field,
            "only_unchanged": only_unchanged,
            "reason": note.reason,
            "user": note.user.pk,
            "correction": str(note.correction) if note.correction else None,
        },
    )
    return set(changed)


def replace_statement(part: str, field: str, new_values: Query) -> sql.Composed:
    model, is_header = PARTS[part], part == "header"
    return REPLACE_VALUES.format(
        new_values=as_composable(new_values),
        field=sql.Identifier(field),
        type=sql.SQL(str(model._meta.get_field(field).db_type(connection))),
        table=sql.Identifier(model._meta.db_table),
        key=sql.Identifier("id" if is_header else "transaction_id"),
        same_line=sql.SQL("true" if is_header else "part.line_number = change.line_number"),
    )
