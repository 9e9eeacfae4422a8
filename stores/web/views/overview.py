"""The overview: the ring with its counts, the channels, and what needs a person."""

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
from stores.jobs.silence import liveness_problems
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
from stores.models.order import SalesOrderState
from stores.models.reason import REASONS
from stores.models.run import RunStatus
from stores.models.statement import NOT_CALCULATED, NOT_POSTED
from stores.models.transaction import OrderStatus, ValidationStatus
from stores.web.counts import MOST_COUNTED, counted
from stores.web.lists.async_customers import async_customers
from stores.web.lists.base import in_short
from stores.web.lists.channels import with_counts
from stores.web.lists.customers import customers
from stores.web.lists.quarantine import quarantine
from stores.web.request import Request
from stores.web.views.balance import latest_day, link_to, out_of_balance

FEW_NUMBERS = 1000
# Incidents that are named one by one.
MOST_INCIDENTS = 10
TROUBLE = (RunStatus.FAILED, RunStatus.PARTLY, RunStatus.LOST)
# Waiting for these ends by itself, when their customer arrives or is mended.
PATIENCE = ("parent_missing", "parent_failed")
# An order that waits longer needs somebody to look for what it names.
LONG = timedelta(days=1)
Reader = User | AnonymousUser


@dataclass(frozen=True)
class Tally:
    """How many rows a list has and how long the oldest of them is there; url is that list's."""

    count: int
    oldest: datetime | None
    url: str


@dataclass(frozen=True)
class Concern:
    """Something that a person should look at."""

    icon: str
    count: int | None
    text: str
    next_step: str
    url: str


@require_safe
def overview(request: Request) -> HttpResponse:
    """The ring, the channels, what needs a person, and the last runs."""
    databases = list(with_counts())
    context = {
        "now": timezone.now(),
        "ring": ring(),
        "databases": databases,
        "channels": Channel.objects.count(),
        "visited": max(filter(None, (one.last_visited_at for one in databases)), default=None),
        "balance": latest_day(),
        "concerns": list(concerns(databases, request.user)),
        "waits": list(waits(request.user)),
        "runs": JobRun.objects.newest_first().defer("error")[:5],
        "live": JobRun.objects.live().filter(job="pipeline").newest_first().first(),
        "pipeline": JOBS["pipeline"],
    }
    return render(request, "home/overview.html", context)


def ring() -> dict[str, Any]:
    """What is at each station; every tally is the length of the list it leads to."""
    return {
        "not_synchronized": staged("not_synchronized"),
        "waiting": staged("waiting"),
        "failed": staged("failed"),
        "children": sum(counted(model.objects.open()) for model in CHILDREN),
        "quarantined": tally(
            quarantine(status="open"), "first_seen_at", link("quarantine", status="open")
        ),
        "customers": tally(customers(), "created_at", link("customers")),
        "newest": Customer.objects.newest_first().values_list("created_at", flat=True).first(),
        "owed": tally(customers(owed="any"), "modified_at", link("customers", owed="any")),
    }


CHILDREN = (AsyncAddress, AsyncContact, AsyncAffiliation, AsyncAttribute)


def staged(state: str) -> Tally:
    """The customer operations in one state."""
    return tally(async_customers(state=state), "staged_at", link("async-customers", state=state))


def tally(rows: QuerySet[Any], moment: str, url: str) -> Tally:
    """Count rows up to a limit, with the oldest of those counted."""
    counted_rows = rows.order_by()[: MOST_COUNTED + 1]
    found = counted_rows.aggregate(count=Count("pk"), oldest=Min(moment))
    return Tally(found["count"], found["oldest"], url)


def link(name: str, **wanted: str) -> str:
    """The address of a list, filtered."""
    return reverse(name) + (f"?{urlencode(wanted)}" if wanted else "")


# ------------------------------------------------------------- what needs a person


def concerns(databases: list[Any], user: Reader) -> Iterator[Concern]:
    """Everything that does not end by itself, the most pressing first, with what a user may do."""
    yield from broken_promises()
    yield from lost_rows()
    yield from open_incidents()
    yield from what_stands_still()
    yield from doubtful_edits(user)
    yield from silent_channels(databases)
    yield from failed_runs()
    yield from short_sequences()
    yield from unknown_time_zones(user)
    yield from stuck_sales(user)
    yield from long_waiting_orders(user)
    yield from fields_to_correct(user)
    for state in ("failed", "waiting"):
        yield from by_reason(
            async_customers(state=state).exclude(reason__in=PATIENCE),
            f"customer operation{{s}} {state}",
            "async-customers",
            user,
            state=state,
        )
    yield from by_reason(
        quarantine(status="open"), "row{s} in quarantine", "quarantine", user, status="open"
    )


def advice(user: Reader, right: str, next_step: str, otherwise: str) -> str:
    """What a user is told to do: nothing that takes a right he or she lacks."""
    return next_step if user.has_perm(f"stores.{right}") else otherwise


