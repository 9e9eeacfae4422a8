"""List job runs and cancel them."""

from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from stores.management.base import SynclineCommand, add_actions
from stores.models import JobRun

LINE_FORMAT = "{id}  {job:<22} {status:<14} {at:%Y-%m-%d %H:%M}  {about}"
MAX_LISTED = 100


class Command(SynclineCommand):
    help = (
        "List the runs that wait or go on, with --all also those that ended lately, or cancel one: "
        "it ends at its next chunk, and what is committed stays. "
        "Exit status: 0 done, 1 it has ended already, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        list_parser = actions.add_parser("list", help="list waiting and executing runs")
        list_parser.add_argument("--all", action="store_true", help="also runs that ended")
        cancel_parser = actions.add_parser("cancel", help="ask a run to stop")
        cancel_parser.add_argument("id", type=UUID, metavar="ID", help="the run, as list names it")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self.list_runs(include_ended=options["all"], as_json=options["json"])
        else:
            self.cancel_run(get_run(options["id"]), as_json=options["json"])

    def list_runs(self, *, include_ended: bool, as_json: bool) -> None:
        """List the latest runs, newest first."""
        runs = JobRun.objects.newest_first()
        if not include_ended:
            runs = runs.live()
        rows = [run_as_dict(run) for run in runs[:MAX_LISTED]]
        self.print_list("run", rows, LINE_FORMAT.format_map, as_json=as_json)

    def cancel_run(self, run: JobRun, *, as_json: bool) -> None:
        if not run.request_cancel():
            raise CommandError("The run has already ended.")
        run.refresh_from_db()
        if as_json:
            self.print_json(run_as_dict(run))
        else:
            self.stdout.write("Cancellation requested. The run stops after the current batch.")


def get_run(pk: UUID) -> JobRun:
    """Return the run with this id. Errors: CommandError with status 2."""
    run = JobRun.objects.filter(pk=pk).first()
    if run is None:
        raise CommandError(f"There is no run {pk}; list shows them.", returncode=2)
    return run


def run_as_dict(run: JobRun) -> dict[str, Any]:
    """The run as JSON output shows it."""
    return {
        "id": str(run.pk),
        "job": run.job,
        "about": run.about,
        "status": run.status,
        "at": run.created_at,
        "cancel_requested": run.cancel_requested_at,
        "message": run.message or None,
    }
