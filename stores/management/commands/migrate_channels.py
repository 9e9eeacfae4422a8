"""Bring the databases of channels up to date.

The tills of a channel write into a database of its own. A new release of Syncline may bring
*migrations*, which change the tables there. The *objects* that belong to the tables (triggers,
functions, indexes and views) can also be lost or changed by hand, and are then created again.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.errors import ChannelError
from stores.channeldb.provision import migrate_database, recreate_objects
from stores.management.arguments import known_channels
from stores.management.base import SynclineCommand
from stores.models import ChannelDatabase


class Outcome(StrEnum):
    MIGRATED = "migrated"
    REPAIRED = "repaired"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True)
class MigrationResult:
    """What became of one database, also as a sentence for people."""

    # The label of the database: that of a channel's register has its name, too.
    channel: str
    outcome: Outcome
    message: str


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
        # An unknown code ends the command here, with status 2.
        if codes := known_channels(options["codes"]):
            databases = databases.filter(channel__code__in=codes)
        results = []
        for database in databases:
            result = migrate_or_repair(database)
            # A migration can take long, so each result is printed at once; with --json at the end.
            if not self.as_json:
                self.print_result(result)
            results.append(result)
        if self.as_json:
            self.print_json({"channels": [asdict(result) for result in results]})
        failures = [result for result in results if result.outcome == Outcome.FAILED]
        if failures:
            raise CommandError(
                f"{len(failures)} of {len(results)} channel databases could not be migrated."
            )

    def print_result(self, result: MigrationResult) -> None:
        stream = self.stderr if result.outcome == Outcome.FAILED else self.stdout
        stream.write(result.message)


def migrate_or_repair(database: ChannelDatabase) -> MigrationResult:
    """Apply missing migrations. If there are none, create missing or changed objects again.

    A failure is a result, too, so that the next databases are still migrated.
    """
    name = database.label
    try:
        if migrate_database(database):
            return MigrationResult(name, Outcome.MIGRATED, f"{name}: migrated.")
        recreated = recreate_objects(database)
    except ChannelError as error:
        # The message names the channel.
        return MigrationResult(name, Outcome.FAILED, str(error))
    if not recreated:
        return MigrationResult(name, Outcome.UNCHANGED, f"{name}: unchanged.")
    message = f"{name}: repaired. Created again: {summary_of(recreated)}."
    return MigrationResult(name, Outcome.REPAIRED, message)


def summary_of(names: Sequence[str]) -> str:
    """The first name, and how many more there are."""
    others = len(names) - 1
    return f"{names[0]}, and {others} more" if others else names[0]
