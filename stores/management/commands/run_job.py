"""Run a job here and now, or through the queue."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.jobs.catalog import DATED_JOBS, JOBS, Job, find_job
from stores.jobs.inline import run_inline
from stores.jobs.outcome import busy_document, run_document
from stores.jobs.start import start_job
from stores.management.arguments import check_channels, check_companies, check_order, parse_date
from stores.management.base import SynclineCommand

JOB_EXIT_STATUS = {"succeeded": 0, "nothing_to_do": 0, "queued": 0, "busy": 75}


class Command(SynclineCommand):
    help = (
        "Run a job: " + ", ".join(JOBS) + ". "
        "Exit status: 0 done or nothing to do, 1 failed, partly or cancelled, "
        "2 wrong arguments, 75 busy."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job", metavar="JOB")
        parser.add_argument("--channel", nargs="+", action="extend", default=[], metavar="CODE")
        parser.add_argument("--company", nargs="+", action="extend", default=[], metavar="C")
        parser.add_argument(
            "--date",
            type=parse_date,
            metavar="YYYY-MM-DD",
            help=f"only the sales of this business date; with {', '.join(DATED_JOBS)}",
        )
        parser.add_argument(
            "--order",
            metavar="NUMBER",
            help="only this customer order, by its confirmation number; with sync-orders",
        )
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--dry-run", action="store_true", help="say what a run would do")
        how.add_argument("--queue", action="store_true", help="leave it to a worker")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        job = find_job(options["job"])
        if job is None:
            known = ", ".join(JOBS)
            raise CommandError(f"No job is called {options['job']}; known: {known}.", returncode=2)
        if options["date"] and not job.takes_date:
            known = ", ".join(DATED_JOBS)
            raise CommandError(f"--date goes with {known}; not with {job.code}.", returncode=2)
        if options["order"] is not None and not job.takes_order:
            raise CommandError(f"--order goes with sync-orders; not with {job.code}.", returncode=2)
        for option in ("channel", "company"):
            if options[option] and job.is_everywhere:
                raise CommandError(
                    f"--{option} does not go with {job.code}, which looks at everything.",
                    returncode=2,
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
            document = run_inline(job, dry_run=options["dry_run"], **scope)
        if options["json"]:
            self.print_json(document)
        else:
            self.report(document)
        if status := JOB_EXIT_STATUS.get(document["outcome"], 1):
            raise SystemExit(status)

    def report(self, document: dict[str, Any]) -> None:
        """Print the outcome in one line, and a line for each step."""
        for step in document["steps"]:
            counts = ", ".join(f"{rows:,} {word}" for word, rows in step["counts"].items())
            place = step["channel"] or step["company"] or ""
            self.stdout.write(
                f"{step['step']:<10} {place:<16} {step['outcome']:<14} "
                f"{step['seconds']:>8.2f} s  {counts or step['message']}".rstrip()
            )
        self.stdout.write(f"{document['job']}: {document['outcome']}. {document['message']}")


def enqueue_job(job: Job, scope: dict[str, Any]) -> dict[str, Any]:
    """Leave the run to a worker; the document says queued, or busy if one is live already."""
    started = start_job(job, **scope)
    if not started.is_new:
        return busy_document(started.run)
    return run_document(started.run) | {"message": "The run waits for a worker."}
