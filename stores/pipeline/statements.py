"""Transactional statements: a channel's sales of one business date, calculated and posted.

A statement moves through its states one commit at a time; a failure names the state and the reason,
and a retry goes on there. Everything a state writes is found again by its unique keys, so no state
does anything twice. A posted statement is frozen; what comes late gets a supplementary one. Source:
domain 2.11, features E.13 to E.18.
"""

from collections.abc import Callable

from django.db.models import F
from django.db.models.functions import Now

from stores.crash import crash_here
from stores.models import Channel, OrderSequence, RunStep, Statement, StatementEvent
from stores.models.run import StepFailed
from stores.models.statement import StatementState
from stores.pipeline.bulk import by_hash, fetch, fetch_one, run_sql, take_numbers
from stores.pipeline.seal import content_hash


class StatementRefused(StepFailed):
    """A state cannot be reached now; the reason says why, and a person or the next run mends it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


# What a business date still has to post: sold, in no statement and no order.
OPEN = """t.statement_id IS NULL AND t.sales_order_id IS NULL
          AND t.transaction_type IN ('sale', 'return') AND t.entry_status = 'concluded'"""
# What may enter a statement: open, validated, not being corrected.
READY = f"""{OPEN} AND t.validation_status = 'successful'
            AND (t.editing_until IS NULL OR t.editing_until < now())"""


def calculate_statements(step: RunStep) -> None:
    """Take all sales that are ready into statements of their business dates and add them up.

    An open statement of the day takes what has come since; after posting a supplementary one does.
    Effects: statements as far as calculated, their sales, tenders and totals.
    """
    channel = step.its_channel
    with step.chunk():
        open_statements(step, channel)
    crash_here("statements:after_start")
    calculating = Statement.objects.of(channel, step.run.business_date).filter(
        state__in=[StatementState.STARTED, StatementState.MARKED]
    )
    for statement in calculating.order_by("business_date", "sequence"):
        advance(step, statement, until=StatementState.CALCULATED)


def post_statements(step: RunStep) -> None:
    """Post the channel's calculated statements, oldest first, each from the state it has.

    One that fails stops neither the others nor the run; the run says that it failed. Effects:
    orders, invoices and payments of the statements' sales. Errors: StatementRefused at the end, if
    one or more could not be posted.
    """
    channel = step.its_channel
    OrderSequence.objects.get_or_create(company=channel.company)
    of_day = Statement.objects.of(channel, step.run.business_date)
    unposted = of_day.open().filter(calculated_at__isnull=False)
    failed = [
        statement
        for statement in unposted.order_by("business_date", "sequence")
        if not advance(step, statement, until=StatementState.POSTED)
    ]
    if failed:
        first = Statement.objects.get(pk=failed[0].pk)
        more = f" And {len(failed) - 1} more." if len(failed) > 1 else ""
        raise StatementRefused(first.reason, f"{first.number}: {first.message}{more}")


def open_statements(step: RunStep, channel: Channel) -> None:
    """Start a statement for each business date with ready sales; one that is calculated takes them.

    A channel that is not on trickle feed waits until the date has ended by its own clock. Effects:
    statements in state started, again for those that get more sales.
    """
    days = fetch(
        f"""SELECT DISTINCT t.business_date
              FROM retail_transaction t JOIN channel h ON h.id = t.channel_id
             WHERE t.channel_id = %s AND t.business_date = coalesce(%s, t.business_date) AND {READY}
               AND (h.statement_mode = 'trickle_feed' OR t.business_date
                    < business_date_of(now(), h.time_zone, h.day_ends_at)) ORDER BY 1""",  # noqa: S608
        [channel.pk, step.run.business_date],
    )
    for (day,) in days:
        known = Statement.objects.filter(channel=channel, business_date=day)
        taking = known.filter(
            state__in=[
                StatementState.STARTED,
                StatementState.MARKED,
                StatementState.CALCULATED,
            ]
        ).first()
        if taking is None and known.open().exists():
            # It is being posted; what is left over follows in the next calculation.
            continue
        if taking is None:
            taking = Statement.objects.create(
                company=channel.company,
                channel=channel,
                business_date=day,
                sequence=known.count() + 1,
            )
            note(step, taking, "Started.")
        elif taking.state != StatementState.STARTED:
            # Posting may have taken it since: then it is too late, and a supplementary one follows.
            as_read = Statement.objects.filter(pk=taking.pk, state=taking.state)
            if as_read.update(state=StatementState.STARTED):
                note(step, taking, "Started again: more sales of the day have come.")


def advance(step: RunStep, statement: Statement, *, until: StatementState) -> bool:
    """Move a statement from state to state, a commit each. False when one refused.

    Effects: the statement, its event log and what each state writes.
    """
    states = list(StatementState)
    for state in states[
        states.index(StatementState(statement.state)) + 1 : states.index(until) + 1
    ]:
        try:
            with step.chunk():
                locked = Statement.objects.select_for_update().get(pk=statement.pk)
                if locked.state != statement.state:
                    return False
                REACH[state](step, locked)
                moved = {"state": state, "reason": "", "message": ""}
                Statement.objects.filter(pk=statement.pk).update(**moved)
                note(step, locked, f"{state.label}.", state=state)
        except StatementRefused as refused:
            with step.chunk():
                Statement.objects.filter(pk=statement.pk).update(
                    reason=refused.reason, message=str(refused), attempts=F("attempts") + 1
                )
                note(step, statement, f"{state.label} was not reached: {refused}")
                step.add(failed=1)
            return False
        crash_here("statements:after_commit")
        statement.state = state
    return True


def note(
    step: RunStep, statement: Statement, text: str, *, state: StatementState | None = None
) -> None:
    """Write one line into the statement's event log."""
    StatementEvent.objects.create(
        statement=statement, state=state or statement.state, text=text[:500], run=step.run
    )


