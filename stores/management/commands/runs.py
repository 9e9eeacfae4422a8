"""Runs of jobs: list the latest, cancel one."""

from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from stores.management.base import SynclineCommand, print_json
from stores.models import JobRun

ROW_FORMAT = "{id}  {job:<22} {status:<14} {at:%Y-%m-%d %H:%M}  {about}"
MAX_LISTED = 100


class Command(SynclineCommand):
    help = (
        "List the runs that wait or go on, with --all also those that ended lately, or cancel one: "
        "it ends at its next chunk, and what is committed stays. "
        "Exit status: 0 done, 1 it has ended already, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list", "cancel"])
        parser.add_argument("id", nargs="?", metavar="ID", help="cancel: the run, as list names it")
        parser.add_argument("--all", action="store_true", help="list: also runs that ended")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self.list(options)
            return
        run = chosen(options["id"])
        if not run.request_cancel():
            raise CommandError("The run has already ended.")
        run.refresh_from_db()
        if options["json"]:
            print_json(self, described(run))
        else:
            self.stdout.write("Cancellation requested. The run stops after the current batch.")

    def list(self, options: dict[str, Any]) -> None:
        runs = JobRun.objects.newest_first()
        runs = runs if options["all"] else runs.live()
        documents = [described(run) for run in runs[:MAX_LISTED]]
        if options["json"]:
            print_json(self, {"runs": documents})
            return
        for row in documents:
            self.stdout.write(ROW_FORMAT.format_map(row))
        self.stdout.write(f"{len(documents)} runs." if len(documents) != 1 else "1 run.")


def chosen(text: str | None) -> JobRun:
    """The run with this id. Errors: CommandError with status 2."""
    try:
        run = JobRun.objects.filter(pk=UUID(text or "")).first()
    except ValueError:
        run = None
    if run is None:
        raise CommandError(f"There is no run {text or ''!r}; list shows them.", returncode=2)
    return run


def described(run: JobRun) -> dict[str, Any]:
    return {
        "id": str(run.pk),
        "job": run.job,
        "about": run.about,
        "status": run.status,
        "at": run.created_at,
        "cancel_requested": run.cancel_requested_at,
        "message": run.message or None,
    }
