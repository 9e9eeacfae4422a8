"""Transactional statements: a channel's sales of one business date, calculated and posted.

What customer orders were paid on that date is in it too, as prepayments: it is in the drawer,
whether or not the sales order is there. A statement moves through its states one commit at a time;
a failure names the state and the reason, and a retry goes on there. Everything a state writes is
found again by its unique keys, so no state does anything twice. A posted statement is frozen; what
comes late gets a supplementary one. Source: domain 2.11, features E.13 to E.18.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from functools import partial

import psycopg2
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from psycopg2.errorcodes import NUMERIC_VALUE_OUT_OF_RANGE

from stores.failpoints import failpoint
from stores.hqdb.files import load
from stores.hqdb.retry import bisect_rows, describe_error, is_data_error, sqlstate_of
from stores.hqdb.sql import fetch, fetch_one, prefer_hash_joins, reserve_numbers, run_sql
from stores.models import Channel, OrderSequence, RunStep, Statement, StatementEvent
from stores.models.channel import StatementMode, database_knows_zone
from stores.models.labels import label
from stores.models.reason import explain
from stores.models.run import StepFailed
from stores.models.statement import NOT_CALCULATED, NOT_POSTED, StatementQuerySet, StatementState
from stores.pipeline import number_journal
from stores.pipeline.convert.balance import count_sales
from stores.pipeline.issuing import require_posting
from stores.pipeline.sales.refused import Refusal, process_together, record_refusals, too_large
from stores.pipeline.sales.statement_hash import statement_hash
from stores.pipeline.sales.statement_sales import (
    IN_STATEMENT,
    OPEN_DOCUMENTS,
    READY_CONDITION,
    add_ready_sales,
    add_sales,
    end_cancelled,
    release_sales,
    sales_of,
)

FREEZE_STATEMENT = load(__file__, "freeze_statement").format(
    content_hash=statement_hash("%(statement)s")
)
DAY_HAS_ENDED = "t.business_date < business_date_of(now(), h.time_zone, h.day_ends_at)"
CUSTOMER_NOT_ACTIVE = "customer_not_active"


class StatementRefused(StepFailed):
    """A state cannot be reached now; the reason says why, and a person or the next run mends it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def calculate_statements(step: RunStep, channel: Channel) -> None:
    """Take all sales that are ready into statements of their business dates and add them up.

    An open statement of the day takes what has come since; after posting a supplementary one does.
    Effects: statements as far as calculated, their sales, tenders and totals. Errors: StepFailed at
    the end, if one or more could not be calculated, or nobody can tell which days have ended.
    """
    knows_days = takes_all_day(channel) or database_knows_zone(channel.time_zone)
    with step.chunk():
        refused = start_statements(step, channel) if knows_days else {}
    failpoint("statements:after_start")
    calculating = Statement.objects.of(channel, step.run.business_date).filter(
        state__in=[StatementState.STARTED, StatementState.MARKED]
    )
    advance_all(step, channel, calculating, until=StatementState.CALCULATED)
    for day, message in refused.items():
        sentence = explain("statement_refused", None)
        raise StatementRefused("statement_refused", f"{channel.code} {day}: {sentence} ({message})")
    if not knows_days:
        raise StepFailed(
            f"{channel.code}: headquarters' database does not know its time zone "
            f"{channel.time_zone}, so its business days cannot end. Choose another time"
            " zone in the channel's settings."
        )


def post_statements(step: RunStep, channel: Channel) -> None:
    """Post the channel's calculated statements, oldest first, each from the state it has.

    One that fails stops neither the others nor the run; the run says that it failed. Effects:
    orders, invoices and payments of the statements' sales, their numbers in the journal. Errors:
    StatementRefused at the end, if one or more could not be posted; StepFailed while HQ may have
    forgotten what it posted.
    """
    OrderSequence.objects.get_or_create(company=channel.company)
    of_day = Statement.objects.of(channel, step.run.business_date)
    unposted = of_day.open().filter(calculated_at__isnull=False)
    if unposted.exists() and not step.is_dry:
        require_posting()
    advance_all(step, channel, unposted, until=StatementState.POSTED)


