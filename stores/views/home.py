"""The overview: the ring with its counts, the channels, and what needs a person."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from stores.filters import (
    MOST_COUNTED,
    async_customers,
    counted,
    customers,
    in_short,
    owed_by,
    quarantine,
)
from stores.models import (
    AsyncAddress,
    AsyncAffiliation,
    AsyncAttribute,
    AsyncContact,
    Channel,
    Customer,
    JobRun,
    NumberSequence,
)
from stores.models.reason import REASONS
from stores.models.run import RunStatus
from stores.pipeline import JOBS
from stores.views import Request
from stores.views.channels import with_counts

FEW_NUMBERS = 1000
TROUBLE = (RunStatus.FAILED, RunStatus.PARTLY, RunStatus.LOST)
# Waiting for these ends by itself, when their customer arrives or is mended.
PATIENCE = ("parent_missing", "parent_failed")


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
        "concerns": list(concerns(databases)),
        "runs": JobRun.objects.newest_first().defer("error")[:5],
        "live": JobRun.objects.live().filter(job="pipeline").newest_first().first(),
        "pipeline": JOBS["pipeline"],
    }
    return render(request, "home/overview.html", context)


def ring() -> dict[str, Any]:
    """What is at each station; every tally is the length of the list it leads to."""
    owed = Customer.objects.filter(pk__in=owed_by().values("customer")[: MOST_COUNTED + 1])
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
        "owed": Tally(
            counted(customers(owed="any")),
            owed.aggregate(oldest=Min("modified_at"))["oldest"],
            link("customers", owed="any"),
        ),
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


def concerns(databases: list[Any]) -> Iterator[Concern]:
    """Everything that does not end by itself, the most pressing first."""
    yield from silent_channels(databases)
    yield from failed_runs()
    yield from short_sequences()
    for state in ("failed", "waiting"):
        yield from by_reason(
            async_customers(state=state).exclude(reason__in=PATIENCE),
            f"customer operation{{s}} {state}",
            "async-customers",
            state=state,
        )
    yield from by_reason(
        quarantine(status="open"), "row{s} in quarantine", "quarantine", status="open"
    )


def silent_channels(databases: list[Any]) -> Iterator[Concern]:
    """Databases whose last visit went wrong."""
    for database in databases:
        if database.last_error and database.is_enabled and database.channel.is_enabled:
            yield Concern(
                "cloud-slash",
                None,
                database.last_error,
                "Nothing is lost: the next run tries again. Check the channel's server and line.",
                database.channel.get_absolute_url(),
            )


def failed_runs() -> Iterator[Concern]:
    """Jobs whose last run went wrong."""
    last = JobRun.objects.order_by("job", "-created_at", "pk").distinct("job")
    for run in last.filter(ended_at__isnull=False).defer("error"):
        if run.status in TROUBLE:
            yield Concern(
                "clock-history",
                None,
                f"The last run of {run.job} ended {run.get_status_display().lower()}.",
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
                "Raise the largest number of its number sequence in the set-up.",
                reverse("admin:stores_company_change", args=[sequence.company_id]),
            )


def by_reason(rows: QuerySet[Any], what: str, name: str, **wanted: str) -> Iterator[Concern]:
    """One concern for each reason, the most frequent first."""
    found = rows.order_by().values("reason").annotate(count=Count("pk"))
    for row in found.filter(~Q(reason=None)).order_by("-count", "reason"):
        known, plural = REASONS.get(row["reason"]), "" if row["count"] == 1 else "s"
        yield Concern(
            "shield-exclamation" if name == "quarantine" else "inbox",
            row["count"],
            f"{what.format(s=plural)}: {in_short(row['reason'])}",
            known.next_step if known else "",
            link(name, **wanted, reason=row["reason"]),
        )
