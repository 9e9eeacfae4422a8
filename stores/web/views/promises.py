"""The promises: what the last check of each invariant found. The check itself is a run."""

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
    ended = JobRun.objects.filter(job__in=COMPARING_JOBS, ended_at__isnull=False)
    compared = ended.defer("error").newest_first().first()
    everywhere = Schedule.objects.filter(channel=None, group=None)
    context = {
        "promises": promises,
        "broken": [promise for promise in promises if not promise.ok],
        "checked_at": min((promise.checked_at for promise in promises), default=None),
        "run": promises[0].run if promises else None,
        "live": JobRun.objects.live().filter(job=JobCode.VERIFY).first(),
        "job": JOBS[JobCode.VERIFY],
        "nightly": {schedule.job: schedule for schedule in everywhere.filter(is_enabled=True)},
        "compared": compared,
        "places": compared.steps.select_related("database__channel") if compared else [],
    }
    return render(request, "promises/list.html", context)
