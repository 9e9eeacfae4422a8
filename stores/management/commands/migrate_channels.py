"""Bring the databases of channels up to date.

The tills of a channel write into a database of its own. A new release of Syncline may bring
*migrations*, which change the tables there. The *objects* that belong to the tables (triggers,
functions, indexes and views) can also be lost or changed by hand, and are then recreated.
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
    """What became of one database. The fields are the keys of --json."""

    # houston, or houston/register1 for the database of a register.
    channel: str
    outcome: Outcome
    message: str


class Command(SynclineCommand):
    help = (
        "Updates the tables of channel databases, and recreates missing or changed triggers, "
        "functions, indexes and views. "
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
            results.append(result)
            # Text is printed at once, because the next migration can take long; JSON as a whole.
            if not self.as_json:
                self.print_message(result)
        if self.as_json:
            self.print_json({"channels": [asdict(result) for result in results]})
        failed = sum(result.outcome == Outcome.FAILED for result in results)
        if failed:
            raise CommandError(
                f"{failed} of {len(results)} channel databases could not be migrated."
            )

    def print_message(self, result: MigrationResult) -> None:
        stream = self.stderr if result.outcome == Outcome.FAILED else self.stdout
        stream.write(result.message)


def migrate_or_repair(database: ChannelDatabase) -> MigrationResult:
    """Apply missing migrations. If there are none, recreate missing or changed objects.

    A failure is a result too, so that the other databases are still migrated.
    """
    label = database.label
    try:
        was_migrated = migrate_database(database)
        recreated = [] if was_migrated else recreate_objects(database)
    except ChannelError as error:
        # The error names the channel itself.
        return MigrationResult(label, Outcome.FAILED, str(error))
    if was_migrated:
        return MigrationResult(label, Outcome.MIGRATED, f"{label}: migrated.")
    if recreated:
        names = summarize(recreated)
        return MigrationResult(
            label, Outcome.REPAIRED, f"{label}: repaired. Created again: {names}."
        )
    return MigrationResult(label, Outcome.UNCHANGED, f"{label}: unchanged.")


def summarize(names: Sequence[str]) -> str:
    """The first name and the number of others, such as "view customer_lookup, and 3 more"."""
    others = len(names) - 1
    return f"{names[0]}, and {others} more" if others else names[0]