def broken_promises() -> Iterator[Concern]:
    """Promises that the last check found broken."""
    if broken := list(Promise.objects.filter(ok=False).values_list("pk", flat=True)):
        yield Concern(
            "x-circle-fill",
            len(broken),
            f"promise{'' if len(broken) == 1 else 's'} broken: {', '.join(broken)}",
            "Review the rows listed by the last check, then check again.",
            reverse("promises"),
        )


def lost_rows() -> Iterator[Concern]:
    """Days on which not everything that arrived is there."""
    for row in out_of_balance(timezone.now().date()):
        missing = row.difference > 0
        yield Concern(
            "x-circle-fill",
            abs(row.difference),
            f"{'missing' if missing else 'extra'} rows in {row.table}"
            f" from {row.database.label} on {row.day}",
            "The database was changed by hand. Run Compare with the channels.",
            link_to(row),
        )


def open_incidents() -> Iterator[Concern]:
    """What stays wrong until a person closes it."""
    incidents = Incident.objects.open()
    for incident in incidents.newest_first()[:MOST_INCIDENTS]:
        yield Concern(
            "exclamation-triangle-fill",
            None,
            incident.message,
            incident.next_step,
            incident.get_absolute_url(),
        )
    if (more := incidents.count() - MOST_INCIDENTS) > 0:
        yield Concern(
            "exclamation-triangle-fill",
            None,
            f"{more:,} older incident{'' if more == 1 else 's'} open.",
            "See the full list.",
            link("incidents", status="open"),
        )


def what_stands_still() -> Iterator[Concern]:
    """What should happen by itself and does not."""
    for found in liveness_problems():
        yield Concern("clock-history", None, found.text, found.next_step, reverse(found.page))


def doubtful_edits(user: Reader) -> Iterator[Concern]:
    """Edit conflicts that only a person can decide."""
    if found := counted(EditConflict.objects.open()):
        yield Concern(
            "exclamation-triangle-fill",
            found,
            f"edit conflict{'' if found == 1 else 's'} to review: a removed record was edited, or"
            " a clock was wrong",
            advice(
                user,
                "change_customer",
                "Restore the removed record or leave it removed; where a clock was wrong, choose"
                " the value.",
                "Ask someone with permission to change customers. If a till's clock is wrong,"
                " correct it.",
            ),
            link("conflicts", status="open"),
        )


def fields_to_correct(user: Reader) -> Iterator[Concern]:
    """Optional fields that nobody understood; their customers have their accounts."""
    if found := counted(FieldToCorrect.objects.open()):
        yield Concern(
            "people",
            found,
            f"customer field{'' if found == 1 else 's'} to correct",
            advice(
                user,
                "change_customer",
                "Correct them on the customer pages or at the till.",
                "Correct them at the till, or ask someone with permission to change customers.",
            ),
            link("fields-to-correct", status="open"),
        )


def silent_channels(databases: list[Any]) -> Iterator[Concern]:
    """Databases whose last visit went wrong."""
    for database in databases:
        if (
            database.last_error
            and not database.blocked_by
            and database.is_enabled
            and database.channel.is_enabled
        ):
            yield Concern(
                "cloud-slash",
                None,
                database.last_error,
                "Nothing is lost: the next run tries again. Check the channel's server and"
                " network.",
                database.channel.get_absolute_url(),
            )


def failed_runs() -> Iterator[Concern]:
    """Jobs whose last run went wrong."""
    # Until the clock that was ahead is caught up with, a run of the future is not the last one.
    ended = JobRun.objects.filter(ended_at__lte=Now()).defer("error").newest_first()
    last = [ended.filter(job=job)[:1] for job in JOBS]
    for run in last[0].union(*last[1:], all=True):
        if run.status in TROUBLE:
            yield Concern(
                "clock-history",
                None,
                f"Last run of {run.job}: {run.get_status_display().lower()}.",
                run.message,
                run.get_absolute_url(),
            )


def short_sequences() -> Iterator[Concern]:
    """Companies that soon have no account numbers left."""
    for sequence in NumberSequence.objects.order_by("company"):
        if sequence.left < FEW_NUMBERS:
            yield Concern(
                "receipt",
                sequence.left,
                f"account numbers left for {sequence.company_id}",
                "Raise the highest number of its number sequence in the settings.",
                reverse("admin:stores_company_change", args=[sequence.company_id]),
            )


def unknown_time_zones(user: Reader) -> Iterator[Concern]:
    """Channels whose clock HQ's database cannot tell any more, as after a change of its server."""
    channels = Channel.objects.filter(is_enabled=True)
    for zone in channels.order_by("time_zone").values_list("time_zone", flat=True).distinct():
        if not database_knows_zone(zone):
            for channel in channels.filter(time_zone=zone).order_by("code"):
                yield Concern(
                    "clock-history",
                    None,
                    f"Headquarters' database does not know {zone}, the time zone of {channel}.",
                    advice(
                        user,
                        "change_channel",
                        "Choose another time zone in its settings. Its business days cannot end.",
                        "Its business days cannot end. Tell an administrator.",
                    ),
                    channel.get_absolute_url(),
                )