def advance_all(
    step: RunStep, channel: Channel, statements: StatementQuerySet, *, until: StatementState
) -> None:
    """Move statements on, oldest first, each as far as it goes.

    Errors: StatementRefused at the end, if something stands in the way of one or more.
    """
    ends = []
    for statement in statements.order_by("business_date", "sequence"):
        ends.append(advance(step, statement, until=until))
        if until == StatementState.POSTED and not step.is_dry:
            number_journal.append_missing()
    if step.counts.get("posted"):
        with step.chunk():
            count_sales(channel)
    # What another run has moved on meanwhile, or a person has cancelled, did not fail.
    obstacle = Statement.objects.stuck().filter(pk__in=[end.pk for end in ends if end])
    if failed := list(obstacle.order_by("business_date", "sequence")):
        more = f" And {len(failed) - 1} more." if len(failed) > 1 else ""
        raise StatementRefused(failed[0].reason, f"{failed[0].number}: {failed[0].message}{more}")


def takes_all_day(channel: Channel) -> bool:
    """Whether its sales enter a statement before their business date has ended."""
    return channel.statement_mode == StatementMode.TRICKLE_FEED


def start_statements(step: RunStep, channel: Channel) -> dict[date, str]:
    """Start a statement for each business date with ready sales; one that is calculated takes them.

    A channel that is not on trickle feed waits until the date has ended by its own clock. Effects:
    statements in state started, again for those that get more sales. Returns the dates whose
    statement the database refuses, with what it said.
    """
    has_ended = "true" if takes_all_day(channel) else DAY_HAS_ENDED
    rows = fetch(
        f"""SELECT DISTINCT t.business_date
              FROM {OPEN_DOCUMENTS} t JOIN channel h ON h.id = t.channel_id
             WHERE t.channel_id = %s AND t.business_date = coalesce(%s, t.business_date)
                AND {READY_CONDITION}
               AND {has_ended} ORDER BY 1""",  # noqa: S608
        [channel.pk, step.run.business_date],
    )
    days = [day for (day,) in rows]

    def start_days(selected: Sequence[date] | None) -> None:
        for day in days if selected is None else selected:
            start_day(step, channel, day)

    return bisect_rows(start_days, lambda: days)[1] if days else {}


def start_day(step: RunStep, channel: Channel, day: date) -> None:
    """Start a statement of a day, or have one that is not posted yet take more sales."""
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
        return
    if taking is None:
        log_event(step, start_statement(channel, day), "Started.")
    elif taking.state != StatementState.STARTED:
        # Posting may have taken it since: then it is too late, and a supplementary one follows.
        as_read = Statement.objects.filter(pk=taking.pk, state=taking.state)
        if as_read.update(state=StatementState.STARTED, reason=NOT_CALCULATED, message=""):
            log_event(step, taking, "Restarted: more sales of the day have arrived.")


def start_statement(channel: Channel, day: date) -> Statement:
    """The next statement of a channel's business date, without sales."""
    before = Statement.objects.filter(channel=channel, business_date=day)
    return Statement.objects.create(
        company=channel.company, channel=channel, business_date=day, sequence=before.count() + 1
    )


def advance(step: RunStep, statement: Statement, *, until: StatementState) -> Statement | None:
    """Move a statement from state to state, a commit each. Returns it if it did not come there.

    Sales of which the database refuses what comes of them are taken out, and the rest goes on.
    Effects: the statement, its event log and what each state writes.
    """
    while (state := following(statement, until)) is not None:
        try:
            with step.chunk():
                locked = Statement.objects.select_for_update().get(pk=statement.pk)
                if locked.state != statement.state:
                    return statement
                reach(step, locked, state)
                log_event(step, locked, f"{state.label}.", state=state)
        except StatementRefused as refused:
            record_obstacle(step, statement, state, refused.reason, str(refused))
            return statement
        except (DatabaseError, psycopg2.Error) as error:
            if not is_data_error(error):
                raise
            rest = remove_refused(step, statement, error)
            if rest is None:
                sentence = explain("statement_refused", None)
                message = f"{sentence} ({describe_error(error)})"
                record_obstacle(step, statement, state, "statement_refused", message)
                return statement
            failpoint("statements:after_taken_out")
            statement = rest
            continue
        failpoint("statements:after_commit")
        statement.state = state
    return None


