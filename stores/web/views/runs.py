"""Jobs and their runs: launch, history, one run live."""

import shlex
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from stores.jobs import queue
from stores.jobs.catalog import JOBS
from stores.jobs.outcome import sum_counts
from stores.jobs.start import start_job
from stores.models import Channel, JobRun
from stores.models.run import RunStatus, StartedBy
from stores.pipeline.dates import EARLIEST_DATE, latest_business_date
from stores.web.forms.run import StartForm
from stores.web.lists.response import list_response, part_or_page
from stores.web.lists.runs import RunFilter, RunTable, all_runs
from stores.web.permissions import check_permissions, require_permission
from stores.web.request import Request

may_cancel_runs = require_permission(
    "stores.control_job", "You do not have permission to cancel runs."
)
# So long a run may wait before its page says why.
WORKER_GRACE = timedelta(seconds=5)


@require_safe
def job_list(request: Request) -> HttpResponse:
    """Every job with its button and its command; above them what runs now."""
    context = {
        "jobs": JOBS.values(),
        "channels": Channel.objects.filter(is_enabled=True),
        "live": JobRun.objects.live().newest_first(),
        "earliest": EARLIEST_DATE,
        "latest": latest_business_date(),
    }
    return render(request, "jobs/list.html", context)


@require_safe
def run_list(request: Request) -> HttpResponseBase:
    filters = RunFilter(request.GET, all_runs())
    return list_response(request, filters, RunTable, "runs/list.html")


@require_POST
def start_run(request: Request) -> HttpResponseRedirect:
    """Start a job for the workers, or lead to the run of it that is live already."""
    if requested := JOBS.get(request.POST.get("job", "")):
        check_permissions(
            request,
            f"You do not have permission to start {requested.title}.",
            *requested.permissions,
        )
    form = StartForm(request.POST)
    if not form.is_valid():
        messages.error(request, form.refusal)
        return redirect("jobs")
    job, channel = JOBS[form.cleaned_data["job"]], form.cleaned_data["channel"]
    day, order = form.cleaned_data["date"], form.cleaned_data["order"]
    started = start_job(
        job,
        channels=[channel.code] if channel else [],
        business_date=day,
        order_number=order,
        started_by=StartedBy.PAGE,
        user=request.user,
    )
    if started.is_new and JobRun.objects.filter(pk=started.run.pk, rung_at=None).exists():
        message = f"{job.title}: saved. It starts automatically when the queue is back."
        messages.warning(request, message)
    elif started.is_new:
        subject = day or (f"order {order}" if order else "")
        messages.success(request, f"{job.title} started{f' for {subject}' if subject else ''}.")
    else:
        messages.warning(request, f"{job.title} is already running. This is the current run.")
    return redirect(started.run)


@require_safe
def run_detail(request: Request, pk: UUID) -> HttpResponse:
    """One run with its steps; the part that changes asks for itself again until the run ends."""
    run = get_object_or_404(JobRun.objects.select_related("requested_by", "successor_of"), pk=pk)
    steps = list(run.steps.select_related("database__channel", "company"))
    context = {
        "run": run,
        "steps": steps,
        "done": sum(1 for step in steps if step.ended_at),
        "counts": run.counts if run.is_final else sum_counts(steps),
        "job": JOBS.get(run.job),
        "command": run_command(run),
        "is_live": not run.is_final and request.GET.get("live") != "off",
        "successor": run.successors.first(),
        "unheard": waiting_message(run),
        "order": run.orders.first() if run.order_number else None,
    }
    return part_or_page(request, "runs/_progress.html", "runs/detail.html", context)


def waiting_message(run: JobRun) -> str:
    """The sentence for a run that has waited for longer than a worker needs to answer."""
    if run.status != RunStatus.QUEUED or timezone.now() - run.created_at < WORKER_GRACE:
        return ""
    workers = queue.count_workers()
    if workers is None:
        return (
            "The queue is not responding. The run is saved and starts automatically when the queue"
            " is back."
        )
    if not workers:
        return "No worker is running. The run is saved and starts as soon as one is available."
    return "All workers are busy. The run starts when one is free."


@require_POST
@may_cancel_runs
def cancel_run(request: Request, pk: UUID) -> HttpResponseRedirect:
    """Ask a run to stop at its next chunk; what is committed stays."""
    run = get_object_or_404(JobRun, pk=pk)
    if run.request_cancel():
        messages.success(request, "Cancellation requested. The run stops after the current batch.")
    else:
        messages.info(request, "The run has already ended.")
    return redirect(run)


def run_command(run: JobRun) -> str:
    words: Sequence[str] = ["run_job", run.job]
    for option, values in (("--channel", run.channels), ("--company", run.companies)):
        words = [*words, option, *values] if values else words
    if run.business_date:
        words = [*words, "--date", str(run.business_date)]
    if run.order_number:
        words = [*words, "--order", shlex.quote(run.order_number)]
    return " ".join(words)
