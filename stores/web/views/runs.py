"""The pages of jobs and of their runs: start a job, watch a run, and cancel it.

A *job* is something that Syncline can do, such as uploading what the channels have. A *run* is one
time that it is done: it waits in a queue until a worker takes it, and has *steps*, often one for
each channel. A run is *live* until it has ended. Rows that failed or went into quarantine are *left
behind*. Every user may read these pages; who may start a job depends on the job.
"""

import shlex
from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from stores.jobs import queue, stages
from stores.jobs.catalog import JOBS
from stores.jobs.outcome import sum_counts
from stores.jobs.start import start_job
from stores.models import Channel, JobRun
from stores.models.run import RunStatus, StartedBy
from stores.pipeline.dates import EARLIEST_DATE, latest_business_date
from stores.web.forms.run import StartForm
from stores.web.lists.response import list_view, part_or_page
from stores.web.lists.runs import RunFilter, RunTable, all_runs
from stores.web.permissions import check_permissions, require_permission
from stores.web.request import Request
from stores.web.views.run_counts import channel_of, left_behind, step_counts

may_cancel_runs = require_permission("stores.control_job", "cancel runs")
# Workers take most runs sooner. The page of a run that waits longer says why.
USUAL_WAIT = timedelta(seconds=5)


@require_safe
def job_list(request: Request) -> HttpResponse:
    context = {
        "jobs": JOBS.values(),
        "channels": Channel.objects.filter(is_enabled=True),
        "live": JobRun.objects.live().newest_first(),
        "earliest": EARLIEST_DATE,
        "latest": latest_business_date(),
    }
    return render(request, "jobs/list.html", context)


@require_POST
def start_run(request: Request) -> HttpResponseRedirect:
    """Start a job, and show its run. A job that is already running is not started twice."""
    job = JOBS.get(request.POST.get("job", ""))
    if job is None:
        messages.error(request, "Unknown job.")
        return redirect("jobs")
    # Checked before the form: its errors could reveal which channels and orders there are.
    check_permissions(request, f"start {job.title}", *job.permissions)
    form = StartForm(job, request.POST)
    if not form.is_valid():
        messages.error(request, form.first_error)
        return redirect("jobs")
    channel = form.cleaned_data["channel"]
    started = start_job(
        job,
        channels=[channel.code] if channel else [],
        business_date=form.cleaned_data["date"],
        order_number=form.cleaned_data["order"],
        started_by=StartedBy.PAGE,
        user=request.user,
    )
    if started.is_new:
        add_start_message(request, started.run)
    else:
        messages.warning(request, f"{job.title} is already running. This is the current run.")
    return redirect(started.run)


run_list = list_view(RunFilter, RunTable, all_runs, template="runs/list.html")


@require_safe
def run_detail(request: Request, pk: UUID) -> HttpResponse:
    """One run with its steps.

    While the run is live, htmx polls the part of the page that changes; ?live=off stops that.
    """
    run = get_object_or_404(JobRun.objects.select_related("requested_by"), pk=pk)
    steps = list(run.steps.with_place())
    context = {
        "run": run,
        "steps": [(step, channel_of(step), list(step_counts(run, step))) for step in steps],
        "left_behind": list(left_behind(run, steps)),
        "steps_done": sum(step.ended_at is not None for step in steps),
        "counts": run.counts if run.has_ended else sum_counts(steps),
        "job": JOBS.get(run.job),
        "command": command_line(run),
        "has_live_view": not run.has_ended and request.GET.get("live") != "off",
        "waiting_message": waiting_message(run),
        "order": run.orders.first() if run.order_number else None,
    }
    return part_or_page(request, context, part="runs/_progress.html", page="runs/detail.html")


@require_POST
@may_cancel_runs
def cancel_run(request: Request, pk: UUID) -> HttpResponseRedirect:
    run = get_object_or_404(JobRun, pk=pk)
    if stages.cancel_run(run.pk):
        messages.success(request, "Cancellation requested. The run stops after the current batch.")
    else:
        messages.info(request, "The run has already ended.")
    return redirect(run)


def add_start_message(request: Request, run: JobRun) -> None:
    """Tell the user that a run has started, why it has not started yet, or that it is done."""
    title = JOBS[run.job].title
    # A run without a channel or company to work on has ended already.
    if run.has_ended:
        messages.info(request, f"{title}: done. {run.message}")
    elif reason := no_worker_reason():
        messages.warning(request, f"{title}: saved. {reason}")
    elif run.business_date:
        messages.success(request, f"{title} started for {run.business_date}.")
    elif run.order_number:
        messages.success(request, f"{title} started for order {run.order_number}.")
    else:
        messages.success(request, f"{title} started.")


def waiting_message(run: JobRun) -> str:
    """The reason why a run is still queued. Empty if it is not, or has not waited long yet."""
    if run.status != RunStatus.QUEUED or timezone.now() - run.created_at < USUAL_WAIT:
        return ""
    return no_worker_reason() or "All workers are busy. The run starts when one is free."


def no_worker_reason() -> str:
    """Why no worker can take a run. Empty if there are workers."""
    workers = queue.count_workers()
    if workers is None:
        return "The queue is not responding. The run starts automatically when the queue is back."
    if workers == 0:
        return "No worker is running. The run starts as soon as one is available."
    return ""


def command_line(run: JobRun) -> str:
    """The command that starts a run like this one."""
    words = ["run_job", run.job]
    if run.channels:
        words += ["--channel", *run.channels]
    if run.companies:
        words += ["--company", *run.companies]
    if run.business_date:
        words += ["--date", str(run.business_date)]
    if run.order_number:
        words += ["--order", run.order_number]
    return shlex.join(words)
