"""Recover headquarters after a restore from an older backup."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandParser

from stores.jobs.recover_hq import recover_headquarters
from stores.management.arguments import check_channels, whole_number
from stores.management.base import SynclineCommand
from stores.pipeline.integrity.recover import MAX_VOID

EXIT_STATUS = {"recovered": 0, "nothing_to_do": 0, "planned": 0, "busy": 75}


class Command(SynclineCommand):
    help = (
        "Bring headquarters up to what its channels and the number journal know: accounts, "
        "numbers and events that a restored backup does not hold; then issue numbers again. "
        "Exit status: 0 done, or nothing to do, 1 a channel is away or sources contradict each "
        "other, 75 a job is running."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")
        parser.add_argument(
            "--void",
            type=whole_number(0),
            default=MAX_VOID,
            metavar="N",
            help="believe a highest number that one channel alone has seen up to so many beyond "
            f"all others; those between become void (default: {MAX_VOID})",
        )
        parser.add_argument(
            "--distrust",
            nargs="+",
            action="extend",
            default=[],
            metavar="CODE",
            help="do not believe the highest numbers that these channels have seen, and set them "
            "right there",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        document = recover_headquarters(
            dry_run=options["dry_run"],
            most_void=options["void"],
            distrusted=check_channels(options["distrust"]),
        )
        if options["json"]:
            self.print_json(document)
        else:
            self.report(document)
        if status := EXIT_STATUS.get(document["outcome"], 1):
            raise SystemExit(status)

    def report(self, document: dict[str, Any]) -> None:
        """Print a line for each thing that was recovered or is in the way, and the outcome."""
        for line in report_lines(document):
            self.stdout.write(line)
        self.stdout.write(f"recover_hq: {document['outcome']}. {document['message']}")


def report_lines(document: dict[str, Any]) -> Iterator[str]:
    for count in ("accounts", "guids", "void", "versions", "released"):
        if document.get(count):
            yield f"{count:<12} {document[count]:,}"
    for company, number in document.get("next_numbers", {}).items():
        yield f"{'next number':<12} {number} ({company})"
    for series in document.get("documents", []):
        title = f"{series['series']}s"
        yield f"{title:<12} {series['first']} to {series['last']} ({series['company']})"
    for label in document.get("corrected", []):
        yield f"{'corrected':<12} {label}"
    for channel, events in document.get("events", {}).items():
        yield f"{'events':<12} {events:,} ({channel})"
    for channel in document.get("unreachable", []):
        yield f"{'channel':<12} {channel['channel']}: {channel['error']}"
    for conflict in document.get("conflicts", []):
        yield f"{'conflict':<12} {conflict['what']}: {conflict['about']} ({conflict['between']})"