# ------------------------------------------------------------------- the states


def mark(step: RunStep, statement: Statement) -> None:
    """Take the day's ready sales into the statement."""
    marked = run_sql(
        f"""UPDATE retail_transaction t SET statement_id = %(statement)s
             WHERE t.channel_id = %(channel)s AND t.business_date = %(day)s AND {READY}""",  # noqa: S608
        {
            "statement": statement.pk,
            "channel": statement.channel_id,
            "day": statement.business_date,
        },
    )
    step.add(updated=marked)
    crash_here("statements:before_marked")


def calculate(step: RunStep, statement: Statement) -> None:
    """Add up the statement per currency, and per tender and currency."""
    statement.totals.all().delete()
    statement.tenders.all().delete()
    run_sql(
        """INSERT INTO statement_total (statement_id, currency, transactions, net_amount,
                                        tax_amount, gross_amount, discount_amount)
           SELECT statement_id, currency, count(*), sum(net_amount), sum(tax_amount),
                  sum(gross_amount), sum(discount_amount)
             FROM retail_transaction WHERE statement_id = %s GROUP BY 1, 2""",
        [statement.pk],
    )
    run_sql(
        """INSERT INTO statement_tender (statement_id, tender_type, currency, count, amount)
           SELECT t.statement_id, p.tender_type, p.currency, count(*), sum(p.amount)
             FROM retail_transaction t JOIN retail_transaction_payment p ON p.transaction_id = t.id
            WHERE t.statement_id = %s GROUP BY 1, 2, 3""",
        [statement.pk],
    )
    Statement.objects.filter(pk=statement.pk).update(calculated_at=Now())
    crash_here("statements:before_calculated")


