"""Write invented customers, sales and orders into a channel database, as its tills would."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.connect.connection import ChannelError
from stores.management.arguments import whole_number
from stores.management.base import SynclineCommand
from stores.models import ChannelDatabase
from stores.traffic import FakerMissing, SeedTaken, Written, write_traffic
from stores.traffic.store import day_named_by, yesterday_seed

# More than a channel gets in its lifetime.
MAX_COUNT = 10_000_000


class Command(SynclineCommand):
    help = (
        "Write invented customers, edits, sales and orders into a channel database, as its tills"
        " would. The same"
        " seed writes the same rows and never twice; without --seed they are new ones. Exit status:"
        " 0 written, 1 the channel could not be written, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", metavar="CODE", help="The channel.")
        count = whole_number(0, MAX_COUNT)
        parser.add_argument("--customers", type=count, metavar="N", help="New customers.")
        parser.add_argument("--edits", type=count, metavar="N", help="Edits of known customers.")
        parser.add_argument("--orders", type=count, metavar="N", help="Customer orders.")
        parser.add_argument("--sales", type=count, metavar="N", help="Sales, some are returns.")
        parser.add_argument(
            "--seed",
            type=int,
            metavar="S",
            help="A whole number; repeats an earlier call. With sales or orders it begins with"
            " their day: 20260301000007.",
        )
        parser.add_argument(
            "--faulty",
            type=parse_share,
            metavar="RATE",
            default=0.0,
            help="Share of new customers, sales and orders, 0 to 1, that a broken till writes.",
        )
        parser.add_argument(
            "--register", metavar="NAME", default="", help="A register's own database."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON document.")

    def handle(self, *args: Any, **options: Any) -> None:
        counts = {name: options[name] for name in ("customers", "edits", "sales", "orders")}
        if all(count is None for count in counts.values()):
            raise CommandError(
                "Say how much to write: --customers, --edits, --sales or --orders.", returncode=2
            )
        database = get_database(options["code"], options["register"])
        if options["sales"] or options["orders"]:
            check_seed(options["seed"], database)
        try:
            written = write_traffic(
                database,
                **{name: count or 0 for name, count in counts.items()},
                seed=options["seed"],
                faulty=options["faulty"],
            )
        except (ChannelError, FakerMissing, SeedTaken) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.print_json({"channel": database.channel.code} | vars(written))
        else:
            self.stdout.write(written_message(written))


def parse_share(text: str) -> float:
    """Convert a text to a share from 0 to 1."""
    try:
        share = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a share from 0 to 1") from None
    # NaN is not in the range either.
    if not 0 <= share <= 1:
        raise ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return share


def check_seed(seed: int | None, database: ChannelDatabase) -> None:
    """Refuse a seed that does not begin with a day: HQ refuses sales of its default day."""
    if seed is not None and not day_named_by(seed):
        example = yesterday_seed(database.channel.country, seed)
        raise CommandError(
            f"--seed begins with the day of the sales and orders, such as {example}: HQ refuses"
            " those of a day long past.",
            returncode=2,
        )


def get_database(code: str, register: str) -> ChannelDatabase:
    """Return the database of a channel, or of one of its registers.

    Errors: CommandError with status 2.
    """
    databases = ChannelDatabase.objects.select_related("channel")
    # Compared in Python, because PostgreSQL refuses text that is not UTF-8.
    by_name = {database.name: database for database in databases if database.channel.code == code}
    if not by_name:
        raise CommandError(f"There is no channel {code!r}.", returncode=2)
    if register not in by_name:
        raise CommandError(f"Channel {code!r} has no register {register!r}.", returncode=2)
    return by_name[register]


def written_message(written: Written) -> str:
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
    if written.faulty or written.faulty_sales:
        results = [f"{written.quarantined.total()} to quarantine"]
        if written.faulty_sales:
            results.append(f"{written.invalid.total()} to break a rule")
        message += f" ({', '.join(results)})"
    return f"{message}. Seed {written.seed}."