def following(statement: Statement, until: StatementState) -> StatementState | None:
    """The next state on the way to one, None once it is reached or where there is no way."""
    if not statement.is_open:
        return None
    states = [StatementState.STARTED, *STATE_ACTIONS]
    place = states.index(StatementState(statement.state)) + 1
    return states[place] if place <= states.index(until) else None


def reach(step: RunStep, statement: Statement, state: StatementState) -> None:
    """Do what makes a state, and write that it is reached; in the caller's transaction."""
    STATE_ACTIONS[state](step, statement)
    is_added_up = state != StatementState.MARKED
    waits_for = NOT_POSTED if is_added_up else NOT_CALCULATED
    Statement.objects.filter(pk=statement.pk).update(
        state=state, reason="" if state == StatementState.POSTED else waits_for, message=""
    )


def record_obstacle(
    step: RunStep, statement: Statement, state: StatementState, reason: str, message: str
) -> None:
    """Keep why a statement did not reach its next state, unless another run has moved it on."""
    with step.chunk():
        as_read = Statement.objects.filter(pk=statement.pk, state=statement.state)
        if as_read.update(reason=reason, message=message[:500], attempts=F("attempts") + 1):
            if reason == CUSTOMER_NOT_ACTIVE:
                # What the state wrote is undone; whose orders failed is listed all the same.
                judge_aggregates(statement)
            log_event(step, statement, f"{state.label} was not reached: {message}")
            step.add(failed=1)
            failpoint("statements:before_stopped")


class TrialEnded(Exception):
    """A trial came to its end: everything in it is undone."""


def remove_refused(step: RunStep, statement: Statement, error: Exception) -> Statement | None:
    """Take those sales out of a statement of which the database refuses what comes of them.

    They are in error, and whoever corrects them has them posted by the next run. Returns the
    statement that goes on with the rest: a new one where orders with numbers were made already,
    which are cancelled with the old one. None when no sale is the cause, or it is too late.
    """
    with suppress(TrialEnded), step.chunk():
        locked = Statement.objects.select_for_update().get(pk=statement.pk)
        if locked.state != statement.state or not locked.can_be_cancelled:
            return None
        # What is tried goes on to the orders, which calculation has not come to yet.
        OrderSequence.objects.get_or_create(company=locked.company)
        sales = sales_of(locked)
        numbered = locked.sales_orders.exists()
        release_sales(locked)
        if numbered:
            end_cancelled(locked)
            going_on = start_statement(locked.channel, locked.business_date)
        else:
            going_on = locked
        refusals = too_large(sales) if sqlstate_of(error) == NUMERIC_VALUE_OUT_OF_RANGE else []
        large = {refusal.sale for refusal in refusals}
        rest = [sale for sale in sales if sale not in large]
        rest, more = process_together(partial(try_all, step, going_on), rest)
        refusals += more
        if not refusals:
            raise TrialEnded
        record_refusals(refusals)
        taken_out = len(sales) - len(rest)
        step.add(failed=taken_out)
        log_event(step, locked, f"{taken_out:,} sales were removed: {refusal_message(refusals)}")
        if rest:
            add_sales(going_on, rest)
            marked = {"state": StatementState.MARKED, "reason": NOT_CALCULATED, "message": ""}
            Statement.objects.filter(pk=going_on.pk).update(**marked)
            if numbered:
                log_event(step, going_on, f"Created in place of {locked.number}.")
        else:
            end_cancelled(going_on)
        going_on.refresh_from_db()
        failpoint("statements:before_taken_out")
        return going_on
    return None


def refusal_message(refusals: Sequence[Refusal]) -> str:
    """The sentences of what sales were refused for, each once."""
    return " ".join(
        dict.fromkeys(explain(refusal.rule, label(refusal.field)) for refusal in refusals)
    )


