"""Jobs and their runs: launch, history, one run live."""

from collections.abc import Sequence
from uuid import UUID

from django.contrib import messages
from django.db.models import DurationField, ExpressionWrapper, F
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from stores import jobs
from stores.filters import RunFilter
from stores.forms import StartForm
from stores.models import Channel, JobRun
from stores.models.run import StartedBy
from stores.pipeline import JOBS
from stores.tables import RunTable
from stores.views import Request
from stores.views.lists import part_or_page, respond


@require_safe
def job_list(request: Request) -> HttpResponse:
    """Every job with its button and its command; above them what runs now."""
    context = {
        "jobs": JOBS.values(),
        "channels": Channel.objects.filter(is_enabled=True),
        "live": JobRun.objects.live().newest_first(),
    }
    return render(request, "jobs/list.html", context)


@require_safe
def run_list(request: Request) -> HttpResponseBase:
    """Every run, newest first."""
    took = ExpressionWrapper(F("ended_at") - F("started_at"), output_field=DurationField())
    runs = JobRun.objects.newest_first().select_related("requested_by").defer("error")
    filters = RunFilter(request.GET, runs.annotate(took=took))
    return respond(request, filters, RunTable, "runs/list.html")


@require_POST
def start_run(request: Request) -> HttpResponseRedirect:
    """Start a job for the workers, or lead to the run of it that is live already."""
    form = StartForm(request.POST)
    if not form.is_valid():
        messages.error(request, "There is no such job or channel, or the channel is switched off.")
        return redirect("jobs")
    job, channel = JOBS[form.cleaned_data["job"]], form.cleaned_data["channel"]
    started = jobs.start_and_ring(
        job,
        channels=[channel.code] if channel else [],
        started_by=StartedBy.PAGE,
        user=request.user,
    )
    if started.is_new:
        messages.success(request, f"{job.title} started.")
    else:
        messages.warning(request, f"{job.title} is already running; this is that run.")
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
        "counts": run.counts if run.is_final else jobs.sum_counts(steps),
        "job": JOBS.get(run.job),
        "command": command_of(run),
        "is_live": not run.is_final and request.GET.get("live") != "off",
        "successor": run.successors.first(),
    }
    return part_or_page(request, "runs/_progress.html", "runs/detail.html", context)


@require_POST
def cancel_run(request: Request, pk: UUID) -> HttpResponseRedirect:
    """Ask a run to stop at its next chunk; what is committed stays."""
    run = get_object_or_404(JobRun, pk=pk)
    if run.ask_to_stop():
        messages.success(request, "Asked to stop. The run ends at its next chunk.")
    else:
        messages.info(request, "The run has ended already.")
    return redirect(run)


def command_of(run: JobRun) -> str:
    """The command that starts the same run."""
    words: Sequence[str] = ["run_job", run.job]
    for option, values in (("--channel", run.channels), ("--company", run.companies)):
        words = [*words, option, *values] if values else words
    return " ".join(words)
