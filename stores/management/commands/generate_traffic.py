"""The command `generate_traffic`: invented customers in a channel, as tills would write them."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.connect.connection import ChannelError
from stores.management.arguments import WrongArgument
from stores.management.base import SynclineCommand
from stores.models import ChannelDatabase
from stores.traffic import FakerMissing, SeedTaken, Written, write_traffic
from stores.traffic.store import day_named_by, yesterday_seed

# More than any channel sees in its life.
MAX_COUNT = 10_000_000
COUNTED_OPTIONS = ("customers", "edits", "sales", "orders")


class Command(SynclineCommand):
    help = (
        "Writes invented customers, edits, sales and orders into a channel database, as its tills "
        "would. Exit status: 0 written, 1 the channel could not be written, 2 wrong arguments."
    )
    example = "generate_traffic houston --customers 100 --sales 50"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", metavar="CODE", help="The code of the channel.")
        parser.add_argument("--customers", metavar="N", help="How many new customers.")
        parser.add_argument("--edits", metavar="N", help="How many edits of known customers.")
        parser.add_argument("--orders", metavar="N", help="How many customer orders.")
        parser.add_argument("--sales", metavar="N", help="How many sales, some of them returns.")
        parser.add_argument(
            "--seed",
            metavar="S",
            help="A whole number: the same seed writes the same rows, and never twice. With sales "
            "or orders, it must begin with their date: 20260301000007.",
        )
        parser.add_argument(
            "--faulty",
            metavar="RATE",
            default="0",
            help="The share of new customers, sales and orders that are faulty, from 0 to 1.",
        )
        parser.add_argument(
            "--register", metavar="NAME", default="", help="The database of this offline register."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if all(options[word] is None for word in COUNTED_OPTIONS):
            raise WrongArgument("Enter at least one of --customers, --edits, --sales or --orders.")
        counts = {word: parse_count(f"--{word}", options[word]) for word in COUNTED_OPTIONS}
        seed = None if options["seed"] is None else parse_whole("--seed", options["seed"])
        faulty = parse_share("--faulty", options["faulty"])
        database = find_database(options["code"], options["register"])
        if seed is not None and (counts["sales"] or counts["orders"]) and not day_named_by(seed):
            better = yesterday_seed(database.channel.country, seed)
            raise WrongArgument(
                f"--seed must begin with the date of the sales and orders, such as {better}:"
                " headquarters rejects those of long ago."
            )
        try:
            written = write_traffic(database, **counts, seed=seed, faulty=faulty)
        except (ChannelError, FakerMissing, SeedTaken) as error:
            raise CommandError(str(error)) from error
        self.answer({"channel": database.channel.code} | vars(written), written_message(written))


def find_database(code: str, register: str) -> ChannelDatabase:
    databases = ChannelDatabase.objects.select_related("channel")
    # Compared here, because a terminal may send what PostgreSQL refuses to compare.
    by_name = {database.name: database for database in databases if database.channel.code == code}
    if not by_name:
        raise WrongArgument(f"There is no channel {code!r}.")
    if register not in by_name:
        raise WrongArgument(f"Channel {code!r} has no register {register!r}.")
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


# The checks are not argparse's, which would print its usage too: wrong input is one clear line.


def parse_whole(option: str, text: Any) -> int:
    try:
        return int(text)
    except ValueError:
        raise WrongArgument(f"{option} must be a whole number.") from None


def parse_count(option: str, text: Any) -> int:
    """A count; 0 where none was given."""
    number = 0 if text is None else parse_whole(option, text)
    if not 0 <= number <= MAX_COUNT:
        raise WrongArgument(f"{option} must be from 0 to {MAX_COUNT:,}.")
    return number


def parse_share(option: str, text: Any) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    # Asked this way round, NaN is refused too.
    if not 0 <= number <= 1:
        raise WrongArgument(f"{option} must be a number from 0 to 1.")
    return number
