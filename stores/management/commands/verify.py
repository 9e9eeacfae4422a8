"""Check every promise of Syncline in the databases."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.base import FAILED, SynclineCommand
from stores.pipeline.integrity.checks import Check
from stores.pipeline.integrity.verify import verify


class Command(SynclineCommand):
    help = (
        "Checks every promise from the databases of headquarters and channels, and changes "
        "nothing. Jobs may run meanwhile. "
        "Exit status: 0 all hold, 1 one is broken or a channel is unreachable."
    )
    example = "verify --full"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--full", action="store_true", help="Compares all events and customers, not a sample."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        checks = verify(full=options["full"])
        broken = [check.id for check in checks if not check.ok]
        document = {
            "ok": not broken,
            "checks": [asdict(check) | {"title": str(check.title)} for check in checks],
        }
        # The document says all; people get a last sentence on stderr.
        status = FAILED if broken and self.as_json else 0
        self.print_json_or_text(document, *report_lines(checks), status=status)
        if broken:
            raise CommandError(f"{len(broken)} of {len(checks)} broken: {', '.join(broken)}.")


def report_lines(checks: Sequence[Check]) -> Iterator[str]:
    """Yield a line for each check and each row that breaks it, and a last one if all hold."""
    for check in checks:
        result = "ok" if check.ok else "BROKEN"
        late = f" ({check.late:,} late)" if check.late else ""
        yield f"{result:<7} {check.id:<4} {check.checked:>9,}  {check.title}{late}"
        for row in check.offending:
            yield f"{'':<24}{json.dumps(row, default=str)}"
    if all(check.ok for check in checks):
        yield f"All {len(checks)} hold."
