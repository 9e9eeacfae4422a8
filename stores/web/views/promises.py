"""The page of promises, with the result of the last check of each."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from stores.jobs.catalog import JOBS
from stores.models import JobRun, Promise, Schedule
from stores.models.job import COMPARING_JOBS, JobCode
from stores.web.request import Request


@require_safe
def promise_list(request: Request) -> HttpResponse:
    promises = list(Promise.objects.select_related("run"))
    comparisons = JobRun.objects.filter(job__in=COMPARING_JOBS, ended_at__isnull=False)
    last_comparison = comparisons.defer("error").newest_first().first()
    schedules = Schedule.objects.filter(channel=None, group=None, is_enabled=True)
    context = {
        "promises": promises,
        "broken": [promise for promise in promises if not promise.ok],
        "checked_at": min((promise.checked_at for promise in promises), default=None),
        "run": promises[0].run if promises else None,
        "live": JobRun.objects.live().filter(job=JobCode.VERIFY).first(),
        "job": JOBS[JobCode.VERIFY],
        "nightly": {schedule.job: schedule for schedule in schedules},
        "compared": last_comparison,
        "places": (
            last_comparison.steps.select_related("database__channel") if last_comparison else []
        ),
    }
    return render(request, "promises/list.html", context)
