"""Write invented customers, sales and orders into a channel database, as its tills would."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandParser

from stores.channeldb.errors import ChannelError
from stores.management.arguments import parse_whole_number, whole_number, wrong_argument
from stores.management.base import SynclineCommand
from stores.models import ChannelDatabase
from stores.traffic import FakerMissing, SeedTaken, Written, write_traffic
from stores.traffic.store import day_named_by, yesterday_seed

# More than a channel gets in its lifetime.
MAX_COUNT = 10_000_000
COUNTS = {
    "customers": "How many new customers.",
    "edits": "How many edits of known customers.",
    "orders": "How many customer orders.",
    "sales": "How many sales, some of them returns.",
}


class Command(SynclineCommand):
    help = (
        "Writes invented customers, edits, sales and orders into a channel database, as its tills "
        "would. Exit status: 0 written, 1 the channel could not be written, 2 wrong arguments."
    )
    example = "generate_traffic houston --customers 100 --sales 50"
    failures = (ChannelError, FakerMissing, SeedTaken)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", metavar="CODE", help="The code of the channel.")
        for name, description in COUNTS.items():
            parser.add_argument(
                f"--{name}", type=whole_number(0, MAX_COUNT), metavar="N", help=description
            )
        parser.add_argument(
            "--seed",
            type=parse_whole_number,
            metavar="S",
            help="A whole number. The same seed makes the same rows; rows that are there already "
            "are not written again. With sales or orders, it must begin with their date: "
            "20260301000007.",
        )
        parser.add_argument(
            "--faulty",
            type=parse_share,
            metavar="RATE",
            default=0.0,
            help="The share of new customers, sales and orders that are faulty, from 0 to 1.",
        )
        parser.add_argument(
            "--register", metavar="NAME", default="", help="The database of this offline register."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if all(options[name] is None for name in COUNTS):
            raise wrong_argument("Enter at least one of --customers, --edits, --sales or --orders.")
        database = get_database(options["code"], options["register"])
        if options["sales"] or options["orders"]:
            check_seed(options["seed"], database)
        written = write_traffic(
            database,
            customers=options["customers"] or 0,
            edits=options["edits"] or 0,
            orders=options["orders"] or 0,
            sales=options["sales"] or 0,
            seed=options["seed"],
            faulty=options["faulty"],
        )
        self.print_json_or_text(
            {"channel": database.channel.code} | vars(written), written_message(written)
        )


def parse_share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a share from 0 to 1") from None
    # NaN is not in the range either.
    if not 0 <= share <= 1:
        raise ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return share


def check_seed(seed: int | None, database: ChannelDatabase) -> None:
    """Refuse a seed without a date: its sales would be dated long ago, and HQ rejects those."""
    if seed is not None and not day_named_by(seed):
        example = yesterday_seed(database.channel.country, seed)
        raise wrong_argument(
            f"--seed must begin with the date of the sales and orders, such as {example}:"
            " headquarters rejects those of long ago."
        )


def get_database(code: str, register: str) -> ChannelDatabase:
    """Return the database of a channel, or of one of its registers. Errors: CommandError."""
    databases = ChannelDatabase.objects.select_related("channel")
    # Compared in Python: a shell can pass bytes that PostgreSQL does not take as text.
    by_name = {database.name: database for database in databases if database.channel.code == code}
    if not by_name:
        raise wrong_argument(f"There is no channel {code!r}.")
    if register not in by_name:
        raise wrong_argument(f"Channel {code!r} has no register {register!r}.")
    return by_name[register]


def written_message(written: Written) -> str:
    """A sentence with the events that were written to each table, and the faulty ones."""
    message = f"{written.database}: {written.rows.total()} events written"
    if written.rows:
        counts = [f"{rows} {table.removeprefix('async_')}" for table, rows in written.rows.items()]
        message += f" ({', '.join(counts)})"
    if written.repeated:
        message += f", {written.repeated} were there already"
    if written.faulty:
        message += f", {written.faulty} customers faulty"
    if written.faulty_sales:
        message += f", {written.faulty_sales} sales and orders faulty"
    if written.faulty_sales:
        quarantined, invalid = written.quarantined.total(), written.invalid.total()
        message += f" ({quarantined} to quarantine, {invalid} to break a rule)"
    elif written.faulty:
        message += f" ({written.quarantined.total()} to quarantine)"
    return f"{message}. Seed {written.seed}."
