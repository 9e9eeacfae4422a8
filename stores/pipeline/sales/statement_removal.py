"""Remove the sales from a statement that the database refuses to calculate or to post.

Which sales these are is found by trial: sales are taken through all states of a statement that come
before posted, in a transaction that is rolled back.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from django.db import connection, transaction
from psycopg2.errorcodes import NUMERIC_VALUE_OUT_OF_RANGE

from stores.failpoints import failpoint
from stores.hqdb.retry import sqlstate_of
from stores.messages.message import EMPTY, Message, because, join
from stores.models import OrderSequence, RunStep, Statement
from stores.models.statement import NOT_CALCULATED, StatementState
from stores.pipeline.sales.refused import Refusal, process_together, record_refusals, too_large
from stores.pipeline.sales.statement_sales import (
    add_sales,
    mark_cancelled,
    release_sales,
    sales_to_try,
)
from stores.pipeline.sales.statement_states import STATE_ACTIONS, StatementRefused, reach


class TrialEnded(Exception):
    """A trial has ended, and its transaction is rolled back."""


def remove_refused(step: RunStep, statement: Statement, error: Exception) -> Statement | None:
    """Remove the sales that cause an error of the database, so that the others can be posted.

    Return the statement with the other sales. If the statement already had orders, it is cancelled
    with its orders, and a new statement takes its place. Return None if no sale is the cause, or if
    the statement cannot be cancelled any more.
    """
    with suppress(TrialEnded), step.chunk():
        locked = Statement.objects.select_for_update().get(pk=statement.pk)
        if locked.state != statement.state or not locked.can_be_cancelled:
            return None
        sales = sales_to_try(locked)
        has_orders = locked.sales_orders.exists()
        release_sales(locked)
        if has_orders:
            mark_cancelled(locked)
            continued = Statement.objects.start(locked.channel, locked.business_date)
        else:
            continued = locked
        accepted, refusals = find_refused(step, continued, sales, error)
        if not refusals:
            # No sale is the cause. The exception rolls back that they were released.
            raise TrialEnded
        record_refusals(refusals)
        removed = len(sales) - len(accepted)
        step.add(failed=removed)
        why = refusal_message(refusals)
        locked.log(Message("sales_removed", count=removed, why=why), run=step.run)
        if accepted:
            add_sales(continued, accepted)
            Statement.objects.filter(pk=continued.pk).update(
                state=StatementState.MARKED, reason=NOT_CALCULATED, message=EMPTY
            )
            if has_orders:
                replaces = Message("statement_replaces", statement=locked.number)
                continued.log(replaces, run=step.run)
        else:
            mark_cancelled(continued)
        continued.refresh_from_db()
        failpoint("statements:before_taken_out")
        return continued
    return None


def find_refused(
    step: RunStep, statement: Statement, sales: Sequence[int], error: Exception
) -> tuple[list[int], list[Refusal]]:
    """Find the sales that cause the error. Return the other sales, and the errors of these."""
    # A trial makes sales orders, although the run may only calculate.
    OrderSequence.objects.get_or_create(company=statement.company)
    is_overflow = sqlstate_of(error) == NUMERIC_VALUE_OUT_OF_RANGE
    overflows = too_large(sales) if is_overflow else []
    overflowing = {refusal.sale for refusal in overflows}
    rest = [sale for sale in sales if sale not in overflowing]
    accepted, refusals = process_together(partial(try_all_states, step, statement), rest)
    return accepted, [*overflows, *refusals]


def try_all_states(step: RunStep, statement: Statement, sales: Sequence[int]) -> None:
    """Take sales through all states before posted, and roll back. Raise the database's errors."""
    with suppress(TrialEnded, StatementRefused), step.counts_restored(), transaction.atomic():
        add_sales(statement, sales)
        for state in STATE_ACTIONS:
            if state not in (StatementState.MARKED, StatementState.POSTED):
                reach(step, statement, state)
        connection.check_constraints()
        raise TrialEnded


def refusal_message(refusals: Sequence[Refusal]) -> Message:
    """Return one sentence for each different cause."""
    causes = [because(refusal.rule, refusal.field) for refusal in refusals]
    return join(list(dict.fromkeys(causes)))
