"""Recover headquarters after a restore from an older backup."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandParser

from stores.jobs.recover_hq import recover_headquarters
from stores.management.arguments import add_codes, known_channels, whole_number
from stores.management.base import SynclineCommand, exit_status
from stores.pipeline.integrity.recover import MAX_VOID


class Command(SynclineCommand):
    help = (
        "Recovers a headquarters that was restored from a backup: imports the accounts, numbers "
        "and events that its channels and the number journal know, then issues numbers again. "
        "Exit status: 0 done or nothing to do, 1 a channel is unreachable or sources contradict "
        "each other, 2 wrong arguments, 75 a job is running."
    )
    example = "recover_hq --dry-run"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="Shows what would be done; changes nothing."
        )
        parser.add_argument(
            "--void",
            type=whole_number(0),
            default=MAX_VOID,
            metavar="N",
            help="Believes a highest number that only one channel has seen, up to N above all "
            f"others; the numbers in between become void (default: {MAX_VOID}).",
        )
        add_codes(
            parser,
            "--distrust",
            "Does not believe the highest numbers that these channels have seen, and corrects them "
            "there.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        document = recover_headquarters(
            dry_run=options["dry_run"],
            most_void=options["void"],
            distrusted=known_channels(options["distrust"]),
        )
        status = exit_status(document["outcome"])
        self.print_json_or_text(document, *report_lines(document), status=status)


def report_lines(document: dict[str, Any]) -> Iterator[str]:
    for count in ("accounts", "guids", "void", "versions", "owed_again", "released"):
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
    yield f"recover_hq: {document['outcome']}. {document['message']}"