def check(step: RunStep, statement: Statement) -> None:
    """Refuse to post what does not add up or names nobody. Errors: StatementRefused."""
    (without_account,) = fetch_one(
        """SELECT count(*) FROM retail_transaction
            WHERE statement_id = %s AND customer_id IS NULL
              AND (async_account IS NOT NULL OR account_number IS NOT NULL)""",
        [statement.pk],
    )
    if without_account:
        raise StatementRefused(
            "customer_unknown", f"{without_account:,} sales name a customer without account."
        )
    (differences,) = fetch_one(
        """SELECT count(*) FROM (
             SELECT currency, count(*), sum(net_amount), sum(tax_amount), sum(gross_amount)
               FROM retail_transaction WHERE statement_id = %(statement)s GROUP BY 1
             EXCEPT
             SELECT currency, transactions, net_amount, tax_amount, gross_amount
               FROM statement_total WHERE statement_id = %(statement)s) differing""",
        {"statement": statement.pk},
    )
    if differences:
        raise StatementRefused("totals_differ", "The totals are not those of its sales.")
    refuse_closed_period(statement)
    crash_here("statements:before_checked")


def refuse_closed_period(statement: Statement) -> None:
    """Keep out of the books of a day that are closed. Errors: StatementRefused."""
    closed_until = statement.channel.company.closed_until
    if closed_until and statement.business_date <= closed_until:
        raise StatementRefused("period_closed", "Its business date lies in a closed period.")


def aggregate(step: RunStep, statement: Statement) -> None:
    """One aggregate for each named customer, one for the default customer, per currency.

    Errors: StatementRefused when sales name nobody and the channel has no default customer.
    """
    unnamed = "statement_id = %(statement)s AND customer_id IS NULL"
    values = {
        "statement": statement.pk,
        "default": statement.channel.default_customer_id,
    }
    (count,) = fetch_one(
        f"SELECT count(*) FROM retail_transaction WHERE {unnamed}",  # noqa: S608
        values,
    )
    if count and statement.channel.default_customer_id is None:
        raise StatementRefused(
            "default_customer_missing", "The channel has no default customer for unnamed sales."
        )
    run_sql(
        f"UPDATE retail_transaction SET customer_id = %(default)s WHERE {unnamed}",  # noqa: S608
        values,
    )
    run_sql(
        """INSERT INTO statement_aggregate (statement_id, customer_id, currency, transactions,
                                            net_amount, tax_amount, gross_amount, discount_amount)
           SELECT statement_id, customer_id, currency, count(*), sum(net_amount), sum(tax_amount),
                  sum(gross_amount), sum(discount_amount)
             FROM retail_transaction WHERE statement_id = %(statement)s
            GROUP BY 1, 2, 3 ORDER BY 2, 3""",
        values,
    )
    crash_here("statements:before_aggregated")


