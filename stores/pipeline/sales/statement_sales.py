"""The sales and prepayments of a statement: how they enter it, and how they are released."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from stores.hqdb.sql import fetch, run_sql
from stores.models import Statement
from stores.models.statement import StatementState
from stores.models.transaction import BEING_CORRECTED

# SQL conditions on `sale`: a sale or return that is in no statement and no order, and a
# customer order with payments that are in no statement.
OPEN_SALE_CONDITION = """sale.statement_id IS NULL AND sale.sales_order_id IS NULL
          AND sale.transaction_type IN ('sale', 'return') AND sale.entry_status = 'concluded'"""
OPEN_PREPAYMENT_CONDITION = """sale.prepayment_statement_id IS NULL
             AND sale.transaction_type = 'customer_order'
             AND sale.payment_amount <> 0 AND sale.entry_status = 'concluded'"""
# All transactions that a business date still has to post. Each branch uses its own index.
OPEN_DOCUMENTS = f"""(SELECT sale.* FROM retail_transaction sale WHERE {OPEN_SALE_CONDITION}
             UNION ALL
            SELECT sale.* FROM retail_transaction sale WHERE {OPEN_PREPAYMENT_CONDITION})"""  # noqa: S608 - our own names
# SQL condition: `sale` may enter a statement. A sale that was removed from one has an error.
READY_CONDITION = f"""sale.validation_status = 'successful'
           AND NOT EXISTS (SELECT FROM transaction_error error WHERE error.transaction_id = sale.id)
           AND NOT {BEING_CORRECTED}"""
# The transactions in a statement. Of those that are prepaid, it has only the payments.
IN_STATEMENT = """(SELECT id, customer_id, false AS is_prepaid FROM retail_transaction
                    WHERE statement_id = %(statement)s
                    UNION ALL
                   SELECT id, customer_id, true FROM retail_transaction
                    WHERE prepayment_statement_id = %(statement)s)"""
OF_ITS_DAY = "sale.channel_id = %(channel)s AND sale.business_date = %(day)s"


class CancellationRefused(Exception):
    """The statement cannot be cancelled. The message says why."""


def statement_parameters(statement: Statement) -> dict[str, Any]:
    """The parameters of queries with OF_ITS_DAY or IN_STATEMENT."""
    return {
        "statement": statement.pk,
        "channel": statement.channel_id,
        "day": statement.business_date,
    }


def add_ready_sales(statement: Statement) -> int:
    """Take the ready sales and prepayments of the day into a statement. Returns how many."""
    parameters = statement_parameters(statement)
    sales = run_sql(
        f"""UPDATE retail_transaction sale SET statement_id = %(statement)s
             WHERE {OF_ITS_DAY} AND {OPEN_SALE_CONDITION} AND {READY_CONDITION}""",  # noqa: S608 - our own conditions
        parameters,
    )
    prepayments = run_sql(
        f"""UPDATE retail_transaction sale SET prepayment_statement_id = %(statement)s
             WHERE {OF_ITS_DAY} AND {OPEN_PREPAYMENT_CONDITION} AND {READY_CONDITION}""",  # noqa: S608
        parameters,
    )
    return sales + prepayments


def add_sales(statement: Statement, sales: Sequence[int]) -> None:
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
    """The ids of the transactions in a statement, or of those that a started one takes next."""
    query = f"SELECT sale.id FROM {IN_STATEMENT} sale"  # noqa: S608 - our own names
    if statement.state == StatementState.STARTED:
        query += f""" UNION
            SELECT sale.id FROM {OPEN_DOCUMENTS} sale WHERE {OF_ITS_DAY} AND {READY_CONDITION}"""  # noqa: S608
    rows = fetch(f"{query} ORDER BY id", statement_parameters(statement))
    return [sale_id for (sale_id,) in rows]


def release_sales(statement: Statement) -> list[int]:
    """Remove all sales from a statement, and cancel its orders. Returns the sales' ids.

    Effects: totals, tenders and aggregates are deleted; orders keep their numbers. In the caller's
    transaction, which has locked the statement.
    """
    statement.aggregates.all().delete()
    statement.totals.all().delete()
    statement.tenders.all().delete()
    run_sql(
        """UPDATE sales_order SET state = 'cancelled'
            WHERE statement_id = %s AND state <> 'cancelled'""",
        [statement.pk],
    )
    rows = fetch(
        """UPDATE retail_transaction SET statement_id = NULL, sales_order_id = NULL
            WHERE statement_id = %s RETURNING id""",
        [statement.pk],
    )
    # A prepaid customer order keeps its sales order, which is not one of this statement.
    rows += fetch(
        """UPDATE retail_transaction SET prepayment_statement_id = NULL
            WHERE prepayment_statement_id = %s RETURNING id""",
        [statement.pk],
    )
    released = [sale_id for (sale_id,) in rows]
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
        state=StatementState.CANCELLED, reason="", message=""
    )


def cancel_open_statement(statement: Statement, reason: str, *, by: Any = None) -> int:
    """Cancel a statement that is not posted, so that its sales can be corrected.

    Effects: the statement and its orders are cancelled, its sales are validated and calculated
    again, and the log says who cancelled it and why. Returns how many sales were released. Errors:
    CancellationRefused.
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
            f"Cancelled, {len(released):,} sales released: {reason}",
            by=by,
            state=StatementState.CANCELLED,
        )
    return len(released)


def cancellation_obstacle(statement: Statement) -> str:
    if statement.state == StatementState.CANCELLED:
        return f"{statement} is already cancelled."
    if statement.state == StatementState.POSTED:
        return f"{statement} is posted and can no longer change."
    return f"The payments of {statement} are already posted: run Post statements to finish it."
