"""Recover headquarters after it was set back in time."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.jobs.recover_hq import recover_headquarters
from stores.management.arguments import chosen_channels
from stores.management.base import SynclineCommand, print_json
from stores.pipeline.integrity.recover import MAX_VOID

RECOVERY_EXIT_STATUS = {"recovered": 0, "nothing_to_do": 0, "planned": 0, "busy": 75}


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
            type=int,
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
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["void"] < 0:
            raise CommandError("--void may not be negative.", returncode=2)
        document = recover_headquarters(
            dry_run=options["dry_run"],
            most_void=options["void"],
            distrusted=chosen_channels(options["distrust"]),
        )
        if options["json"]:
            print_json(self, document)
        else:
            self.report(document)
        if status := RECOVERY_EXIT_STATUS.get(document["outcome"], 1):
            raise SystemExit(status)

    def report(self, document: dict[str, Any]) -> None:
        """One line for each thing that was found, and the outcome."""
        for word in ("accounts", "guids", "void", "versions", "released"):
            if document.get(word):
                self.stdout.write(f"{word:<12} {document[word]:,}")
        for company, number in document.get("next_numbers", {}).items():
            self.stdout.write(f"{'next number':<12} {number} ({company})")
        for raised in document.get("documents", []):
            words = f"{raised['first']} to {raised['last']} ({raised['company']})"
            self.stdout.write(f"{raised['series'] + 's':<12} {words}")
        for label in document.get("corrected", []):
            self.stdout.write(f"{'corrected':<12} {label}")
        for channel, events in document.get("events", {}).items():
            self.stdout.write(f"{'events':<12} {events:,} ({channel})")
        for raised in document.get("unreachable", []):
            self.stdout.write(f"{'channel':<12} {raised['channel']}: {raised['error']}")
        for raised in document.get("conflicts", []):
            self.stdout.write(
                f"{'conflict':<12} {raised['what']}: {raised['about']} ({raised['between']})"
            )
        self.stdout.write(f"recover_hq: {document['outcome']}. {document['message']}")
