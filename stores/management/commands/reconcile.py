"""Compare headquarters with its channels, and repair differences."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandParser

from stores.jobs.catalog import JOBS
from stores.jobs.inline import run_inline
from stores.management.arguments import add_codes, known_channels
from stores.management.base import SynclineCommand, exit_status
from stores.models import RunStep
from stores.models.job import JobCode


class Command(SynclineCommand):
    help = (
        "Compares headquarters with its channels, in both directions. Exit status: 0 no "
        "differences, 1 differences, or a channel could not be compared, 2 wrong arguments, "
        "75 busy."
    )
    example = "reconcile --channel houston --fix"

    def add_arguments(self, parser: CommandParser) -> None:
        add_codes(parser, "--channel", "Only these channels.")
        parser.add_argument("--fix", action="store_true", help="Repairs what can be repaired.")

    def handle(self, *args: Any, **options: Any) -> None:
        job = JOBS[JobCode.REPAIR if options["fix"] else JobCode.RECONCILE]
        run = run_inline(job, channels=known_channels(options["channel"]))
        steps = RunStep.objects.filter(run=run["run"]).select_related("database__channel")
        status = exit_status(run["outcome"])
        document = {
            "ok": status == 0,
            "run": run["run"],
            "outcome": run["outcome"],
            "message": run["message"],
            "channels": [step_as_dict(step) for step in steps],
        }
        self.print_json_or_text(document, *report_lines(document), status=status)


def report_lines(document: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each channel and each listed difference, and the outcome."""
    for channel in document["channels"]:
        counts = ", ".join(f"{count:,} {name}" for name, count in channel["counts"].items())
        yield f"{channel['channel']:<16} {channel['outcome']:<10} {counts}"
        if channel["message"] and not channel["differences"]:
            yield f"{'':<17}{channel['message']}"
        for difference in channel["differences"]:
            kind, table, key = difference["what"], difference["table"], difference["key"]
            yield f"{'':<17}{kind:<18} {table:<18} {key}"
    yield document["message"]


def step_as_dict(step: RunStep) -> dict[str, Any]:
    return {
        "channel": step.place,
        "outcome": step.status,
        "message": str(step.message),
        "counts": step.counts,
        "differences": list(step.differences.values("what", "table", "key")),
    }
