"""The page of promises, with the result of the last check of each."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from stores.models import JobRun, Promise, Schedule
from stores.models.job import COMPARING_JOBS, JobCode
from stores.web.request import Request


@require_safe
def promise_list(request: Request) -> HttpResponse:
    """Every invariant with the result of its last check, and the last comparison with channels."""
    promises = list(Promise.objects.select_related("run"))
    comparisons = JobRun.objects.filter(job__in=COMPARING_JOBS, ended_at__isnull=False)
    last_comparison = comparisons.defer("error").newest_first().first()
    steps = last_comparison.steps.select_related("database__channel") if last_comparison else []
    schedules = Schedule.objects.filter(channel=None, group=None, is_enabled=True)
    context = {
        "promises": promises,
        "broken": [promise for promise in promises if not promise.ok],
        "checked_at": min((promise.checked_at for promise in promises), default=None),
        "run": promises[0].run if promises else None,
        "live": JobRun.objects.live().filter(job=JobCode.VERIFY).first(),
        "schedules": {schedule.job: schedule for schedule in schedules},
        "last_comparison": last_comparison,
        "steps": steps,
    }
    return render(request, "promises/list.html", context)
