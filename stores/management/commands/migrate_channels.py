"""Bring the tables of channel databases up to date."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.errors import ChannelError
from stores.channeldb.provision import migrate_database, recreate_objects
from stores.management.arguments import known_channels
from stores.management.base import SynclineCommand
from stores.models import ChannelDatabase


class Command(SynclineCommand):
    help = (
        "Updates the tables of channel databases, and creates triggers, functions, indexes and "
        "views again that are missing or were changed. "
        "Exit status: 0 done, 1 a channel could not be migrated, 2 unknown channel."
    )
    example = "migrate_channels houston seattle"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "codes", nargs="*", metavar="CODE", help="Only these channels (default: all)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        databases = ChannelDatabase.objects.with_channel()
        if codes := known_channels(options["codes"]):
            databases = databases.filter(channel__code__in=codes)
        results = []
        for database in databases:
            result = migration_result(database)
            results.append(result)
            if not self.as_json:
                self.report(result)
        self.print_json_or_text({"channels": results})
        failed = [result for result in results if result["outcome"] == "failed"]
        if failed:
            raise CommandError(
                f"{len(failed)} of {len(results)} channel databases could not be migrated."
            )

    def report(self, result: dict[str, str]) -> None:
        stream = self.stderr if result["outcome"] == "failed" else self.stdout
        stream.write(result["message"])


def migration_result(database: ChannelDatabase) -> dict[str, str]:
    """Migrate one database and say how that went; one that fails does not stop the others."""
    try:
        outcome, message = migrate_or_repair(database)
    except ChannelError as error:
        outcome, message = "failed", str(error)
    return {"channel": database.label, "outcome": outcome, "message": message}


def migrate_or_repair(database: ChannelDatabase) -> tuple[str, str]:
    """Apply missing migrations, else recreate missing or changed objects.

    Returns the outcome and its sentence. Errors: ChannelError.
    """
    if migrate_database(database):
        return "migrated", f"{database.label}: migrated."
    objects = recreate_objects(database)
    if not objects:
        return "unchanged", f"{database.label}: unchanged."
    others = f", and {len(objects) - 1} more" if len(objects) > 1 else ""
    return "repaired", f"{database.label}: repaired. Created again: {objects[0]}{others}."
