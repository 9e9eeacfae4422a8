"""List job runs and cancel them."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.jobs.stages import cancel_run
from stores.management.arguments import get_row_starting, parse_id_start
from stores.management.base import SynclineCommand, add_action, add_actions
from stores.models import JobRun
from stores.models.run import IS_IDLE

LINE_FORMAT = "{id}  {job:<22} {status:<14} {at:%Y-%m-%d %H:%M}  {about}"
MAX_LISTED = 100


class Command(SynclineCommand):
    help = (
        "Lists the runs that are waiting or executing, or cancels one: it stops after the current "
        "batch, and committed changes are kept. "
        "Exit status: 0 done, 1 the run has already ended, 2 wrong arguments."
    )
    example = "runs cancel 4b30fef9-1674-4822-b6ea-7612e9e1f0e7"

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        list_parser = add_action(actions, "list", self.list_runs)
        list_parser.add_argument(
            "--all",
            action="store_true",
            help=f"Runs that have ended, too: the latest {MAX_LISTED}, without scheduled ones that "
            "found nothing to do.",
        )
        cancel_parser = add_action(actions, "cancel", self.cancel_run)
        cancel_parser.add_argument(
            "id",
            type=parse_id_start,
            metavar="ID",
            help="The run, as printed by list, or the first eight digits or more.",
        )

    def list_runs(self, options: dict[str, Any]) -> None:
        """Lists waiting and executing runs."""
        runs = JobRun.objects.exclude(IS_IDLE).newest_first()
        if not options["all"]:
            runs = runs.live()
        self.print_rows("run", map(run_as_dict, runs[:MAX_LISTED]), LINE_FORMAT)

    def cancel_run(self, options: dict[str, Any]) -> None:
        """Asks a run to stop."""
        run = get_row_starting("run", options["id"], JobRun.objects.all())
        if not cancel_run(run.pk):
            raise CommandError("The run has already ended.")
        run.refresh_from_db()
        self.print_json_or_text(
            run_as_dict(run), "Cancellation requested. The run stops after the current batch."
        )


def run_as_dict(run: JobRun) -> dict[str, Any]:
    return {
        "id": str(run.pk),
        "job": run.job,
        "about": run.about,
        "status": run.status,
        "at": run.created_at,
        "cancel_requested": run.cancel_requested_at,
        "message": str(run.message) or None,
    }
