"""Recover headquarters after it was set back in time."""

from typing import Any

from django.core.management.base import CommandParser

from stores.management.base import SynclineCommand
from stores.management.output import print_json
from stores.recovery import recover

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
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        found = recover(dry_run=options["dry_run"])
        if options["json"]:
            print_json(self, found)
        else:
            self.tell(found)
        if status := EXIT_STATUS.get(found["outcome"], 1):
            raise SystemExit(status)

    def tell(self, found: dict[str, Any]) -> None:
        """One line for each thing that was found, and the outcome."""
        for word in ("accounts", "guids", "void", "versions", "released"):
            if found.get(word):
                self.stdout.write(f"{word:<12} {found[word]:,}")
        for company, number in found.get("next_numbers", {}).items():
            self.stdout.write(f"{'next number':<12} {number} ({company})")
        for channel, events in found.get("events", {}).items():
            self.stdout.write(f"{'events':<12} {events:,} ({channel})")
        for one in found.get("unreachable", []):
            self.stdout.write(f"{'channel':<12} {one['channel']}: {one['error']}")
        for one in found.get("conflicts", []):
            self.stdout.write(f"{'conflict':<12} {one['what']}: {one['about']} ({one['between']})")
        self.stdout.write(f"recover_hq: {found['outcome']}. {found['message']}")