def try_all(step: RunStep, statement: Statement, sales: Sequence[int]) -> None:
    """Take sales through every state up to posted, and undo it. Errors: the database's own."""
    with suppress(TrialEnded, StatementRefused), step.counts_restored(), transaction.atomic():
        add_sales(statement, sales)
        for state in STATE_ACTIONS:
            if state not in (StatementState.MARKED, StatementState.POSTED):
                reach(step, statement, state)
        connection.check_constraints()
        raise TrialEnded


def log_event(
    step: RunStep, statement: Statement, text: str, *, state: StatementState | None = None
) -> None:
    StatementEvent.objects.create(
        statement=statement, state=state or statement.state, text=text[:500], run=step.run
    )


# ------------------------------------------------------------------- the states


def mark_sales(step: RunStep, statement: Statement) -> None:
    """Take the day's ready sales into the statement, and what was paid for orders."""
    step.add(updated=add_ready_sales(statement))
    failpoint("statements:before_marked")


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
        f"""INSERT INTO statement_tender (statement_id, tender_type, currency, count, amount,
                                          prepaid_amount)
            SELECT %(statement)s, p.tender_type, p.currency, count(*), sum(p.amount),
                   coalesce(sum(p.amount) FILTER (WHERE t.is_prepaid), 0)
              FROM {IN_STATEMENT} t JOIN retail_transaction_payment p ON p.transaction_id = t.id
             GROUP BY 2, 3""",  # noqa: S608 - our own names
        {"statement": statement.pk},
    )
    Statement.objects.filter(pk=statement.pk).update(calculated_at=Now())
    failpoint("statements:before_calculated")


