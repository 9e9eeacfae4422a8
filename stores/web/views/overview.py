"""The overview: the pipeline with its counts, the channels, and what needs attention."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Count, F, Min, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from stores.jobs.catalog import JOBS
from stores.jobs.liveness import liveness_problems
from stores.models import (
    AsyncAddress,
    AsyncAffiliation,
    AsyncAttribute,
    AsyncContact,
    Channel,
    Customer,
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
from stores.models.job import JobCode
from stores.models.labels import plural
from stores.models.order import SalesOrderState
from stores.models.reason import REASONS
from stores.models.run import RunStatus
from stores.models.statement import NOT_CALCULATED, NOT_POSTED
from stores.models.transaction import OrderStatus, ValidationStatus
from stores.web.counts import MAX_COUNTED, capped_count
from stores.web.lists.async_customers import filter_async_customers
from stores.web.lists.base import short_reason
from stores.web.lists.channels import with_counts
from stores.web.lists.customers import filter_customers
from stores.web.lists.quarantine import filter_quarantine
from stores.web.request import Request
from stores.web.views.balance import balance_url, latest_balance, out_of_balance

LOW_SEQUENCE = 1000
# Incidents that are named one by one.
MAX_INCIDENTS = 10
FAILED_STATUSES = (RunStatus.FAILED, RunStatus.PARTLY, RunStatus.LOST)
# Waiting for these ends by itself, when their customer arrives or is corrected.
SELF_RESOLVING_REASONS = ("parent_missing", "parent_failed")
# An order that waits longer needs somebody to look for what it names.
LONG_WAIT = timedelta(days=1)
Reader = User | AnonymousUser
# A noun, and what follows it.
Described = tuple[str, str]


@dataclass(frozen=True)
class RowCount:
    """How many rows a list has and how long the oldest of them is there; url is that list's."""

    count: int
    oldest: datetime | None
    url: str


@dataclass(frozen=True)
class Alert:
    icon: str
    count: int | None
    text: str
    next_step: str
    url: str


@require_safe
def overview(request: Request) -> HttpResponse:
    """The pipeline, the channels, what needs attention, and the last runs."""
    databases = list(with_counts())
    context = {
        "now": timezone.now(),
        "stations": pipeline_counts(),
        "databases": databases,
        "channels": Channel.objects.count(),
        "visited": max(
            filter(None, (database.last_visited_at for database in databases)), default=None
        ),
        "balance": latest_balance(),
        "alerts": list(alerts(databases, request.user)),
        "waits": list(waiting_rows(request.user)),
        "runs": JobRun.objects.newest_first().defer("error")[:5],
        "live": JobRun.objects.live().filter(job=JobCode.PIPELINE).newest_first().first(),
        "pipeline": JOBS[JobCode.PIPELINE],
    }
    return render(request, "home/overview.html", context)


def pipeline_counts() -> dict[str, Any]:
    """What is at each station; every count is the length of the list it leads to."""
    return {
        "not_synchronized": staged_count("not_synchronized"),
        "waiting": staged_count("waiting"),
        "failed": staged_count("failed"),
        "children": sum(capped_count(model.objects.open()) for model in CHILD_EVENTS),
        "quarantined": count_rows_of(
            filter_quarantine(status="open"), "first_seen_at", list_url("quarantine", status="open")
        ),
        "customers": count_rows_of(filter_customers(), "created_at", list_url("customers")),
        "newest": Customer.objects.newest_first().values_list("created_at", flat=True).first(),
        "pending": count_rows_of(
            filter_customers(owed="any"), "modified_at", list_url("customers", owed="any")
        ),
    }


CHILD_EVENTS = (AsyncAddress, AsyncContact, AsyncAffiliation, AsyncAttribute)


def staged_count(state: str) -> RowCount:
    return count_rows_of(
        filter_async_customers(state=state), "staged_at", list_url("async-customers", state=state)
    )


def count_rows_of(rows: QuerySet[Any], moment: str, url: str) -> RowCount:
    """Count rows up to a limit, with the oldest of those counted."""
    counted_rows = rows.order_by()[: MAX_COUNTED + 1]
    totals = counted_rows.aggregate(count=Count("pk"), oldest=Min(moment))
    return RowCount(totals["count"], totals["oldest"], url)


def list_url(name: str, **filters: str) -> str:
    return reverse(name) + (f"?{urlencode(filters)}" if filters else "")


# ------------------------------------------------------------ what needs attention


def alerts(databases: list[Any], user: Reader) -> Iterator[Alert]:
    """Everything that does not end by itself, the most pressing first, with what a user may do."""
    yield from broken_promises()
    yield from unbalanced_days()
    yield from open_incidents()
    yield from liveness_alerts()
    yield from conflicts_to_review(user)
    yield from silent_channels(databases)
    yield from failed_runs()
    yield from short_sequences()
    yield from unknown_time_zones(user)
    yield from stuck_sales(user)
    yield from long_waiting_orders(user)
    yield from fields_to_correct(user)
    for state in ("failed", "waiting"):
        yield from alerts_by_reason(
            filter_async_customers(state=state).exclude(reason__in=SELF_RESOLVING_REASONS),
            ("customer operation", state),
            "async-customers",
            user,
            state=state,
        )
    yield from alerts_by_reason(
        filter_quarantine(status="open"),
        ("row", "in quarantine"),
        "quarantine",
        user,
        status="open",
    )