def stuck_sales(user: Reader) -> Iterator[Concern]:
    """Transactions, orders and statements that a person must help on."""
    unposted = RetailTransaction.objects.filter(statement=None, sales_order=None)
    correct = advice(
        user,
        "mend_transaction",
        "Correct them one by one, or all with the same cause at once.",
        "Ask someone with permission to correct transactions.",
    )
    release = advice(
        user,
        "release_hold",
        "They failed before or were corrected. Review and release them.",
        "They failed before or were corrected. Ask someone with permission to release them.",
    )
    for rows, what, next_step, url in (
        (
            Statement.objects.stuck(),
            "statement{s} not posted",
            "See what is blocking them; the next run continues where the last one stopped.",
            link("statements", only="failed"),
        ),
        (
            unposted.filter(validation_status=ValidationStatus.ERROR),
            "transaction{s} with errors",
            correct,
            link("transactions", validation=ValidationStatus.ERROR),
        ),
        (
            unposted.filter(order_status=OrderStatus.FAILED),
            "customer order{s} failed",
            correct,
            link("transactions", order=OrderStatus.FAILED),
        ),
        (
            SalesOrder.objects.filter(state=SalesOrderState.ON_HOLD),
            "order{s} on hold",
            release,
            link("orders", state=SalesOrderState.ON_HOLD),
        ),
    ):
        if count := counted(rows):
            yield Concern(
                "receipt", count, what.format(s="" if count == 1 else "s"), next_step, url
            )


# ------------------------------------------------------------------ what waits


def waiting_orders() -> QuerySet[RetailTransaction]:
    """Customer orders without a sales order that have not failed, each with its reason."""
    return (
        RetailTransaction.objects.orders()
        .filter(sales_order=None, statement=None)
        .exclude(order_status=OrderStatus.FAILED)
        .exclude(order_reason="nothing_ordered")
    )


def long_waiting_orders(user: Reader) -> Iterator[Concern]:
    """Orders that do not go on by themselves, or have not for long."""
    told = waiting_orders().filter(
        Q(order_reason="default_customer_missing") | Q(staged_at__lt=timezone.now() - LONG)
    )
    yield from by_reason(
        told,
        "customer order{s} waiting",
        "transactions",
        user,
        field="order_reason",
        posted="waiting",
    )


def waits(user: Reader) -> Iterator[Concern]:
    """What a job or an arrival takes on, with the reason and the next step."""
    yield from by_reason(
        waiting_orders().filter(staged_at__gte=timezone.now() - LONG),
        "customer order{s}",
        "transactions",
        user,
        field="order_reason",
        posted="waiting",
    )
    sales = RetailTransaction.objects.sold().filter(statement=None, sales_order=None)
    for rows, what, reason, url in (
        (
            sales.filter(validation_status=ValidationStatus.NONE),
            "sale{s}",
            "not_validated",
            link("transactions", why="not_validated"),
        ),
        (
            sales.filter(validation_status=ValidationStatus.SUCCESSFUL),
            "sale{s}",
            "not_calculated",
            link("transactions", why="not_calculated"),
        ),
        (
            Statement.objects.open().filter(reason=NOT_CALCULATED),
            "statement{s}",
            NOT_CALCULATED,
            link("statements", only="open"),
        ),
        (
            Statement.objects.open().filter(reason=NOT_POSTED),
            "statement{s}",
            NOT_POSTED,
            link("statements", only="open"),
        ),
    ):
        if count := counted(rows):
            yield of_a_reason("hourglass-split", count, what, reason, user, url)


def of_a_reason(icon: str, count: int, what: str, reason: str, user: Reader, url: str) -> Concern:
    """Things that wait or failed for one reason."""
    plural, known = "" if count == 1 else "s", REASONS.get(reason)
    text = f"{what.format(s=plural)}: {in_short(reason)}"
    return Concern(icon, count, text, known.advice(user.has_perm) if known else "", url)


def by_reason(
    rows: QuerySet[Any], what: str, name: str, user: Reader, *, field: str = "reason", **wanted: str
) -> Iterator[Concern]:
    """One concern for each reason, the most frequent first; `field` holds it."""
    found = rows.order_by().values(reason_code=F(field)).annotate(count=Count("pk"))
    for row in found.filter(~Q(reason_code=None)).order_by("-count", "reason_code"):
        reason = row["reason_code"]
        icon = "shield-exclamation" if name == "quarantine" else "inbox"
        url = link(name, **wanted, reason=reason)
        yield of_a_reason(icon, row["count"], what, reason, user, url)
