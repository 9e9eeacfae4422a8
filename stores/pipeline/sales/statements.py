"""Transactional statements: calculate and post the sales of one channel and business date.

A statement also has the payments that were made for customer orders on that date, as prepayments,
because they are in the drawer. It advances from state to state, each in its own commit: started,
marked, calculated and so on until posted. If a state cannot be reached, the statement keeps the
reason, and the next run goes on from there. A posted statement never changes. Sales that arrive
later get a supplementary statement.
"""

from collections.abc import Sequence
from datetime import date

import psycopg2
from django.db import DatabaseError
from django.db.models import F

from stores.failpoints import failpoint
from stores.hqdb.retry import bisect_keys, describe_error, is_data_error
from stores.hqdb.sql import fetch_values
from stores.messages.message import EMPTY, Message, because
from stores.models import Channel, OrderSequence, RunStep, Statement
from stores.models.channel import StatementMode, database_knows_zone
from stores.models.run import StepFailed
from stores.models.statement import NOT_CALCULATED, StatementQuerySet, StatementState
from stores.pipeline import number_journal
from stores.pipeline.convert.balance import count_sales
from stores.pipeline.issuing import require_posting
from stores.pipeline.sales.statement_removal import remove_refused
from stores.pipeline.sales.statement_states import (
    CUSTOMER_NOT_ACTIVE,
    STATE_ACTIONS,
    StatementRefused,
    check_customers,
    reach,
)

STATES_IN_ORDER = [StatementState.STARTED, *STATE_ACTIONS]


def calculate_statements(step: RunStep, channel: Channel) -> None:
    """Take all ready sales into statements of their business dates, and calculate these.

    Sales that arrive later enter the open statement of their date, or a supplementary one. Raise
    StepFailed at the end if a statement could not be calculated, or if HQ cannot tell which days
    have ended.
    """
    knows_days = takes_all_day(channel) or database_knows_zone(channel.time_zone)
    with step.chunk():
        refused = start_statements(step, channel) if knows_days else {}
    failpoint("statements:after_start")
    calculating = Statement.objects.of(channel, step.run.business_date).filter(
        state__in=[StatementState.STARTED, StatementState.MARKED]
    )
    advance_all(step, channel, calculating, until=StatementState.CALCULATED)
    if refused:
        day, error = next(iter(refused.items()))
        message = Message(
            "day_refused",
            channel=channel.code,
            day=str(day),
            why=because("statement_refused"),
            error=error,
        )
        raise StatementRefused("statement_refused", message)
    if not knows_days:
        raise StepFailed(
            Message("time_zone_unknown", channel=channel.code, time_zone=channel.time_zone)
        )