def advice_for(user: Reader, right: str, next_step: str, otherwise: str) -> str:
    """What a user can do: nothing that takes a permission he or she lacks."""
    return next_step if user.has_perm(f"stores.{right}") else otherwise


def broken_promises() -> Iterator[Alert]:
    if broken := list(Promise.objects.filter(ok=False).values_list("pk", flat=True)):
        yield Alert(
            "x-circle-fill",
            len(broken),
            f"{plural('promise', len(broken))} broken: {', '.join(broken)}",
            "Review the rows listed by the last check, then check again.",
            reverse("promises"),
        )


def unbalanced_days() -> Iterator[Alert]:
    for row in out_of_balance(timezone.now().date()):
        missing = row.difference > 0
        yield Alert(
            "x-circle-fill",
            abs(row.difference),
            f"{'missing' if missing else 'extra'} rows in {row.table}"
            f" from {row.database.label} on {row.day}",
            "The database was changed by hand. Run Compare with the channels.",
            balance_url(row),
        )


def open_incidents() -> Iterator[Alert]:
    incidents = Incident.objects.open()
    for incident in incidents.newest_first()[:MAX_INCIDENTS]:
        yield Alert(
            "exclamation-triangle-fill",
            None,
            incident.message,
            incident.next_step,
            incident.get_absolute_url(),
        )
    if (more := incidents.count() - MAX_INCIDENTS) > 0:
        yield Alert(
            "exclamation-triangle-fill",
            None,
            f"{more:,} older {plural('incident', more)} open.",
            "See the full list.",
            list_url("incidents", status="open"),
        )


def liveness_alerts() -> Iterator[Alert]:
    for problem in liveness_problems():
        yield Alert("clock-history", None, problem.text, problem.next_step, reverse(problem.page))


def conflicts_to_review(user: Reader) -> Iterator[Alert]:
    if count := capped_count(EditConflict.objects.open()):
        yield Alert(
            "exclamation-triangle-fill",
            count,
            f"{plural('edit conflict', count)} to review: a removed record was edited, or a clock"
            " was wrong",
            advice_for(
                user,
                "change_customer",
                "Restore the removed record or leave it removed; where a clock was wrong, choose"
                " the value.",
                "Ask someone with permission to change customers. If a till's clock is wrong,"
                " correct it.",
            ),
            list_url("conflicts", status="open"),
        )


def fields_to_correct(user: Reader) -> Iterator[Alert]:
    """Optional fields that nobody understood; their customers have their accounts."""
    if count := capped_count(FieldToCorrect.objects.open()):
        yield Alert(
            "people",
            count,
            f"{plural('customer field', count)} to correct",
            advice_for(
                user,
                "change_customer",
                "Correct them on the customer pages or at the till.",
                "Correct them at the till, or ask someone with permission to change customers.",
            ),
            list_url("fields-to-correct", status="open"),
        )


def silent_channels(databases: list[Any]) -> Iterator[Alert]:
    for database in databases:
        if (
            database.last_error
            and not database.blocked_by
            and database.is_enabled
            and database.channel.is_enabled
        ):
            yield Alert(
                "cloud-slash",
                None,
                database.last_error,
                "Nothing is lost: the next run tries again. Check the channel's server and"
                " network.",
                database.channel.get_absolute_url(),
            )


def failed_runs() -> Iterator[Alert]:
    # Until the clock that was ahead is caught up with, a run of the future is not the last one.
    ended = JobRun.objects.filter(ended_at__lte=Now()).defer("error").newest_first()
    last = [ended.filter(job=job)[:1] for job in JOBS]
    for run in last[0].union(*last[1:], all=True):
        if run.status in FAILED_STATUSES:
            yield Alert(
                "clock-history",
                None,
                f"Last run of {run.job}: {run.get_status_display().lower()}.",
                run.message,
                run.get_absolute_url(),
            )


def short_sequences() -> Iterator[Alert]:
    for sequence in NumberSequence.objects.order_by("company"):
        if sequence.left < LOW_SEQUENCE:
            yield Alert(
                "receipt",
                sequence.left,
                f"account numbers left for {sequence.company_id}",
                "Raise the highest number of its number sequence in the settings.",
                reverse("admin:stores_company_change", args=[sequence.company_id]),
            )


def unknown_time_zones(user: Reader) -> Iterator[Alert]:
    """Channels whose clock HQ's database cannot tell any more, as after a change of its server."""
    channels = Channel.objects.filter(is_enabled=True)
    for zone in channels.order_by("time_zone").values_list("time_zone", flat=True).distinct():
        if not database_knows_zone(zone):
            for channel in channels.filter(time_zone=zone).order_by("code"):
                yield Alert(
                    "clock-history",
                    None,
                    f"Headquarters' database does not know {zone}, the time zone of {channel}.",
                    advice_for(
                        user,
                        "change_channel",
                        "Choose another time zone in its settings. Its business days cannot end.",
                        "Its business days cannot end. Tell an administrator.",
                    ),
                    channel.get_absolute_url(),
                )


