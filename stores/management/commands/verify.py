"""Check every promise of Syncline in the databases."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.base import SynclineCommand
from stores.pipeline.integrity.checks import Check
from stores.pipeline.integrity.verify import verify


class Command(SynclineCommand):
    help = (
        "Check every invariant from the databases, also while jobs run; channels are opened, "
        "nothing is changed. Exit status: 0 all hold, 1 one is broken or a channel is unreachable."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--full", action="store_true", help="compare every event and customer, not a sample"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        checks = verify(full=options["full"])
        broken = [check.id for check in checks if not check.ok]
        if options["json"]:
            self.print_json({"ok": not broken, "checks": [asdict(check) for check in checks]})
            if broken:
                raise SystemExit(1)
            return
        for check in checks:
            self.report(check)
        if broken:
            raise CommandError(f"{len(broken)} of {len(checks)} broken: {', '.join(broken)}.")
        self.stdout.write(f"All {len(checks)} hold.")

    def report(self, check: Check) -> None:
        """Print the result of a check, and a line for each row that breaks its rule."""
        result = "ok" if check.ok else "BROKEN"
        late = f" ({check.late:,} late)" if check.late else ""
        self.stdout.write(f"{result:<7} {check.id:<4} {check.checked:>9,}  {check.title}{late}")
        for row in check.offending:
            self.stdout.write(f"{'':<24}{json.dumps(row, default=str)}")
