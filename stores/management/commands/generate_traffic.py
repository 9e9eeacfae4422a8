"""The command `generate_traffic`: invented customers in a channel, as tills would write them."""

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.connection import ChannelError
from stores.management.base import SynclineCommand
from stores.models import ChannelDatabase
from stores.traffic import FakerMissing, SeedTaken, Written, write_traffic

# More than any channel sees in its life.
MOST = 10_000_000


class Command(SynclineCommand):
    help = (
        "Write invented customers and edits into a channel database, as its tills would. The same"
        " seed writes the same rows and never twice; without --seed they are new ones. Exit status:"
        " 0 written, 1 the channel could not be written, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", metavar="CODE", help="The channel.")
        parser.add_argument("--customers", metavar="N", required=True, help="New customers.")
        parser.add_argument("--edits", metavar="N", default="0", help="Edits of known customers.")
        parser.add_argument("--seed", metavar="S", help="A whole number; repeats an earlier call.")
        parser.add_argument(
            "--faulty",
            metavar="RATE",
            default="0",
            help="Share of the new customers, 0 to 1, that a broken till writes.",
        )
        parser.add_argument(
            "--register", metavar="NAME", default="", help="A register's own database."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON document.")

    def handle(self, *args: Any, **options: Any) -> None:
        customers = count("--customers", options["customers"])
        edits = count("--edits", options["edits"])
        seed = None if options["seed"] is None else whole("--seed", options["seed"])
        faulty = share("--faulty", options["faulty"])
        database = find_database(options["code"], options["register"])
        try:
            written = write_traffic(
                database, customers=customers, edits=edits, seed=seed, faulty=faulty
            )
        except (ChannelError, FakerMissing, SeedTaken) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(as_json(database, written) if options["json"] else sentence(written))


def find_database(code: str, register: str) -> ChannelDatabase:
    """The database of a channel, or of one of its registers."""
    databases = ChannelDatabase.objects.select_related("channel")
    # Compared here, because a terminal may send what PostgreSQL refuses to compare.
    found = {database.name: database for database in databases if database.channel.code == code}
    if not found:
        raise CommandError(f"There is no channel {code!r}.", returncode=2)
    if register not in found:
        raise CommandError(f"Channel {code!r} has no register {register!r}.", returncode=2)
    return found[register]


def sentence(written: Written) -> str:
    """What was written, in words."""
    parts = [f"{rows} {table.removeprefix('async_')}" for table, rows in written.rows.items()]
    said = f"{written.database}: {written.rows.total()} events written"
    said += f" ({', '.join(parts)})" if parts else ""
    if written.repeated:
        said += f", {written.repeated} were there already"
    if written.faulty:
        said += f", {written.faulty} customers faulty ({written.quarantined.total()} to quarantine)"
    return f"{said}. Seed {written.seed}."


def as_json(database: ChannelDatabase, written: Written) -> str:
    """What was written, as one JSON document."""
    return json.dumps({"channel": database.channel.code} | vars(written))


# The checks are not argparse's, which would print its usage too: wrong input is one clear line.


def whole(option: str, text: Any) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise CommandError(f"{option} needs a whole number.", returncode=2) from None


def count(option: str, text: Any) -> int:
    """A whole number from 0 to MOST."""
    number = whole(option, text)
    if number < 0:
        raise CommandError(f"{option} counts from 0 on.", returncode=2)
    if number > MOST:
        raise CommandError(f"{option} takes at most {MOST:,}.", returncode=2)
    return number


def share(option: str, text: Any) -> float:
    """A share from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        raise CommandError(f"{option} needs a share from 0 to 1.", returncode=2) from None
    # Asked this way round, NaN is refused too.
    if not 0 <= number <= 1:
        raise CommandError(f"{option} is a share from 0 to 1.", returncode=2)
    return number
