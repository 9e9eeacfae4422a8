"""The sales and prepayments of a statement: how it takes them, and how it releases them.

A statement takes sales and returns, and of customer orders the payments, as prepayments: of a
prepaid order only the payments are in the statement. It takes what is ready: open, valid, and not
being corrected. The views open_document, ready_document and statement_document define all this.
"""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from stores.hqdb.sql import fetch_values, run_sql
from stores.messages.message import EMPTY, Message
from stores.models import Statement
from stores.models.order import SalesOrderState
from stores.models.statement import StatementState


class CancellationRefused(Exception):
    """The statement cannot be cancelled. The message says why."""


def add_ready_sales(statement: Statement) -> int:
    """Take the ready sales and prepayments of the day into a statement. Return how many."""
    values = [statement.pk, statement.channel_id, statement.business_date]
    # The views are updatable: these statements update retail_transaction.
    sales = run_sql(
        "UPDATE ready_sale SET statement_id = %s WHERE channel_id = %s AND business_date = %s",
        values,
    )
    prepayments = run_sql(
        """UPDATE ready_prepayment SET prepayment_statement_id = %s
            WHERE channel_id = %s AND business_date = %s""",
        values,
    )
    return sales + prepayments


def add_sales(statement: Statement, sales: Sequence[int]) -> None:
    """Take the given sales and prepayments into a statement."""
    run_sql(
        """UPDATE retail_transaction SET statement_id = %s
            WHERE id = ANY(%s) AND transaction_type <> 'customer_order'""",
        [statement.pk, list(sales)],
    )
    run_sql(
        """UPDATE retail_transaction SET prepayment_statement_id = %s
            WHERE id = ANY(%s) AND transaction_type = 'customer_order'""",
        [statement.pk, list(sales)],
    )


def sales_to_try(statement: Statement) -> list[int]:
    """Return the ids of the sales in a statement, and of those that a started one takes next."""
    return fetch_values(
        """SELECT id FROM statement_document WHERE statement_id = %(statement)s
            UNION
           SELECT id FROM ready_document
            WHERE channel_id = %(channel)s AND business_date = %(day)s AND %(is_started)s
            ORDER BY id""",
        {
            "statement": statement.pk,
            "channel": statement.channel_id,
            "day": statement.business_date,
            "is_started": statement.state == StatementState.STARTED,
        },
    )


def release_sales(statement: Statement) -> list[int]:
    """Remove all sales from a statement, which the caller has locked. Return their ids.

    Effects: its totals, tenders and aggregates are deleted, and its orders cancelled. They keep
    their numbers.
    """
    statement.aggregates.all().delete()
    statement.totals.all().delete()
    statement.tenders.all().delete()
    uncancelled = statement.sales_orders.exclude(state=SalesOrderState.CANCELLED)
    uncancelled.update(state=SalesOrderState.CANCELLED)
    released = fetch_values(
        """UPDATE retail_transaction SET statement_id = NULL, sales_order_id = NULL
            WHERE statement_id = %s RETURNING id""",
        [statement.pk],
    )
    # A prepaid customer order keeps its sales order, which is not one of this statement.
    released += fetch_values(
        """UPDATE retail_transaction SET prepayment_statement_id = NULL
            WHERE prepayment_statement_id = %s RETURNING id""",
        [statement.pk],
    )
    # An anonymous sale gets the default customer that the channel has when it is posted.
    run_sql(
        """UPDATE retail_transaction SET customer_id = NULL
            WHERE id = ANY(%s) AND customer_id IS NOT NULL AND sales_order_id IS NULL
              AND async_account IS NULL AND account_number IS NULL""",
        [released],
    )
    return released


def mark_cancelled(statement: Statement) -> None:
    """Set the state of a statement to cancelled. The caller has released its sales."""
    Statement.objects.filter(pk=statement.pk).update(
        state=StatementState.CANCELLED, reason="", message=EMPTY
    )


def cancel_open_statement(statement: Statement, reason: str, *, by: Any = None) -> int:
    """Cancel a statement that is not posted, so that its sales can be corrected.

    Return how many sales are released. Effects: the statement and its orders are cancelled, and the
    log says by whom and why; the sales have to be validated again. Raise CancellationRefused if the
    payments of the statement are already posted, or if it is cancelled already.
    """
    with transaction.atomic():
        locked = Statement.objects.select_for_update().get(pk=statement.pk)
        if not locked.can_be_cancelled:
            raise CancellationRefused(cancellation_obstacle(locked))
        released = release_sales(locked)
        # A prepaid customer order that has its sales order stays validated.
        run_sql(
            """UPDATE retail_transaction SET validation_status = 'none', validated_at = NULL
                WHERE id = ANY(%s) AND sales_order_id IS NULL""",
            [released],
        )
        mark_cancelled(locked)
        locked.log(
            Message("statement_cancelled", count=len(released), reason=reason),
            by=by,
            state=StatementState.CANCELLED,
        )
    return len(released)


def cancellation_obstacle(statement: Statement) -> str:
    """Return the sentence that says why a statement cannot be cancelled."""
    if statement.state == StatementState.CANCELLED:
        return f"{statement} is already cancelled."
    if statement.state == StatementState.POSTED:
        return f"{statement} is posted and can no longer change."
    return f"The payments of {statement} are already posted: run Post statements to finish it."
