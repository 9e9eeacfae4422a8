"""The alerts of the overview: what people must resolve, and what is waiting for a job.

Each alert links to a list, and counts it with the filter of that list.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from stores.channel_status import Need, Timeliness
from stores.jobs.catalog import JOBS
from stores.jobs.liveness import liveness_problems
from stores.messages.labels import plural
from stores.messages.reasons import REASONS
from stores.models import (
    Channel,
    DownloadException,
    EditConflict,
    FieldToCorrect,
    Incident,
    JobRun,
    NumberSequence,
    Promise,
    RetailTransaction,
    SalesOrder,
    Statement,
)
from stores.models.channel import database_knows_zone
from stores.models.order import SalesOrderState
from stores.models.package import listed_accounts
from stores.models.run import EVERYTHING, RunStatus
from stores.models.statement import NOT_CALCULATED, NOT_POSTED
from stores.models.transaction import OrderStatus, ValidationStatus
from stores.web.components import query_url
from stores.web.counts import capped_count
from stores.web.lists.async_customers import filter_async_customers
from stores.web.lists.base import short_reason
from stores.web.lists.quarantine import filter_quarantine
from stores.web.permissions import message_for, sees_errors
from stores.web.views.balance import balance_url, out_of_balance

LOW_SEQUENCE = 1000
MAX_INCIDENTS = 10
MAX_LATE = 10
FAILED_STATUSES = (RunStatus.FAILED, RunStatus.PARTLY)
# These rows go on when their customer arrives or is corrected.
SELF_RESOLVING_REASONS = ("parent_missing", "parent_failed")
# After this time somebody must look for the customer or item that an order waits for.
LONG_WAIT = timedelta(days=1)
Reader = User | AnonymousUser


@dataclass(frozen=True)
class Alert:
    """A sentence about some rows, with the next step and the page where to take it."""

    icon: str
    text: str
    next_step: str
    url: str
    count: int | None = None


def alerts(databases: Iterable[Any], user: Reader) -> Iterator[Alert]:
    """The problems that people must resolve, the most urgent first."""
    yield from broken_promises()
    yield from unbalanced_days(user)
    yield from open_incidents()
    yield from liveness_alerts()
    yield from open_conflicts(user)
    yield from late_databases(databases, user)
    yield from suspended_downloads(databases)
    yield from failed_runs(user)
    yield from short_sequences()
    yield from unknown_time_zones(user)
    yield from blocked_statements()
    yield from failed_sales(user)
    yield from orders_on_hold(user)
    yield from long_waiting_orders(user)
    yield from fields_to_correct(user)
    yield from unfinished_operations("failed", user)
    yield from unfinished_operations("waiting", user)
    yield from quarantined_rows(user)


def waiting_rows(user: Reader) -> Iterator[Alert]:
    """The rows that the next jobs or arrivals will continue, so that nobody needs to act."""
    yield from recent_orders(user)
    yield from waiting_sales(user)
    yield from waiting_statements(user)


def count_alert(
    icon: str, rows: QuerySet[Any], noun: str, text: str, next_step: str, url: str
) -> Iterator[Alert]:
    """One alert for all of these rows, such as "3 orders on hold", or none if there are none."""
    if count := capped_count(rows):
        yield Alert(icon, f"{plural(noun, count)} {text}", next_step, url, count)


def next_step_for(user: Reader, permission: str, allowed: str, otherwise: str) -> str:
    """Choose the next step that the user has the permission for."""
    return allowed if user.has_perm(f"stores.{permission}") else otherwise


# --------------------------------------------------------------------- the system


def broken_promises() -> Iterator[Alert]:
    if broken := list(Promise.objects.filter(ok=False).values_list("pk", flat=True)):
        yield Alert(
            "x-circle-fill",
            f"{plural('promise', len(broken))} broken: {', '.join(broken)}",
            "Review the rows listed by the last check, then check again.",
            reverse("promises"),
            len(broken),
        )


def unbalanced_days(user: Reader) -> Iterator[Alert]:
    for balance in out_of_balance(timezone.now().date()):
        kind = "missing" if balance.difference > 0 else "extra"
        yield Alert(
            "x-circle-fill",
            f"{kind} rows in {balance.table} from {balance.database.label} on {balance.day}",
            next_step_for(
                user,
                "run_job",
                "The database was changed by hand. Run Compare with the channels.",
                "The database was changed by hand. Ask someone with permission to run jobs.",
            ),
            balance_url(balance),
            abs(balance.difference),
        )


def open_incidents() -> Iterator[Alert]:
    incidents = Incident.objects.open()
    for incident in incidents.newest_first()[:MAX_INCIDENTS]:
        yield Alert(
            "exclamation-triangle-fill",
            str(incident.message),
            incident.next_step,
            incident.get_absolute_url(),
        )
    older = incidents.count() - MAX_INCIDENTS
    if older > 0:
        yield Alert(
            "exclamation-triangle-fill",
            f"{older:,} older {plural('incident', older)} open.",
            "See the full list.",
            query_url("incidents", status="open"),
        )


def liveness_alerts() -> Iterator[Alert]:
    """A scheduler, worker or schedule that does not do its work."""
    for problem in liveness_problems():
        text, next_step = str(problem.text), str(problem.next_step)
        yield Alert("clock-history", text, next_step, reverse(problem.page))


def late_databases(databases: Iterable[Any], user: Reader) -> Iterator[Alert]:
    """Databases that are late, or cannot be visited until a person has mended something.

    Of incidents, pauses and missing schedules, other alerts and pages tell.
    """
    late = [database for database in databases if needs_attention(database)]
    for database in late[:MAX_LATE]:
        words = f"{database.label}:"
        if database.last_error:
            words = str(database.last_error) if sees_errors(user) else f"{words} visits fail."
        yield Alert(
            "cloud-slash" if database.last_error else "clock-history",
            " ".join([words, *(item.sentence for item in database.status.overdue)]),
            late_next_step(database, user),
            database.channel.get_absolute_url(),
        )
    if (more := len(late) - MAX_LATE) > 0:
        yield Alert(
            "clock-history",
            f"{more:,} more {plural('channel database', more)} late or in need of someone.",
            "Look at their status.",
            reverse("channels"),
        )


def needs_attention(database: Any) -> bool:
    status = database.status
    if status.timeliness == Timeliness.LATE:
        return True
    is_in_trouble = status.timeliness == Timeliness.NEEDS_YOU and bool(database.last_error)
    return is_in_trouble and not status.is_blocked


def late_next_step(database: Any, user: Reader) -> str:
    if not database.last_error:
        return "Check the latest runs, the scheduler and the workers."
    if Need.ERROR not in database.status.needs:
        return "Nothing is lost: the next run tries again. Check the channel's server and network."
    return (
        "Nothing is lost, but only a person can mend it. Once that is done, the next run goes on."
        if sees_errors(user)
        else "Nothing is lost. Tell someone who runs jobs or sets up channels."
    )


def suspended_downloads(databases: Iterable[Any]) -> Iterator[Alert]:
    """Databases in strict order that are sent nothing more until a person decides."""
    for database in databases:
        if database.status.suspended_by:
            refused = DownloadException.objects.holding_up().filter(database=database)
            yield Alert(
                "pause-circle",
                f"Downloads to {database.label} are suspended: it refuses"
                f" {listed_accounts(refused) or 'some customers'}.",
                "Correct what it refuses and choose Send again, or choose Cancel to go on without.",
                reverse("download", args=[database.status.suspended_by]),
            )


def failed_runs(user: Reader) -> Iterator[Alert]:
    # A clock that was ahead can have left runs in the future.
    ended = JobRun.objects.filter(ended_at__lte=Now()).defer("error").newest_first()
    first, *others = [ended.filter(job=job)[:1] for job in JOBS]
    for run in first.union(*others, all=True):
        if run.status in FAILED_STATUSES and not was_made_up_for(run):
            yield Alert(
                "clock-history",
                f"Last run of {run.job}: {run.get_status_display().lower()}.",
                message_for(run.message, user),
                run.get_absolute_url(),
            )


def was_made_up_for(run: JobRun) -> bool:
    """Whether a later run of a larger job, such as the pipeline, did all its steps, and well."""
    steps = set(JOBS[run.job].steps)
    later = JobRun.objects.filter(
        job__in=[job.code for job in JOBS.values() if steps < set(job.steps)],
        scope__in=(EVERYTHING, run.scope),
        status__in=(RunStatus.SUCCEEDED, RunStatus.NOTHING_TO_DO),
        started_at__gt=run.ended_at,
        ended_at__lte=Now(),
    )
    return later.exists()


def short_sequences() -> Iterator[Alert]:
    for sequence in NumberSequence.objects.order_by("company"):
        if sequence.remaining < LOW_SEQUENCE:
            yield Alert(
                "receipt",
                f"account numbers left for {sequence.company_id}",
                "Raise the highest number of its number sequence in the settings.",
                reverse("admin:stores_company_change", args=[sequence.company_id]),
                sequence.remaining,
            )


def unknown_time_zones(user: Reader) -> Iterator[Alert]:
    """Channels with a time zone that PostgreSQL does not know, as after an upgrade."""
    channels = Channel.objects.filter(is_enabled=True)
    zones = channels.order_by("time_zone").values_list("time_zone", flat=True).distinct()
    unknown = [zone for zone in zones if not database_knows_zone(zone)]
    for channel in channels.filter(time_zone__in=unknown).order_by("time_zone", "code"):
        yield Alert(
            "clock-history",
            f"Headquarters' database does not know {channel.time_zone}, the time zone of"
            f" {channel}.",
            next_step_for(
                user,
                "change_channel",
                "Choose another time zone in its settings. Its business days cannot end.",
                "Its business days cannot end. Tell an administrator.",
            ),
            channel.get_absolute_url(),
        )


# ---------------------------------------------------------------------- customers


def open_conflicts(user: Reader) -> Iterator[Alert]:
    yield from count_alert(
        "exclamation-triangle-fill",
        EditConflict.objects.open(),
        "edit conflict",
        "to review: a removed record was edited, or a clock was wrong",
        next_step_for(
            user,
            "change_customer",
            "Restore the removed record or leave it removed; where a clock was wrong, choose the"
            " value.",
            "Ask someone with permission to change customers. If a till's clock is wrong, correct"
            " it.",
        ),
        query_url("conflicts", status="open"),
    )


def fields_to_correct(user: Reader) -> Iterator[Alert]:
    yield from count_alert(
        "people",
        FieldToCorrect.objects.open(),
        "customer field",
        "to correct",
        next_step_for(
            user,
            "change_customer",
            "Correct them on the customer pages or at the till.",
            "Correct them at the till, or ask someone with permission to change customers.",
        ),
        query_url("fields-to-correct", status="open"),
    )


def unfinished_operations(state: str, user: Reader) -> Iterator[Alert]:
    """Customer operations in a state, by reason, except those that go on by themselves."""
    operations = filter_async_customers(state=state).exclude(reason__in=SELF_RESOLVING_REASONS)
    for reason, count in count_by_reason(operations):
        text = f"{plural('customer operation', count)} {state}"
        url = query_url("async-customers", state=state, reason=reason)
        yield reason_alert("inbox", count, text, reason, user, url)


def quarantined_rows(user: Reader) -> Iterator[Alert]:
    for reason, count in count_by_reason(filter_quarantine(status="open")):
        text = f"{plural('row', count)} in quarantine"
        url = query_url("quarantine", status="open", reason=reason)
        yield reason_alert("shield-exclamation", count, text, reason, user, url)


# -------------------------------------------------------------------------- sales


def blocked_statements() -> Iterator[Alert]:
    yield from count_alert(
        "receipt",
        Statement.objects.stuck(),
        "statement",
        "not posted",
        "See what is blocking them; the next run continues where the last one stopped.",
        query_url("statements", only="failed"),
    )


def failed_sales(user: Reader) -> Iterator[Alert]:
    """Transactions that validation refused, and orders that could not be created."""
    next_step = next_step_for(
        user,
        "mend_transaction",
        "Correct them one by one, or all with the same cause at once.",
        "Ask someone with permission to correct transactions.",
    )
    unposted = RetailTransaction.objects.filter(statement=None, sales_order=None)
    invalid = unposted.filter(validation_status=ValidationStatus.ERROR)
    url = query_url("transactions", validation=ValidationStatus.ERROR)
    yield from count_alert("receipt", invalid, "transaction", "with errors", next_step, url)
    failed = unposted.filter(order_status=OrderStatus.FAILED)
    url = query_url("transactions", order=OrderStatus.FAILED)
    yield from count_alert("receipt", failed, "customer order", "failed", next_step, url)


def orders_on_hold(user: Reader) -> Iterator[Alert]:
    yield from count_alert(
        "receipt",
        SalesOrder.objects.filter(state=SalesOrderState.ON_HOLD),
        "order",
        "on hold",
        next_step_for(
            user,
            "release_hold",
            "They failed before or were corrected. Review and release them.",
            "They failed before or were corrected. Ask someone with permission to release them.",
        ),
        query_url("orders", state=SalesOrderState.ON_HOLD),
    )


def waiting_orders() -> QuerySet[RetailTransaction]:
    return (
        RetailTransaction.objects.orders()
        .filter(sales_order=None, statement=None)
        .exclude(order_status=OrderStatus.FAILED)
        .exclude(order_reason="nothing_ordered")
    )


def long_waiting_orders(user: Reader) -> Iterator[Alert]:
    """Orders that have waited for more than a day, or that cannot go on by themselves."""
    is_long = Q(staged_at__lt=timezone.now() - LONG_WAIT)
    needs_setting = Q(order_reason="default_customer_missing")
    yield from order_alerts(waiting_orders().filter(is_long | needs_setting), " waiting", user)


def recent_orders(user: Reader) -> Iterator[Alert]:
    orders = waiting_orders().filter(staged_at__gte=timezone.now() - LONG_WAIT)
    yield from order_alerts(orders, "", user)


def order_alerts(orders: QuerySet[Any], state: str, user: Reader) -> Iterator[Alert]:
    for reason, count in count_by_reason(orders, "order_reason"):
        text = plural("customer order", count) + state
        url = query_url("transactions", posted="waiting", reason=reason)
        yield reason_alert("inbox", count, text, reason, user, url)


def waiting_sales(user: Reader) -> Iterator[Alert]:
    sales = RetailTransaction.objects.sold().filter(statement=None, sales_order=None)
    for status, reason in (
        (ValidationStatus.NONE, "not_validated"),
        (ValidationStatus.SUCCESSFUL, "not_calculated"),
    ):
        if count := capped_count(sales.filter(validation_status=status)):
            text, url = plural("sale", count), query_url("transactions", why=reason)
            yield reason_alert("hourglass-split", count, text, reason, user, url)


def waiting_statements(user: Reader) -> Iterator[Alert]:
    url = query_url("statements", only="open")
    for reason in (NOT_CALCULATED, NOT_POSTED):
        if count := capped_count(Statement.objects.open().filter(reason=reason)):
            text = plural("statement", count)
            yield reason_alert("hourglass-split", count, text, reason, user, url)


# ------------------------------------------------------------------------ reasons


def count_by_reason(rows: QuerySet[Any], column: str = "reason") -> list[tuple[str, int]]:
    counts = (
        rows.exclude(**{column: None})
        .order_by()
        .values(reason_code=F(column))
        .annotate(count=Count("pk"))
        .order_by("-count", "reason_code")
    )
    return [(row["reason_code"], row["count"]) for row in counts]


def reason_alert(icon: str, count: int, text: str, reason: str, user: Reader, url: str) -> Alert:
    """An alert with the sentence and the next step of a reason."""
    known = REASONS.get(reason)
    next_step = known.advice(user.has_perm) if known else ""
    return Alert(icon, f"{text}: {short_reason(reason)}", next_step, url, count)
