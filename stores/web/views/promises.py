"""The page of promises, with the result of the last check of each."""

from operator import attrgetter

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from stores.models import JobRun, Promise, RunStep, Schedule
from stores.models.job import COMPARING_JOBS, JobCode
from stores.models.run import RunStatus
from stores.web.request import Request

# Runs that compared a single channel, such as after an incident, leave out the others.
MAX_COMPARISONS = 100


@require_safe
def promise_list(request: Request) -> HttpResponse:
    """Every invariant with the result of its last check, and the last comparisons with channels."""
    promises = list(Promise.objects.select_related("run"))
    comparisons = JobRun.objects.filter(job__in=COMPARING_JOBS, ended_at__isnull=False)
    last_comparison = comparisons.defer("error").newest_first().first()
    schedules = Schedule.objects.active().filter(channels=None, groups=None)
    context = {
        "promises": promises,
        "broken": [promise for promise in promises if not promise.ok],
        "checked_at": min((promise.checked_at for promise in promises), default=None),
        "run": promises[0].run if promises else None,
        "live": JobRun.objects.live().filter(job=JobCode.VERIFY).first(),
        "schedules": {schedule.job: schedule for schedule in schedules},
        "last_comparison": last_comparison,
        "steps": last_comparisons(comparisons),
    }
    return render(request, "promises/list.html", context)


def last_comparisons(runs: QuerySet[JobRun]) -> list[RunStep]:
    """The last comparison with each channel database, among those of the latest runs.

    A step that was cancelled, or that another run kept from starting, has no result.
    """
    latest_runs = runs.order_by("-created_at", "-pk").values("pk")[:MAX_COMPARISONS]
    steps = RunStep.objects.filter(run__in=latest_runs, database__isnull=False)
    steps = steps.exclude(status__in=[RunStatus.CANCELLED, RunStatus.BUSY])
    newest = steps.order_by("database_id", "-run__created_at", "-pk").distinct("database_id")
    return sorted(newest.select_related("run", "database__channel"), key=attrgetter("place"))
