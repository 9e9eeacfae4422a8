"""Run a job here and now, or through the queue."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandParser

from stores.jobs.catalog import DATED_JOBS, JOBS, Job, find_job
from stores.jobs.inline import run_inline
from stores.jobs.outcome import busy_document, run_document
from stores.jobs.start import start_job
from stores.management.arguments import (
    add_codes,
    check_channels,
    check_companies,
    check_order,
    parse_date,
    wrong_argument,
)
from stores.management.base import SynclineCommand
from stores.models import JobRun
from stores.models.job import JobCode

# Takes what a terminal shows from here to the end of the line.
CLEAR = "\x1b[K"
JOB_EXIT_STATUS = {"succeeded": 0, "nothing_to_do": 0, "queued": 0, "busy": 75}


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
        job = find_job(options["job"])
        if job is None:
            raise wrong_argument(f"There is no job {options['job']!r}. Jobs: {', '.join(JOBS)}.")
        if options["date"] and not job.takes_date:
            known = ", ".join(DATED_JOBS)
            raise wrong_argument(f"--date cannot be used with {job.code}, only with {known}.")
        if options["order"] is not None and not job.takes_order:
            raise wrong_argument(f"--order can only be used with {JobCode.ORDERS}.")
        for option in ("channel", "company"):
            if options[option] and job.is_everywhere:
                raise wrong_argument(
                    f"--{option} cannot be used with {job.code}, which always covers everything."
                )
        scope: dict[str, Any] = {
            "channels": check_channels(options["channel"]),
            "companies": check_companies(options["company"]),
            "business_date": options["date"],
        }
        if options["order"] is not None:
            scope["order_number"] = check_order(options["order"], scope["channels"])
        if options["queue"]:
            document = enqueue_job(job, scope)
        else:
            with progress_line() as report:
                document = run_inline(job, dry_run=options["dry_run"], report=report, **scope)
        sentence = f"{document['job']}: {document['outcome']}. {document['message']}"
        self.answer(document, *map(step_line, document["steps"]), sentence)
        if status := JOB_EXIT_STATUS.get(document["outcome"], 1):
            raise SystemExit(status)


def step_line(step: dict[str, Any]) -> str:
    counts = ", ".join(f"{rows:,} {word}" for word, rows in step["counts"].items())
    place = step["channel"] or step["company"] or ""
    return (
        f"{step['step']:<10} {place:<16} {step['outcome']:<14} "
        f"{step['seconds']:>8.2f} s  {counts or step['message']}".rstrip()
    )


@contextmanager
def progress_line() -> Iterator[Callable[[JobRun], None]]:
    """Tells how far a run has come, in one line of a terminal that is gone at the end."""

    def show(run: JobRun) -> None:
        steps = run.steps.count()
        sys.stderr.write(f"\r{CLEAR}{steps - run.steps.live().count()} of {steps} steps done")
        sys.stderr.flush()

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    yield show
    sys.stderr.write(f"\r{CLEAR}")


def enqueue_job(job: Job, scope: dict[str, Any]) -> dict[str, Any]:
    """Leave the run to a worker; the document says queued, or busy if one is live already."""
    started = start_job(job, **scope)
    if not started.is_new:
        return busy_document(started.run)
    return run_document(started.run) | {"message": "The run is waiting for a worker."}
