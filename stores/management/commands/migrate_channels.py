"""Bring the tables of channel databases up to date."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.connect.connection import ChannelError
from stores.channeldb.provision import migrate_database, recreate_objects
from stores.management.arguments import chosen_channels
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
        results, failed = [], 0
        for database in chosen_databases(chosen_channels(options["codes"])):
            try:
                outcome, sentence = bring_up_to_date(database)
            except ChannelError as error:
                outcome, sentence = "failed", str(error)
                failed += 1
            results.append({"channel": database.label, "outcome": outcome, "message": sentence})
            if not self.as_json:
                (self.stderr if outcome == "failed" else self.stdout).write(sentence)
        self.answer({"channels": results})
        if failed:
            raise CommandError(
                f"{failed} of {len(results)} channel databases could not be migrated."
            )


def bring_up_to_date(database: ChannelDatabase) -> tuple[str, str]:
    """Apply what is missing and make anew what was lost or changed. Outcome and sentence."""
    if migrate_database(database):
        return "migrated", f"{database.label}: migrated."
    if made := recreate_objects(database):
        more = f", and {len(made) - 1} more" if len(made) > 1 else ""
        return "repaired", f"{database.label}: repaired. Created again: {made[0]}{more}."
    return "unchanged", f"{database.label}: unchanged."


def chosen_databases(codes: list[str]) -> list[ChannelDatabase]:
    databases = ChannelDatabase.objects.with_channel()
    return list(databases.filter(channel__code__in=codes) if codes else databases)
