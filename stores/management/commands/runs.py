"""Runs of jobs: list the latest, cancel one."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import WrongArgument
from stores.management.base import SynclineCommand
from stores.models import JobRun
from stores.models.search import parse_guid

ROW_FORMAT = "{id}  {job:<22} {status:<14} {at:%Y-%m-%d %H:%M}  {about}"
MAX_LISTED = 100


class Command(SynclineCommand):
    help = (
        "Lists the runs that are waiting or executing, or cancels one: it stops after the current "
        "batch, and committed changes are kept. "
        "Exit status: 0 done, 1 the run has already ended, 2 wrong arguments."
    )
    example = "runs cancel 4b30fef9-1674-4822-b6ea-7612e9e1f0e7"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list", "cancel"], help="What to do.")
        parser.add_argument(
            "id", nargs="?", metavar="ID", help="cancel: the run, as printed by list."
        )
        parser.add_argument(
            "--all",
            action="store_true",
            help=f"list: runs that have ended, too; the latest {MAX_LISTED}.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            runs = JobRun.objects.newest_first()
            runs = runs if options["all"] else runs.live()
            self.answer_rows("run", [described(run) for run in runs[:MAX_LISTED]], ROW_FORMAT)
            return
        run = chosen_run(options["id"])
        if not run.request_cancel():
            raise CommandError("The run has already ended.")
        run.refresh_from_db()
        self.answer(
            described(run), "Cancellation requested. The run stops after the current batch."
        )


def chosen_run(text: str | None) -> JobRun:
    if text is None:
        raise WrongArgument("Enter the ID of the run, as printed by list.")
    run_id = parse_guid(text)
    run = JobRun.objects.filter(pk=run_id).first() if run_id else None
    if run is None:
        raise WrongArgument(f"There is no run {text!r}.")
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
