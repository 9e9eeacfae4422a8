"""The page of schedules, with the next start and the last run of each."""

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from stores.jobs.catalog import JOBS
from stores.models import JobRun, Schedule
from stores.models.job import JobCode
from stores.models.run import StartedBy
from stores.web.request import Request


@require_safe
def schedule_list(request: Request) -> HttpResponse:
    """The pipeline, which starts again after each run, and the jobs that have schedules."""
    pipeline = JobRun.objects.filter(job=JobCode.PIPELINE, started_by=StartedBy.SCHEDULE)
    schedules = Schedule.objects.select_related("channel", "group", "last_run")
    context = {
        "scheduled": [(JOBS[schedule.job], schedule) for schedule in schedules],
        "pipeline": JOBS[JobCode.PIPELINE],
        "pause_s": settings.PIPELINE_PAUSE_S,
        "last_pipeline": pipeline.defer("error").newest_first().first(),
    }
    return render(request, "schedules/list.html", context)