def check_totals(step: RunStep, statement: Statement) -> None:
    """Refuse to post what does not add up or names nobody. Errors: StatementRefused."""
    (without_account,) = fetch_one(
        f"""SELECT count(*) FROM {IN_STATEMENT} held JOIN retail_transaction t USING (id)
             WHERE t.customer_id IS NULL
               AND (t.async_account IS NOT NULL OR t.account_number IS NOT NULL)""",  # noqa: S608
        {"statement": statement.pk},
    )
    if without_account:
        raise StatementRefused(
            "customer_unknown", f"{without_account:,} sales have a customer without an account."
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
        raise StatementRefused("totals_differ", "The totals do not match its sales.")
    refuse_closed_period(statement)
    failpoint("statements:before_checked")


def refuse_closed_period(statement: Statement) -> None:
    """Keep out of the books of a day that are closed. Errors: StatementRefused."""
    closed_until = statement.channel.company.closed_until
    if closed_until and statement.business_date <= closed_until:
        raise StatementRefused("period_closed", "Its business date is in a closed period.")


def aggregate(step: RunStep, statement: Statement) -> None:
    """One aggregate for each named customer, one for the default customer, per currency.

    Errors: StatementRefused when sales name nobody and the channel has no default customer.
    """
    unnamed = f"id IN (SELECT id FROM {IN_STATEMENT} t WHERE customer_id IS NULL)"  # noqa: S608
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
            "default_customer_missing", "The channel has no default customer for anonymous sales."
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
    failpoint("statements:before_aggregated")


def judge_aggregates(statement: Statement) -> tuple[int, int]:
    """Say of each aggregate without order whether it can become one: how many can, how many not."""
    values = {"statement": statement.pk, "reason": CUSTOMER_NOT_ACTIVE}
    run_sql(
        """UPDATE statement_aggregate a
              SET state = CASE WHEN k.state = 'active' THEN 'waiting' ELSE 'failed' END,
                  reason = CASE WHEN k.state = 'active' THEN '' ELSE %(reason)s END
             FROM customer k
            WHERE a.statement_id = %(statement)s AND a.sales_order_id IS NULL
              AND k.id = a.customer_id""",
        values,
    )
    waiting, failed = fetch_one(
        """SELECT count(*) FILTER (WHERE state = 'waiting'),
                  count(*) FILTER (WHERE state = 'failed')
             FROM statement_aggregate WHERE statement_id = %(statement)s""",
        values,
    )
    return int(waiting), int(failed)


def create_statement_orders(step: RunStep, statement: Statement) -> None:
    """One sales order for each aggregate that has none yet. Errors: StatementRefused."""
    values = {"statement": statement.pk, "run": str(step.run_id)}
    waiting, failed = judge_aggregates(statement)
    if failed:
        raise StatementRefused(
            CUSTOMER_NOT_ACTIVE, f"{failed:,} customers' accounts are no longer active."
        )
    first = reserve_numbers("order_sequence", "next_order", statement.company_id, waiting)
    with prefer_hash_joins():
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
    failpoint("statements:before_orders_created")


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
    first = reserve_numbers("order_sequence", "next_invoice", statement.company_id, orders)
    run_sql(
        """UPDATE sales_order o SET state = 'invoiced', invoiced_at = now(),
                  invoice_number = account_text(q.invoice_format, %(first)s - 1 + n.place)
             FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM sales_order
                    WHERE statement_id = %(statement)s AND invoice_number IS NULL) n,
                  order_sequence q
            WHERE o.id = n.id AND q.company_id = o.company_id""",
        values | {"first": first},
    )
    failpoint("statements:before_invoiced")


def post_payments(step: RunStep, statement: Statement) -> None:
    """Post what was paid, per tender and currency: sales by their order, prepayments each alone.

    What sales came to beyond what was paid, or less, is posted as a difference by its name, so that
    an order is its payments and differences. Errors: StatementRefused.
    """
    refuse_closed_period(statement)
    run_sql(
        """INSERT INTO posted_payment (statement_id, kind, customer_id, sales_order_id, tender_type,
                                       currency, count, amount)
           SELECT t.statement_id, 'payment', t.customer_id, t.sales_order_id, p.tender_type,
                  p.currency, count(*), sum(p.amount)
             FROM retail_transaction t JOIN retail_transaction_payment p ON p.transaction_id = t.id
            WHERE t.statement_id = %(statement)s
            GROUP BY 1, 3, 4, 5, 6 ORDER BY 4, 5, 6""",
        {"statement": statement.pk},
    )
    run_sql(
        """INSERT INTO posted_payment (statement_id, kind, customer_id, transaction_id, tender_type,
                                       currency, count, amount)
           SELECT t.prepayment_statement_id, 'prepayment', t.customer_id, t.id, p.tender_type,
                  p.currency, count(*), sum(p.amount)
             FROM retail_transaction t JOIN retail_transaction_payment p ON p.transaction_id = t.id
            WHERE t.prepayment_statement_id = %(statement)s
            GROUP BY 1, 3, 4, 5, 6 ORDER BY 4, 5, 6""",
        {"statement": statement.pk},
    )
    run_sql(
        """INSERT INTO posted_payment (statement_id, kind, customer_id, sales_order_id, tender_type,
                                       currency, count, amount)
           SELECT t.statement_id, named.kind, t.customer_id, t.sales_order_id, '', t.currency,
                  count(*), sum(t.gross_amount - t.payment_amount)
             FROM retail_transaction t
            CROSS JOIN LATERAL (
                  SELECT CASE WHEN abs(t.gross_amount - t.payment_amount) <= a.rounding
                              THEN 'rounding_difference' ELSE 'payment_difference' END AS kind
                    FROM allowed_difference(t.id) a) named
            WHERE t.statement_id = %(statement)s AND t.gross_amount <> t.payment_amount
            GROUP BY 1, 2, 3, 4, 6 ORDER BY 4, 2, 6""",
        {"statement": statement.pk},
    )
    failpoint("statements:before_payments_posted")


def freeze(step: RunStep, statement: Statement) -> None:
    """Freeze the statement with a hash over all its rows; only now are its sales posted."""
    run_sql(FREEZE_STATEMENT, {"statement": statement.pk})
    step.add(posted=statement.transactions.count() + statement.prepaid_orders.count())
    failpoint("statements:before_posted")


STATE_ACTIONS: dict[StatementState, Callable[[RunStep, Statement], None]] = {
    StatementState.MARKED: mark_sales,
    StatementState.CALCULATED: calculate,
    StatementState.CHECKED: check_totals,
    StatementState.AGGREGATED: aggregate,
    StatementState.ORDERS_CREATED: create_statement_orders,
    StatementState.INVOICED: invoice,
    StatementState.PAYMENTS_POSTED: post_payments,
    StatementState.POSTED: freeze,
}
