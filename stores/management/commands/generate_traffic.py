"""The command `generate_traffic`: invented customers in a channel, as tills would write them."""

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.connect.connection import ChannelError
from stores.management.base import SynclineCommand
from stores.models import ChannelDatabase
from stores.traffic import FakerMissing, SeedTaken, Written, write_traffic
from stores.traffic.store import day_named_by, yesterday_seed

# More than any channel sees in its life.
MAX_COUNT = 10_000_000
COUNTED_OPTIONS = ("customers", "edits", "sales", "orders")


class Command(SynclineCommand):
    help = (
        "Write invented customers, edits, sales and orders into a channel database, as its tills"
        " would. The same"
        " seed writes the same rows and never twice; without --seed they are new ones. Exit status:"
        " 0 written, 1 the channel could not be written, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", metavar="CODE", help="The channel.")
        parser.add_argument("--customers", metavar="N", help="New customers.")
        parser.add_argument("--edits", metavar="N", help="Edits of known customers.")
        parser.add_argument("--orders", metavar="N", help="Customer orders.")
        parser.add_argument("--sales", metavar="N", help="Sales, some of them returns.")
        parser.add_argument(
            "--seed",
            metavar="S",
            help="A whole number; repeats an earlier call. With sales or orders it begins with"
            " their day: 20260301000007.",
        )
        parser.add_argument(
            "--faulty",
            metavar="RATE",
            default="0",
            help="Share of new customers, sales and orders, 0 to 1, that a broken till writes.",
        )
        parser.add_argument(
            "--register", metavar="NAME", default="", help="A register's own database."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON document.")

    def handle(self, *args: Any, **options: Any) -> None:
        if all(options[word] is None for word in COUNTED_OPTIONS):
            named = " or ".join(
                (
                    ", ".join(f"--{word}" for word in COUNTED_OPTIONS[:-1]),
                    f"--{COUNTED_OPTIONS[-1]}",
                )
            )
            raise CommandError(f"Say how much to write: {named}.", returncode=2)
        counts = {word: parse_count(f"--{word}", options[word]) for word in COUNTED_OPTIONS}
        seed = None if options["seed"] is None else parse_whole("--seed", options["seed"])
        faulty = parse_share("--faulty", options["faulty"])
        database = find_database(options["code"], options["register"])
        if seed is not None and (counts["sales"] or counts["orders"]) and not day_named_by(seed):
            better = yesterday_seed(database.channel.country, seed)
            raise CommandError(
                f"--seed begins with the day of the sales and orders, such as {better}: HQ refuses"
                " those of a day long past.",
                returncode=2,
            )
        try:
            written = write_traffic(database, **counts, seed=seed, faulty=faulty)
        except (ChannelError, FakerMissing, SeedTaken) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            written_as_json(database, written) if options["json"] else written_message(written)
        )


def find_database(code: str, register: str) -> ChannelDatabase:
    """The database of a channel, or of one of its registers."""
    databases = ChannelDatabase.objects.select_related("channel")
    # Compared here, because a terminal may send what PostgreSQL refuses to compare.
    by_name = {database.name: database for database in databases if database.channel.code == code}
    if not by_name:
        raise CommandError(f"There is no channel {code!r}.", returncode=2)
    if register not in by_name:
        raise CommandError(f"Channel {code!r} has no register {register!r}.", returncode=2)
    return by_name[register]


def written_message(written: Written) -> str:
    parts = [f"{rows} {table.removeprefix('async_')}" for table, rows in written.rows.items()]
    message = f"{written.database}: {written.rows.total()} events written"
    message += f" ({', '.join(parts)})" if parts else ""
    if written.repeated:
        message += f", {written.repeated} were there already"
    if written.faulty:
        message += f", {written.faulty} customers faulty"
    if written.faulty_sales:
        message += f", {written.faulty_sales} sales and orders faulty"
    if written.faulty or written.faulty_sales:
        message += f" ({written.quarantined.total()} to quarantine"
        message += f", {written.invalid.total()} to break a rule)" if written.faulty_sales else ")"
    return f"{message}. Seed {written.seed}."


def written_as_json(database: ChannelDatabase, written: Written) -> str:
    return json.dumps({"channel": database.channel.code} | vars(written))


# The checks are not argparse's, which would print its usage too: wrong input is one clear line.


def parse_whole(option: str, text: Any) -> int:
    try:
        return int(text)
    except ValueError:
        raise CommandError(f"{option} needs a whole number.", returncode=2) from None


def parse_count(option: str, text: Any) -> int:
    """A whole number from 0 to MOST; 0 where none was given."""
    number = 0 if text is None else parse_whole(option, text)
    if number < 0:
        raise CommandError(f"{option} counts from 0 on.", returncode=2)
    if number > MAX_COUNT:
        raise CommandError(f"{option} takes at most {MAX_COUNT:,}.", returncode=2)
    return number


def parse_share(option: str, text: Any) -> float:
    try:
        number = float(text)
    except ValueError:
        raise CommandError(f"{option} needs a share from 0 to 1.", returncode=2) from None
    # Asked this way round, NaN is refused too.
    if not 0 <= number <= 1:
        raise CommandError(f"{option} is a share from 0 to 1.", returncode=2)
    return number
