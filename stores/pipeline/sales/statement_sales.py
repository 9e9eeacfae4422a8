"""Which sales a statement has: how they come into it, and how they leave one that is not posted."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from stores.hqdb.sql import fetch, run_sql
from stores.models import Statement, StatementEvent
from stores.models.statement import StatementState
from stores.models.transaction import BEING_CORRECTED

# What a business date still has to post: sold, in no statement and no order; and what was paid for
# orders, in no statement.
OPEN_SALE_CONDITION = """t.statement_id IS NULL AND t.sales_order_id IS NULL
          AND t.transaction_type IN ('sale', 'return') AND t.entry_status = 'concluded'"""
OPEN_PREPAYMENT_CONDITION = """t.prepayment_statement_id IS NULL
             AND t.transaction_type = 'customer_order'
             AND t.payment_amount <> 0 AND t.entry_status = 'concluded'"""
# Each by its own index.
OPEN_DOCUMENTS = f"""(SELECT t.* FROM retail_transaction t WHERE {OPEN_SALE_CONDITION}
             UNION ALL
            SELECT t.* FROM retail_transaction t WHERE {OPEN_PREPAYMENT_CONDITION})"""  # noqa: S608 - our own names
# What of it may enter a statement: validated, not taken out of one, not being corrected.
READY_CONDITION = f"""t.validation_status = 'successful'
           AND NOT EXISTS (SELECT FROM transaction_error e WHERE e.transaction_id = t.id)
           AND NOT {BEING_CORRECTED}"""
# Where sales name their statement, and orders the one with their payments: which are open, and
# which are meant where all documents are named.
STATEMENT_COLUMNS = (
    ("statement_id", OPEN_SALE_CONDITION, "t.transaction_type <> 'customer_order'"),
    ("prepayment_statement_id", OPEN_PREPAYMENT_CONDITION, "t.transaction_type = 'customer_order'"),
)
# The documents in a statement, and whether it is for their payments alone.
IN_STATEMENT = """(SELECT id, customer_id, false AS is_prepaid FROM retail_transaction
                    WHERE statement_id = %(statement)s
                    UNION ALL
                   SELECT id, customer_id, true FROM retail_transaction
                    WHERE prepayment_statement_id = %(statement)s)"""
OF_ITS_DAY = "t.channel_id = %(channel)s AND t.business_date = %(day)s"


class NotCancelled(Exception):
    """The statement cannot be cancelled now; the message says why."""


def of_its_day(statement: Statement) -> dict[str, Any]:
    """The values of a query for the sales of a statement's channel and business date."""
    return {
        "statement": statement.pk,
        "channel": statement.channel_id,
        "day": statement.business_date,
    }


def add_ready_sales(statement: Statement) -> int:
    """Take the day's ready sales, and what was paid for orders, into a statement. Returns how many.

    An order is in it with its payments alone.
    """
    return sum(
        run_sql(
            f"""UPDATE retail_transaction t SET {column} = %(statement)s
                 WHERE {OF_ITS_DAY} AND {is_open} AND {READY_CONDITION}""",  # noqa: S608 - our own conditions
            of_its_day(statement),
        )
        for column, is_open, _ in STATEMENT_COLUMNS
    )


def add_sales(statement: Statement, sales: Sequence[int]) -> None:
    """Take these sales, and what was paid for these orders, into a statement."""
    for column, _, is_meant in STATEMENT_COLUMNS:
        run_sql(
            f"""UPDATE retail_transaction t SET {column} = %s
                 WHERE id = ANY(%s) AND {is_meant}""",  # noqa: S608 - our own names
            [statement.pk, list(sales)],
        )


def sales_of(statement: Statement) -> list[int]:
    """The documents in a statement; of one that is only started also those that are ready."""
    ready = f"UNION SELECT t.id FROM {OPEN_DOCUMENTS} t WHERE {OF_ITS_DAY} AND {READY_CONDITION}"  # noqa: S608
    rows = fetch(
        f"""SELECT t.id FROM {IN_STATEMENT} t
            {ready if statement.state == StatementState.STARTED else ""} ORDER BY 1""",  # noqa: S608
        of_its_day(statement),
    )
    return [sale for (sale,) in rows]


def release_sales(statement: Statement) -> None:
    """Have a statement as it was before its first state: without sales, its orders cancelled.

    Effects: totals, tenders and aggregates go; orders keep their numbers, and say that they count
    no more. In the caller's transaction, which holds the statement.
    """
    statement.aggregates.all().delete()
    statement.totals.all().delete()
    statement.tenders.all().delete()
    run_sql(
        """UPDATE sales_order SET state = 'cancelled'
            WHERE statement_id = %s AND state <> 'cancelled'""",
        [statement.pk],
    )
    freed = fetch(
        """UPDATE retail_transaction SET statement_id = NULL, sales_order_id = NULL
            WHERE statement_id = %s RETURNING id""",
        [statement.pk],
    )
    # The order that was made of a document stays; it is none of this statement's.
    freed += fetch(
        """UPDATE retail_transaction SET prepayment_statement_id = NULL
            WHERE prepayment_statement_id = %s RETURNING id""",
        [statement.pk],
    )
    # Whom a guest's sale is for is decided when it is posted.
    run_sql(
        """UPDATE retail_transaction SET customer_id = NULL
            WHERE id = ANY(%s) AND customer_id IS NOT NULL AND sales_order_id IS NULL
              AND async_account IS NULL AND account_number IS NULL""",
        [[sale for (sale,) in freed]],
    )


def end_cancelled(statement: Statement) -> None:
    ended = {"state": StatementState.CANCELLED, "reason": "", "message": ""}
    Statement.objects.filter(pk=statement.pk).update(**ended)


def cancel_open_statement(statement: Statement, reason: str, *, by: Any = None) -> int:
    """Give the sales of a statement that is not posted back, to be validated and calculated anew.

    Whatever keeps the day from being posted can then be mended in its sales. Effects: the
    statement is cancelled, its orders with it, its sales are as they arrived; one event says who
    and why. Returns how many sales were freed. Errors: NotCancelled.
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
            # Of an order that is made nothing is validated any more.
            """UPDATE retail_transaction SET validation_status = 'none', validated_at = NULL
                WHERE id = ANY(%s) AND sales_order_id IS NULL""",
            [sales],
        )
        end_cancelled(locked)
        StatementEvent.objects.create(
            statement=locked,
            state=StatementState.CANCELLED,
            text=f"Cancelled, {len(sales):,} sales released: {reason}"[:500],
            user=by,
        )
    return len(sales)


def cancellation_obstacle(statement: Statement) -> str:
    if statement.state == StatementState.CANCELLED:
        return f"{statement} is already cancelled."
    if statement.state == StatementState.POSTED:
        return f"{statement} is posted and can no longer change."
    return f"The payments of {statement} are already posted: run Post statements to finish it."
