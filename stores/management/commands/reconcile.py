"""Compare HQ with the channels, and repair differences."""

from typing import Any

from django.core.management.base import CommandParser

from stores.jobs.catalog import JOBS
from stores.jobs.inline import run_inline
from stores.management.arguments import check_channels
from stores.management.base import SynclineCommand
from stores.models import RunStep
from stores.models.job import JobCode

OUTCOMES_WITHOUT_DIFFERENCE = ("succeeded", "nothing_to_do")


class Command(SynclineCommand):
    help = (
        "Compare HQ with the channels, both ways. Exit status: 0 nothing differs, 1 something does "
        "or a channel could not be compared, 2 wrong arguments, 75 busy."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--channel", nargs="+", action="extend", default=[], metavar="CODE")
        parser.add_argument("--fix", action="store_true", help="repair what can be repaired")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        job = JOBS[JobCode.REPAIR if options["fix"] else JobCode.RECONCILE]
        run = run_inline(job, channels=check_channels(options["channel"]))
        steps = RunStep.objects.filter(run=run["run"]).select_related("database__channel")
        document = {
            "ok": run["outcome"] in OUTCOMES_WITHOUT_DIFFERENCE,
            "run": run["run"],
            "outcome": run["outcome"],
            "message": run["message"],
            "channels": [step_as_dict(step) for step in steps],
        }
        if options["json"]:
            self.print_json(document)
        else:
            self.report(document)
        if not document["ok"]:
            raise SystemExit(75 if run["outcome"] == "busy" else 1)

    def report(self, document: dict[str, Any]) -> None:
        """Print a line for each channel and for each listed difference."""
        for channel in document["channels"]:
            counts = ", ".join(f"{count:,} {name}" for name, count in channel["counts"].items())
            self.stdout.write(f"{channel['channel']:<16} {channel['outcome']:<10} {counts}")
            if channel["message"] and not channel["differences"]:
                self.stdout.write(f"{'':<17}{channel['message']}")
            for difference in channel["differences"]:
                self.stdout.write(
                    f"{'':<17}{difference['what']:<18} {difference['table']:<18}"
                    f" {difference['key']}"
                )
        self.stdout.write(document["message"])


def step_as_dict(step: RunStep) -> dict[str, Any]:
    """The comparison of one channel as JSON output shows it."""
    return {
        "channel": step.place,
        "outcome": step.status,
        "message": step.message,
        "counts": step.counts,
        "differences": list(step.differences.values("what", "table", "key")),
    }