def post_statements(step: RunStep, channel: Channel) -> None:
    """Post the calculated statements of the channel, oldest first.

    A statement that fails does not stop the others. Effects: orders, invoices and payments of the
    statements, and their numbers in the number journal. Raise StatementRefused at the end if a
    statement could not be posted; StepFailed while HQ may have lost numbers that it issued.
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
    """Advance statements as far as possible. Raise StatementRefused at the end if one is stuck."""
    stopped = []
    for statement in statements.order_by("business_date", "sequence"):
        if stopped_at := advance(step, statement, until=until):
            stopped.append(stopped_at.pk)
        if until == StatementState.POSTED and not step.is_dry:
            number_journal.append_missing()
    if step.counts.get("posted"):
        with step.chunk():
            count_sales(channel)
    # A statement that another run has advanced meanwhile, or a person has cancelled, did not fail.
    stuck = Statement.objects.stuck().filter(pk__in=stopped)
    if failed := list(stuck.order_by("business_date", "sequence")):
        first, more = failed[0], len(failed) - 1
        message = Message("statement_stuck", statement=first.number, why=first.message)
        if more:
            message += Message("more", count=more)
        raise StatementRefused(first.reason, message)


def takes_all_day(channel: Channel) -> bool:
    """Return whether sales enter a statement before their business date has ended."""
    return channel.statement_mode == StatementMode.TRICKLE_FEED


def start_statements(step: RunStep, channel: Channel) -> dict[date, str]:
    """Start a statement for each business date with ready sales, or restart the open one.

    Unless the channel takes sales all day, a date must have ended by the store's clock. Return the
    dates whose statement the database refuses, with its error.
    """
    days_with_sales = fetch_values(
        """SELECT DISTINCT sale.business_date
             FROM ready_document sale JOIN channel ON channel.id = sale.channel_id
            WHERE sale.channel_id = %(channel)s
              AND sale.business_date = coalesce(%(day)s, sale.business_date)
              AND (%(takes_all_day)s
                   OR sale.business_date
                      < business_date_of(now(), channel.time_zone, channel.day_ends_at))
            ORDER BY sale.business_date""",
        {
            "channel": channel.pk,
            "day": step.run.business_date,
            "takes_all_day": takes_all_day(channel),
        },
    )

    def start_days(days: Sequence[date]) -> None:
        for day in days:
            start_day(step, channel, day)

    _, refused = bisect_keys(start_days, days_with_sales)
    return refused


def start_day(step: RunStep, channel: Channel, day: date) -> None:
    """Start a statement of a business date, or restart the open one unless it is being posted."""
    open_statement = Statement.objects.of(channel, day).open().first()
    if open_statement is None:
        Statement.objects.start(channel, day).log(Message("statement_started"), run=step.run)
    elif open_statement.state in (StatementState.MARKED, StatementState.CALCULATED):
        # Unless another run has begun to post it meanwhile.
        unchanged = Statement.objects.filter(pk=open_statement.pk, state=open_statement.state)
        if unchanged.update(state=StatementState.STARTED, reason=NOT_CALCULATED, message=EMPTY):
            open_statement.log(Message("statement_restarted"), run=step.run)


def advance(step: RunStep, statement: Statement, *, until: StatementState) -> Statement | None:
    """Advance a statement to a state, with a commit for each state on the way.

    Sales that the database refuses are removed, and the statement goes on with the others. Return
    the statement if it did not reach the state, else None.
    """
    while (state := next_state(statement, until)) is not None:
        try:
            with step.chunk():
                locked = Statement.objects.select_for_update().get(pk=statement.pk)
                if locked.state != statement.state:
                    return statement
                reach(step, locked, state)
                reached = Message("state_reached", state=name_of(state))
                locked.log(reached, run=step.run, state=state)
        except StatementRefused as refused:
            record_failure(step, statement, state, refused.reason, refused.message)
            return statement
        except (DatabaseError, psycopg2.Error) as error:
            if not is_data_error(error):
                raise
            continued = remove_refused(step, statement, error)
            if continued is None:
                message = Message(
                    "statement_error",
                    why=because("statement_refused"),
                    error=describe_error(error),
                )
                record_failure(step, statement, state, "statement_refused", message)
                return statement
            failpoint("statements:after_taken_out")
            statement = continued
            continue
        failpoint("statements:after_commit")
        statement.state = state
    return None


def next_state(statement: Statement, until: StatementState) -> StatementState | None:
    """Return the next state on the way to `until`, or None if there is none."""
    if not statement.is_open:
        return None
    position = STATES_IN_ORDER.index(StatementState(statement.state))
    last = STATES_IN_ORDER.index(until)
    return STATES_IN_ORDER[position + 1] if position < last else None


def name_of(state: StatementState) -> Message:
    return Message(f"state_{state.value}")


def record_failure(
    step: RunStep, statement: Statement, state: StatementState, reason: str, message: Message
) -> None:
    """Save why a statement did not reach a state, unless another run has advanced it."""
    with step.chunk():
        unchanged = Statement.objects.filter(pk=statement.pk, state=statement.state)
        if unchanged.update(reason=reason, message=message, attempts=F("attempts") + 1):
            if reason == CUSTOMER_NOT_ACTIVE:
                # What the action found was rolled back, but the page lists these customers.
                check_customers(statement)
            missed = Message("state_not_reached", state=name_of(state), why=message)
            statement.log(missed, run=step.run)
            step.add(failed=1)
            failpoint("statements:before_stopped")
