"""The overview: the pipeline with its counts, the alerts, the channels and the latest runs."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from stores.channel_status import Timeliness
from stores.models import Customer, JobRun
from stores.models.job import JobCode
from stores.models.run import IS_IDLE
from stores.pipeline.events.kinds import CHILDREN
from stores.pipeline.events.rules import STAGING_MODELS
from stores.web.components import query_url
from stores.web.counts import MAX_COUNTED, capped_count
from stores.web.lists.async_customers import filter_async_customers
from stores.web.lists.channels import databases_with_counts, with_statuses
from stores.web.lists.customers import filter_customers
from stores.web.lists.quarantine import filter_quarantine
from stores.web.request import Request
from stores.web.views.alerts import alerts, waiting_rows
from stores.web.views.balance import latest_balance

MAX_RUNS_SHOWN = 5
MAX_DATABASES_SHOWN = 20


@require_safe
def overview(request: Request) -> HttpResponse:
    databases = with_statuses(databases_with_counts())
    visits = [database.last_visited_at for database in databases if database.last_visited_at]
    pipeline_runs = JobRun.objects.live().filter(job=JobCode.PIPELINE)
    context = {
        "now": timezone.now(),
        "stations": pipeline_counts(),
        "databases": most_urgent(databases),
        "count": len(databases),
        "status_counts": count_statuses(databases),
        "last_visited_at": max(visits, default=None),
        "balance": latest_balance(),
        "alerts": list(alerts(databases, request.user)),
        "waiting_rows": list(waiting_rows(request.user)),
        "runs": JobRun.objects.exclude(IS_IDLE).newest_first().defer("error")[:MAX_RUNS_SHOWN],
        "live_run": pipeline_runs.newest_first().first(),
    }
    return render(request, "home/overview.html", context)


def most_urgent(databases: list[Any]) -> list[Any]:
    """All databases, or those that are served worst if they are too many to be looked at."""
    if len(databases) <= MAX_DATABASES_SHOWN:
        return databases
    ranks = {timeliness: rank for rank, timeliness in enumerate(reversed(Timeliness))}
    # A database that is switched off has no status.
    by_rank = sorted(databases, key=lambda row: ranks.get(row.status.timeliness, len(ranks)))
    return by_rank[:MAX_DATABASES_SHOWN]


def count_statuses(databases: list[Any]) -> list[tuple[str, int, str]]:
    """How many databases have each status: its word, their number, and the URL of their list."""
    counts = Counter(database.status.timeliness for database in databases)
    return [
        (str(timeliness.label), counts[timeliness], query_url("channels", status=timeliness.value))
        for timeliness in Timeliness
        if counts[timeliness]
    ]


@dataclass(frozen=True)
class RowCount:
    """The number of rows of a list, the time of the oldest one, and the URL of the list.

    A count above MAX_COUNTED stands for any larger one; `oldest` is then that of the rows counted.
    """

    count: int
    oldest: datetime | None
    url: str


def pipeline_counts() -> dict[str, Any]:
    """The counts at each station of the pipeline.

    A RowCount links to a list of just those rows. `children` counts the open events of addresses,
    contacts, affiliations and attributes; `newest` is the time of the newest account.
    """
    return {
        "not_synchronized": count_operations("not_synchronized"),
        "waiting": count_operations("waiting"),
        "failed": count_operations("failed"),
        "children": sum(
            capped_count(STAGING_MODELS[kind.noun].objects.open()) for kind in CHILDREN
        ),
        "quarantined": count_rows(
            filter_quarantine(status="open"),
            "first_seen_at",
            query_url("quarantine", status="open"),
        ),
        "customers": count_rows(filter_customers(), "created_at", query_url("customers")),
        "newest": Customer.objects.newest_first().values_list("created_at", flat=True).first(),
        "pending": count_rows(
            filter_customers(owed="any"), "modified_at", query_url("customers", owed="any")
        ),
    }


def count_operations(state: str) -> RowCount:
    """The customer operations in a state, as the list of customer operations counts them."""
    operations = filter_async_customers(state=state)
    return count_rows(operations, "staged_at", query_url("async-customers", state=state))


def count_rows(rows: QuerySet[Any], time_column: str, url: str) -> RowCount:
    counted = rows.order_by()[: MAX_COUNTED + 1]
    totals = counted.aggregate(count=Count("pk"), oldest=Min(time_column))
    return RowCount(totals["count"], totals["oldest"], url)
