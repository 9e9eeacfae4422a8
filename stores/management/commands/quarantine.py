"""List the rows that wait for a person."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.base import SynclineCommand
from stores.management.choice import chosen_channels
from stores.management.output import print_json
from stores.models import Quarantine
from stores.models.reason import REASONS, explain
from stores.models.staging import StagingStatus
from stores.pipeline.rules import STAGED


class Command(SynclineCommand):
    help = (
        "List rows that HQ could not use: set aside on arrival (by number), or failed in "
        "conversion (by event id). "
        "Exit status: 0 listed, also when there is none, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list"])
        parser.add_argument("--channel", metavar="CODE", help="only rows of this channel")
        parser.add_argument("--reason", metavar="CODE", help="only rows with this reason")
        parser.add_argument("--all", action="store_true", help="also rows that are settled")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["reason"] is not None and options["reason"] not in REASONS:
            raise CommandError(f"No reason is called {options['reason']}.", returncode=2)
        chosen_channels([options["channel"]] if options["channel"] is not None else [])
        wanted = {
            "database__channel__code": options["channel"],
            "reason": options["reason"],
        }
        wanted = {name: value for name, value in wanted.items() if value is not None}
        rows = [*set_aside(wanted, settled=options["all"]), *failed(wanted)]
        if options["json"]:
            print_json(self, {"rows": rows})
        else:
            for row in rows:
                self.stdout.write(LINE.format_map(row))
            self.stdout.write(f"{len(rows)} rows." if len(rows) != 1 else "1 row.")


LINE = "{id:<36}  {channel:<12} {table:<17} {status:<10} {since:%Y-%m-%d %H:%M}  {text}"


def set_aside(wanted: dict[str, str], *, settled: bool) -> Iterator[dict[str, Any]]:
    """Rows that broke a rule on arrival, oldest first; only those still open unless `settled`."""
    rows = Quarantine.objects.filter(**wanted).select_related("database__channel")
    rows = rows.defer("raw", "payload_hash").order_by("pk")
    for row in rows if settled else rows.open():
        yield described(row, str(row.pk), row.table, row.first_seen_at)


def failed(wanted: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Staged events that could not become what they should, parents first."""
    for model in STAGED.values():
        rows = model.objects.filter(status=StagingStatus.FAILED, **wanted)
        for row in rows.select_related("database__channel").order_by("staged_at", "pk"):
            yield described(row, str(row.pk), row._meta.db_table, row.staged_at)


def described(row: Any, key: str, table: str, since: Any) -> dict[str, Any]:
    """What both kinds of rows say of themselves; never a value of theirs."""
    return {
        "id": key,
        "channel": row.database.label,
        "table": table,
        "field": row.field or None,
        "reason": row.reason,
        "text": explain(row.reason, row.field),
        "since": since,
        "status": row.status,
    }
