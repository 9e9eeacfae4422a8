"""Recover headquarters after it was set back in time."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandParser

from stores.jobs.recover_hq import recover_headquarters
from stores.management.arguments import WrongArgument, add_codes, chosen_channels
from stores.management.base import SynclineCommand
from stores.pipeline.integrity.recover import MAX_VOID

RECOVERY_EXIT_STATUS = {"recovered": 0, "nothing_to_do": 0, "planned": 0, "busy": 75}


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
            type=int,
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
        if options["void"] < 0:
            raise WrongArgument("--void must not be negative.")
        document = recover_headquarters(
            dry_run=options["dry_run"],
            most_void=options["void"],
            distrusted=chosen_channels(options["distrust"]),
        )
        self.answer(document, *report_lines(document))
        if status := RECOVERY_EXIT_STATUS.get(document["outcome"], 1):
            raise SystemExit(status)


def report_lines(document: dict[str, Any]) -> Iterator[str]:
    for word in ("accounts", "guids", "void", "versions", "released"):
        if document.get(word):
            yield f"{word:<12} {document[word]:,}"
    for company, number in document.get("next_numbers", {}).items():
        yield f"{'next number':<12} {number} ({company})"
    for raised in document.get("documents", []):
        words = f"{raised['first']} to {raised['last']} ({raised['company']})"
        yield f"{raised['series'] + 's':<12} {words}"
    for label in document.get("corrected", []):
        yield f"{'corrected':<12} {label}"
    for channel, events in document.get("events", {}).items():
        yield f"{'events':<12} {events:,} ({channel})"
    for raised in document.get("unreachable", []):
        yield f"{'channel':<12} {raised['channel']}: {raised['error']}"
    for raised in document.get("conflicts", []):
        yield f"{'conflict':<12} {raised['what']}: {raised['about']} ({raised['between']})"
    yield f"recover_hq: {document['outcome']}. {document['message']}"
