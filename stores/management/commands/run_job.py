"""Run a job here and now, or through the queue."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandParser

from stores.jobs.catalog import DATED_JOBS, JOBS, Job, find_job
from stores.jobs.inline import run_inline
from stores.jobs.liveness import missing_worker
from stores.jobs.start import start_job
from stores.management.arguments import (
    add_codes,
    known_channels,
    known_companies,
    known_order,
    parse_date,
    wrong_argument,
)
from stores.management.base import SynclineCommand, exit_status
from stores.models import JobRun
from stores.models.job import JobCode

# Erases what a terminal shows from here to the end of the line.
CLEAR = "\x1b[K"


class Command(SynclineCommand):
    help = (
        "Runs a job, here or through the queue. "
        "Exit status: 0 done or nothing to do, 1 failed, partly done or cancelled, "
        "2 wrong arguments, 75 busy."
    )
    example = "run_job pipeline --channel houston seattle"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job", metavar="JOB", help=f"The job: {', '.join(JOBS)}.")
        add_codes(parser, "--channel", "Only these channels.")
        add_codes(parser, "--company", "Only these companies.")
        parser.add_argument(
            "--date",
            type=parse_date,
            metavar="YYYY-MM-DD",
            help=f"{', '.join(DATED_JOBS)}: only the sales of this business date.",
        )
        parser.add_argument(
            "--order",
            metavar="NUMBER",
            help=f"{JobCode.ORDERS}: only the order with this confirmation number.",
        )
        how = parser.add_mutually_exclusive_group()
        how.add_argument(
            "--dry-run", action="store_true", help="Shows what a run would do; saves nothing."
        )
        how.add_argument("--queue", action="store_true", help="Leaves the run to a worker.")

    def handle(self, *args: Any, **options: Any) -> None:
        job = get_job(options["job"])
        scope = get_scope(job, options)
        if options["queue"]:
            document = enqueue_job(job, scope)
        else:
            with progress_line() as report:
                document = run_inline(job, dry_run=options["dry_run"], report=report, **scope)
        lines = [step_line(step) for step in document["steps"]]
        summary = f"{document['job']}: {document['outcome']}. {document['message']}"
        self.print_json_or_text(document, *lines, summary, status=exit_status(document["outcome"]))


def get_job(name: str) -> Job:
    """Return the job with this code or other name. Errors: CommandError with status 2."""
    job = find_job(name)
    if job is None:
        raise wrong_argument(f"There is no job {name!r}. Jobs: {', '.join(JOBS)}.")
    return job


def get_scope(job: Job, options: dict[str, Any]) -> dict[str, Any]:
    """Return what the run is limited to, as start_job() and run_inline() take it.

    Errors: CommandError with status 2 for an option that the job does not take, and for a channel,
    company or order that does not exist.
    """
    date, order = options["date"], options["order"]
    if date is not None and not job.takes_date:
        known = ", ".join(DATED_JOBS)
        raise wrong_argument(f"--date cannot be used with {job.code}, only with {known}.")
    if order is not None and job.code != JobCode.ORDERS:
        raise wrong_argument(f"--order can only be used with {JobCode.ORDERS}.")
    for option in ("channel", "company"):
        if options[option] and job.covers_everything:
            raise wrong_argument(
                f"--{option} cannot be used with {job.code}, which always covers everything."
            )
    channels = known_channels(options["channel"])
    return {
        "channels": channels,
        "companies": known_companies(options["company"]),
        "business_date": date,
        "order_number": "" if order is None else known_order(order, channels),
    }


def step_line(step: dict[str, Any]) -> str:
    """One step of the run: where, how it ended, how long it took, and what it counted."""
    counts = ", ".join(f"{rows:,} {word}" for word, rows in step["counts"].items())
    place = step["channel"] or step["company"] or ""
    return (
        f"{step['step']:<10} {place:<16} {step['outcome']:<14} "
        f"{step['seconds']:>8.2f} s  {counts or step['message']}".rstrip()
    )


@contextmanager
def progress_line() -> Iterator[Callable[[JobRun], None]]:
    """Yield a function that shows how far a run has come, in one line of the terminal.

    The line is gone at the end. The function does nothing where stderr is no terminal.
    """

    def show_progress(run: JobRun) -> None:
        total = run.steps.count()
        done = total - run.steps.live().count()
        sys.stderr.write(f"\r{CLEAR}{done} of {total} steps done")
        sys.stderr.flush()

    if sys.stderr.isatty():
        try:
            yield show_progress
        finally:
            sys.stderr.write(f"\r{CLEAR}")
    else:
        yield lambda run: None


def enqueue_job(job: Job, scope: dict[str, Any]) -> dict[str, Any]:
    """Leave the run to a worker. Returns the run's document: queued, or busy if one is live."""
    started = start_job(job, **scope)
    if not started.is_new:
        return started.run.as_busy_dict()
    why = [f"{problem.text} {problem.next_step}" for problem in missing_worker()]
    return started.run.as_dict() | {"message": " ".join(["The run is waiting for a worker.", *why])}