def stuck_sales(user: Reader) -> Iterator[Alert]:
    unposted = RetailTransaction.objects.filter(statement=None, sales_order=None)
    correct = advice_for(
        user,
        "mend_transaction",
        "Correct them one by one, or all with the same cause at once.",
        "Ask someone with permission to correct transactions.",
    )
    release = advice_for(
        user,
        "release_hold",
        "They failed before or were corrected. Review and release them.",
        "They failed before or were corrected. Ask someone with permission to release them.",
    )
    for rows, what, next_step, url in (
        (
            Statement.objects.stuck(),
            ("statement", "not posted"),
            "See what is blocking them; the next run continues where the last one stopped.",
            list_url("statements", only="failed"),
        ),
        (
            unposted.filter(validation_status=ValidationStatus.ERROR),
            ("transaction", "with errors"),
            correct,
            list_url("transactions", validation=ValidationStatus.ERROR),
        ),
        (
            unposted.filter(order_status=OrderStatus.FAILED),
            ("customer order", "failed"),
            correct,
            list_url("transactions", order=OrderStatus.FAILED),
        ),
        (
            SalesOrder.objects.filter(state=SalesOrderState.ON_HOLD),
            ("order", "on hold"),
            release,
            list_url("orders", state=SalesOrderState.ON_HOLD),
        ),
    ):
        if count := capped_count(rows):
            yield Alert("receipt", count, words_after(count, what), next_step, url)


# ------------------------------------------------------------------ what waits


def waiting_orders() -> QuerySet[RetailTransaction]:
    """Customer orders without a sales order that have not failed, each with its reason."""
    return (
        RetailTransaction.objects.orders()
        .filter(sales_order=None, statement=None)
        .exclude(order_status=OrderStatus.FAILED)
        .exclude(order_reason="nothing_ordered")
    )


def long_waiting_orders(user: Reader) -> Iterator[Alert]:
    """Orders that do not go on by themselves, or have not for long."""
    orders = waiting_orders().filter(
        Q(order_reason="default_customer_missing") | Q(staged_at__lt=timezone.now() - LONG_WAIT)
    )
    yield from alerts_by_reason(
        orders,
        ("customer order", "waiting"),
        "transactions",
        user,
        field="order_reason",
        posted="waiting",
    )


def waiting_rows(user: Reader) -> Iterator[Alert]:
    """What a job or an arrival takes on, with the reason and the next step."""
    yield from alerts_by_reason(
        waiting_orders().filter(staged_at__gte=timezone.now() - LONG_WAIT),
        ("customer order", ""),
        "transactions",
        user,
        field="order_reason",
        posted="waiting",
    )
    sales = RetailTransaction.objects.sold().filter(statement=None, sales_order=None)
    for rows, what, reason, url in (
        (
            sales.filter(validation_status=ValidationStatus.NONE),
            ("sale", ""),
            "not_validated",
            list_url("transactions", why="not_validated"),
        ),
        (
            sales.filter(validation_status=ValidationStatus.SUCCESSFUL),
            ("sale", ""),
            "not_calculated",
            list_url("transactions", why="not_calculated"),
        ),
        (
            Statement.objects.open().filter(reason=NOT_CALCULATED),
            ("statement", ""),
            NOT_CALCULATED,
            list_url("statements", only="open"),
        ),
        (
            Statement.objects.open().filter(reason=NOT_POSTED),
            ("statement", ""),
            NOT_POSTED,
            list_url("statements", only="open"),
        ),
    ):
        if count := capped_count(rows):
            yield reason_alert("hourglass-split", count, what, reason, user, url)


def words_after(count: int, what: Described) -> str:
    noun, state = what
    return f"{plural(noun, count)} {state}".rstrip()


def reason_alert(
    icon: str, count: int, what: Described, reason: str, user: Reader, url: str
) -> Alert:
    known = REASONS.get(reason)
    text = f"{words_after(count, what)}: {short_reason(reason)}"
    return Alert(icon, count, text, known.advice(user.has_perm) if known else "", url)


def alerts_by_reason(
    rows: QuerySet[Any],
    what: Described,
    name: str,
    user: Reader,
    *,
    field: str = "reason",
    **filters: str,
) -> Iterator[Alert]:
    """One alert for each reason, the most frequent first; `field` holds it."""
    counts = rows.order_by().values(reason_code=F(field)).annotate(count=Count("pk"))
    for row in counts.filter(~Q(reason_code=None)).order_by("-count", "reason_code"):
        reason = row["reason_code"]
        icon = "shield-exclamation" if name == "quarantine" else "inbox"
        url = list_url(name, **filters, reason=reason)
        yield reason_alert(icon, row["count"], what, reason, user, url)
