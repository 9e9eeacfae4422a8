"""Bring the tables of channel databases up to date."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.connection import ChannelError
from stores.channeldb.create import migrate_database
from stores.management.base import SynclineCommand
from stores.management.choice import chosen_channels
from stores.management.output import print_json
from stores.models import ChannelDatabase


class Command(SynclineCommand):
    help = (
        "Apply channel migrations to all channels, or to those named. "
        "Exit status: 0 done, 1 a channel could not be migrated, 2 unknown channel."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("codes", nargs="*", metavar="CODE")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        told, failed = [], 0
        for database in wanted(chosen_channels(options["codes"])):
            try:
                outcome = "migrated" if migrate_database(database) else "unchanged"
                sentence = f"{database.label}: {outcome}."
            except ChannelError as error:
                outcome, sentence = "failed", str(error)
                failed += 1
            told.append({"channel": database.label, "outcome": outcome, "message": sentence})
            if not options["json"]:
                (self.stderr if outcome == "failed" else self.stdout).write(sentence)
        if options["json"]:
            print_json(self, {"channels": told})
        if failed:
            raise CommandError(f"{failed} of {len(told)} channel databases are not migrated.")


def wanted(codes: list[str]) -> list[ChannelDatabase]:
    """The databases of the channels named, or of all."""
    databases = ChannelDatabase.objects.with_channel()
    return list(databases.filter(channel__code__in=codes) if codes else databases)
