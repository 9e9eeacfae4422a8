"""The sales and prepayments of a statement: how they enter it, and how they are released."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from stores.hqdb.sql import fetch, run_sql
from stores.models import Statement
from stores.models.statement import StatementState
from stores.models.transaction import BEING_CORRECTED

# SQL conditions on transaction t: a sale or return that is in no statement and no order, and a
# customer order with payments that are in no statement.
OPEN_SALE_CONDITION = """t.statement_id IS NULL AND t.sales_order_id IS NULL
          AND t.transaction_type IN ('sale', 'return') AND t.entry_status = 'concluded'"""
OPEN_PREPAYMENT_CONDITION = """t.prepayment_statement_id IS NULL
             AND t.transaction_type = 'customer_order'
             AND t.payment_amount <> 0 AND t.entry_status = 'concluded'"""
# All transactions that a business date still has to post. Each branch uses its own index.
OPEN_DOCUMENTS = f"""(SELECT t.* FROM retail_transaction t WHERE {OPEN_SALE_CONDITION}
             UNION ALL
            SELECT t.* FROM retail_transaction t WHERE {OPEN_PREPAYMENT_CONDITION})"""  # noqa: S608 - our own names
# SQL condition: t may enter a statement. A sale that was removed from one has an error.
READY_CONDITION = f"""t.validation_status = 'successful'
           AND NOT EXISTS (SELECT FROM transaction_error e WHERE e.transaction_id = t.id)
           AND NOT {BEING_CORRECTED}"""
# The columns that refer to a statement, each with the condition for an open transaction, and for
# the type of transaction that has this column.
STATEMENT_COLUMNS = (
    ("statement_id", OPEN_SALE_CONDITION, "t.transaction_type <> 'customer_order'"),
    ("prepayment_statement_id", OPEN_PREPAYMENT_CONDITION, "t.transaction_type = 'customer_order'"),
)
# The transactions in a statement. Of those that are prepaid, it has only the payments.
IN_STATEMENT = """(SELECT id, customer_id, false AS is_prepaid FROM retail_transaction
                    WHERE statement_id = %(statement)s
                    UNION ALL
                   SELECT id, customer_id, true FROM retail_transaction
                    WHERE prepayment_statement_id = %(statement)s)"""
OF_ITS_DAY = "t.channel_id = %(channel)s AND t.business_date = %(day)s"


class NotCancelled(Exception):
    """The statement cannot be cancelled. The message says why."""


def of_its_day(statement: Statement) -> dict[str, Any]:
    """The parameters of queries with OF_ITS_DAY or IN_STATEMENT."""
    return {
        "statement": statement.pk,
        "channel": statement.channel_id,
        "day": statement.business_date,
    }


def add_ready_sales(statement: Statement) -> int:
    """Take the ready sales and prepayments of the day into a statement. Returns how many."""
    added = 0
    for column, is_open, _ in STATEMENT_COLUMNS:
        added += run_sql(
            f"""UPDATE retail_transaction t SET {column} = %(statement)s
                 WHERE {OF_ITS_DAY} AND {is_open} AND {READY_CONDITION}""",  # noqa: S608 - our own conditions
            of_its_day(statement),
        )
    return added


def add_sales(statement: Statement, sales: Sequence[int]) -> None:
    """Take these sales, and the prepayments of these customer orders, into a statement."""
    for column, _, has_type in STATEMENT_COLUMNS:
        run_sql(
            f"""UPDATE retail_transaction t SET {column} = %s
                 WHERE id = ANY(%s) AND {has_type}""",  # noqa: S608 - our own names
            [statement.pk, list(sales)],
        )


def sales_of(statement: Statement) -> list[int]:
    """The ids of the transactions in a statement; also of those that it takes next if it is new."""
    query = f"SELECT t.id FROM {IN_STATEMENT} t"  # noqa: S608 - our own names
    if statement.state == StatementState.STARTED:
        query += f""" UNION
            SELECT t.id FROM {OPEN_DOCUMENTS} t WHERE {OF_ITS_DAY} AND {READY_CONDITION}"""  # noqa: S608
    return [sale for (sale,) in fetch(f"{query} ORDER BY id", of_its_day(statement))]


def release_sales(statement: Statement) -> None:
    """Remove all sales from a statement, and cancel its orders.

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
    released = fetch(
        """UPDATE retail_transaction SET statement_id = NULL, sales_order_id = NULL
            WHERE statement_id = %s RETURNING id""",
        [statement.pk],
    )
    # A prepaid customer order keeps its sales order, which is not one of this statement.
    released += fetch(
        """UPDATE retail_transaction SET prepayment_statement_id = NULL
            WHERE prepayment_statement_id = %s RETURNING id""",
        [statement.pk],
    )
    # An anonymous sale gets the default customer that the channel has when it is posted.
    run_sql(
        """UPDATE retail_transaction SET customer_id = NULL
            WHERE id = ANY(%s) AND customer_id IS NOT NULL AND sales_order_id IS NULL
              AND async_account IS NULL AND account_number IS NULL""",
        [[sale for (sale,) in released]],
    )


def end_cancelled(statement: Statement) -> None:
    """Set the state of a statement without sales to cancelled."""
    Statement.objects.filter(pk=statement.pk).update(
        state=StatementState.CANCELLED, reason="", message=""
    )


def cancel_open_statement(statement: Statement, reason: str, *, by: Any = None) -> int:
    """Cancel a statement that is not posted, so that its sales can be corrected.

    Effects: the statement and its orders are cancelled, its sales are validated and calculated
    again, and the log says who cancelled it and why. Returns how many sales were released. Errors:
    NotCancelled.
    """
    with transaction.atomic():
        locked = Statement.objects.select_for_update().get(pk=statement.pk)
        if not locked.can_be_cancelled:
            raise NotCancelled(cancellation_obstacle(locked))
        sales = [
            *locked.transactions.values_list("pk", flat=True),
            *locked.prepaid_orders.values_list("pk", flat=True),
        ]
        release_sales(locked)
        run_sql(
            # A prepaid customer order that has its sales order stays validated.
            """UPDATE retail_transaction SET validation_status = 'none', validated_at = NULL
                WHERE id = ANY(%s) AND sales_order_id IS NULL""",
            [sales],
        )
        end_cancelled(locked)
        locked.log(
            f"Cancelled, {len(sales):,} sales released: {reason}",
            by=by,
            state=StatementState.CANCELLED,
        )
    return len(sales)


def cancellation_obstacle(statement: Statement) -> str:
    """Why a statement cannot be cancelled."""
    if statement.state == StatementState.CANCELLED:
        return f"{statement} is already cancelled."
    if statement.state == StatementState.POSTED:
        return f"{statement} is posted and can no longer change."
    return f"The payments of {statement} are already posted: run Post statements to finish it."
