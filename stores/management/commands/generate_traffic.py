"""Write invented customers, sales and orders into a channel database, as its tills would.

Everything invented follows from a *seed*, a whole number: with the same seed, a channel gets the
same rows. A seed may begin with the date of the rows: 20260301000007 is number 7 of 1 March 2026.
The rows of any other seed have a date long past, and headquarters (HQ) refuses sales with such a
date. Without a seed, the rows are new, and dated yesterday.
"""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandParser

from stores.channeldb.errors import ChannelError
from stores.channeldb.schema.tables import PART_TABLES
from stores.management.arguments import (
    get_channel,
    is_searchable,
    parse_whole_number,
    whole_number,
    wrong_argument,
)
from stores.management.base import SynclineCommand
from stores.messages.labels import counted
from stores.models import ChannelDatabase
from stores.traffic import FakerMissing, SeedTaken, WrittenTraffic, write_traffic
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
        if database.channel.is_archived:
            raise wrong_argument(f"Channel {database.channel.code} is archived.")
        if options["sales"] or options["orders"]:
            require_date_in_seed(options["seed"], database)
        # None tells a number that is not given from an explicit 0: above, at least one is required.
        written = write_traffic(
            database,
            customers=options["customers"] or 0,
            edits=options["edits"] or 0,
            orders=options["orders"] or 0,
            sales=options["sales"] or 0,
            seed=options["seed"],
            faulty=options["faulty"],
        )
        document = {"channel": database.channel.code, **written_as_dict(written)}
        self.print_json_or_text(document, written_message(written))


def parse_share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a share from 0 to 1") from None
    # NaN is not in the range either.
    if not 0 <= share <= 1:
        raise ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return share


def get_database(code: str, register: str) -> ChannelDatabase:
    """Return the database of a channel or, if `register` is not empty, of its offline register.

    Errors: CommandError with status 2.
    """
    channel = get_channel(code)
    # The name of a channel's own database is empty, that of an offline register is the register's.
    databases = channel.databases.select_related("channel").filter(name=register)
    database = databases.first() if is_searchable(register) else None
    if database is None:
        raise wrong_argument(f"Channel {code!r} has no register {register!r}.")
    return database


def require_date_in_seed(seed: int | None, database: ChannelDatabase) -> None:
    """Refuse a seed that does not begin with a date. Errors: CommandError with status 2."""
    if seed is not None and not day_named_by(seed):
        # The number that was given, with yesterday's date where the channel is.
        example = yesterday_seed(database.channel.country, seed)
        raise wrong_argument(
            f"--seed must begin with the date of the sales and orders, such as {example}:"
            " headquarters rejects those of long ago."
        )


def written_as_dict(written: WrittenTraffic) -> dict[str, Any]:
    """The result as JSON output shows it: `faulty` customers, and `faulty_sales` with orders."""
    return {
        "database": written.database,
        "seed": written.seed,
        "rows": written.rows,
        "customers": written.customers,
        "edits": written.edits,
        "sales": written.sales,
        "orders": written.orders,
        "faulty": written.faulty_customers,
        "faulty_sales": written.faulty_sales,
        "repeated": written.repeated,
        "quarantined": written.quarantined,
        "invalid": written.invalid,
    }


def written_message(written: WrittenTraffic) -> str:
    """How many events were written, were there already, and are faulty, and from which seed."""
    # Lines and payments travel with their sale, and are no events of their own.
    rows_of_sales = {table.name: written.rows[table.name] for table in PART_TABLES}
    events = {table: rows for table, rows in written.rows.items() if table not in rows_of_sales}
    counts = [f"{rows} {table.removeprefix('async_')}" for table, rows in events.items()]
    sentence = f"{sum(events.values())} events written"
    if counts:
        sentence += f" ({', '.join(counts)})"
    if any(rows_of_sales.values()):
        parts_of_sales = [
            counted(rows, table.removeprefix("retail_transaction_"))
            for table, rows in rows_of_sales.items()
        ]
        sentence += f", with {' and '.join(parts_of_sales)}"
    parts = [sentence]
    if written.repeated:
        parts.append(f"{written.repeated} were there already")
    if written.faulty_customers or written.faulty_sales:
        parts.append(faults_message(written))
    return f"{written.database}: {', '.join(parts)}. Seed {written.seed}."


def faults_message(written: WrittenTraffic) -> str:
    """How many customers, sales and orders are faulty, and what HQ is expected to do with them."""
    faulty = []
    if written.faulty_customers:
        faulty.append(f"{written.faulty_customers} customers faulty")
    if written.faulty_sales:
        faulty.append(f"{written.faulty_sales} sales and orders faulty")
    expected = f"{written.quarantined.total()} to quarantine"
    # HQ takes the other faulty sales, and finds the fault when it validates them.
    if written.faulty_sales:
        expected += f", {written.invalid.total()} to break a rule"
    # Odd names, unclear dates and the like, which do not keep a customer from an account.
    refused = written.quarantined.total() + written.invalid.total()
    if accepted := written.faulty_customers + written.faulty_sales - refused:
        expected += f", {accepted} to accept all the same"
    return f"{', '.join(faulty)} ({expected})"