def create_orders(step: RunStep, statement: Statement) -> None:
    """One sales order for each aggregate that has none yet. Errors: StatementRefused."""
    values = {"statement": statement.pk, "run": str(step.run_id)}
    run_sql(
        """UPDATE statement_aggregate a
              SET state = CASE WHEN k.state = 'active' THEN 'waiting' ELSE 'failed' END,
                  reason = CASE WHEN k.state = 'active' THEN '' ELSE 'customer_not_active' END
             FROM customer k
            WHERE a.statement_id = %(statement)s AND a.sales_order_id IS NULL
              AND k.id = a.customer_id""",
        values,
    )
    (waiting, failed) = fetch_one(
        """SELECT count(*) FILTER (WHERE state = 'waiting'),
                  count(*) FILTER (WHERE state = 'failed')
             FROM statement_aggregate WHERE statement_id = %(statement)s""",
        values,
    )
    if failed:
        raise StatementRefused(
            "customer_not_active", f"{failed:,} customers' accounts are not active any more."
        )
    first = take_numbers("order_sequence", "next_order", statement.company_id, waiting)
    with by_hash():
        run_sql(
            """WITH made AS (
                 INSERT INTO sales_order (company_id, channel_id, number, statement_id, customer_id,
                        business_date, currency, net_amount, tax_amount, gross_amount,
                        discount_amount, run_id)
                 SELECT s.company_id, s.channel_id,
                        account_text(q.order_format,
                                     %(first)s - 1 + row_number() OVER (ORDER BY a.id)),
                        s.id, a.customer_id, s.business_date, a.currency, a.net_amount,
                        a.tax_amount, a.gross_amount, a.discount_amount, %(run)s
                   FROM statement_aggregate a JOIN statement s ON s.id = a.statement_id
                   JOIN order_sequence q ON q.company_id = s.company_id
                  WHERE a.statement_id = %(statement)s AND a.state = 'waiting' ORDER BY a.id
                 RETURNING id, customer_id, currency)
               UPDATE statement_aggregate a SET state = 'ordered', sales_order_id = made.id
                 FROM made
                WHERE a.statement_id = %(statement)s AND a.customer_id = made.customer_id
                  AND a.currency = made.currency""",
            values | {"first": first},
        )
        run_sql(
            """UPDATE retail_transaction t SET sales_order_id = a.sales_order_id
                 FROM statement_aggregate a
                WHERE t.statement_id = %(statement)s AND a.statement_id = t.statement_id
                  AND a.customer_id = t.customer_id AND a.currency = t.currency""",
            values,
        )
    crash_here("statements:before_orders_created")


def invoice(step: RunStep, statement: Statement) -> None:
    """Give each order of the statement its invoice number. Errors: StatementRefused.

    Between two runs people may have closed the period.
    """
    refuse_closed_period(statement)
    values = {"statement": statement.pk, "company": statement.company_id}
    (orders,) = fetch_one(
        """SELECT count(*) FROM sales_order
            WHERE statement_id = %(statement)s AND invoice_number IS NULL""",
        values,
    )
    first = take_numbers("order_sequence", "next_invoice", statement.company_id, orders)
    run_sql(
        """UPDATE sales_order o SET state = 'invoiced', invoiced_at = now(),
                  invoice_number = account_text(q.invoice_format, %(first)s - 1 + n.place)
             FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM sales_order
                    WHERE statement_id = %(statement)s AND invoice_number IS NULL) n,
                  order_sequence q
            WHERE o.id = n.id AND q.company_id = o.company_id""",
        values | {"first": first},
    )
    crash_here("statements:before_invoiced")


def post_payments(step: RunStep, statement: Statement) -> None:
    """Post what each order was paid with, per tender and currency. Errors: StatementRefused."""
    refuse_closed_period(statement)
    run_sql(
        """INSERT INTO posted_payment (sales_order_id, tender_type, currency, count, amount)
           SELECT t.sales_order_id, p.tender_type, p.currency, count(*), sum(p.amount)
             FROM retail_transaction t JOIN retail_transaction_payment p ON p.transaction_id = t.id
            WHERE t.statement_id = %s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
        [statement.pk],
    )
    crash_here("statements:before_payments_posted")


def seal(step: RunStep, statement: Statement) -> None:
    """Freeze the statement with a hash over all its rows; only now are its sales posted."""
    run_sql(
        f"""UPDATE statement SET posted_at = now(), content_hash = ({content_hash("%(statement)s")})
             WHERE id = %(statement)s""",  # noqa: S608
        {"statement": statement.pk},
    )
    step.add(posted=statement.transactions.count())
    crash_here("statements:before_posted")


REACH: dict[StatementState, Callable[[RunStep, Statement], None]] = {
    StatementState.MARKED: mark,
    StatementState.CALCULATED: calculate,
    StatementState.CHECKED: check,
    StatementState.AGGREGATED: aggregate,
    StatementState.ORDERS_CREATED: create_orders,
    StatementState.INVOICED: invoice,
    StatementState.PAYMENTS_POSTED: post_payments,
    StatementState.POSTED: seal,
}
