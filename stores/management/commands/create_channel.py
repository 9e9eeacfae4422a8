"""Register a channel and create its database."""

from typing import Any

from django.core.management.base import CommandParser

from stores.channeldb.connect.url import till_url
from stores.channeldb.errors import ChannelError, ChannelMisconfigured
from stores.management.arguments import parse_whole_number, wrong_argument
from stores.management.base import SynclineCommand
from stores.management.connections import ADDRESS_FORMS, add_secret, print_test
from stores.models import ChannelDatabase
from stores.models.channel import ChannelKind, proper_time_zone
from stores.pipeline.register import (
    RegistrationRefused,
    add_register,
    check_connection,
    new_database,
    register_channel,
)

# Options that describe a channel, which a register has already.
CHANNEL_OPTIONS = (
    "name",
    "kind",
    "company",
    "profile",
    "country",
    "time_zone",
    "default_customer",
    "account_format",
    "first_number",
    "last_number",
)


class Command(SynclineCommand):
    help = (
        "Registers a channel, and its company if that is new, and creates its database; with "
        "--register, adds the database of an offline register to a channel. The same call again "
        "changes nothing. With --test, only tests the connection. Exit status: 0 done, 1 the "
        "database cannot be created or a test fails, 2 invalid values, or other values than those "
        "registered."
    )
    example = "create_channel kiosk --name Kiosk --kind store --company USRT --database embedded"
    failures = (ChannelError,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", metavar="CODE", help="The code of the channel.")
        parser.add_argument("--name", help="The name of the channel.")
        parser.add_argument("--kind", choices=ChannelKind.values, help="The kind of channel.")
        parser.add_argument("--company", metavar="CODE", help="The company of the channel.")
        parser.add_argument(
            "--database",
            metavar="URL",
            required=True,
            help=f"The database: {ADDRESS_FORMS}",
        )
        add_secret(parser)
        parser.add_argument(
            "--register",
            metavar="NAME",
            help="Adds the database of this offline register to the channel CODE, instead of "
            "registering a channel.",
        )
        parser.add_argument(
            "--group", metavar="NAME", help="The channel database group (default: Default)."
        )
        parser.add_argument("--profile", metavar="NAME", help="The functionality profile.")
        parser.add_argument(
            "--country", metavar="XXX", help="Three letters, for addresses without a country."
        )
        parser.add_argument(
            "--time-zone",
            type=proper_time_zone,
            metavar="ZONE",
            help="Such as Europe/Amsterdam (default: UTC).",
        )
        parser.add_argument(
            "--default-customer",
            metavar="ACCOUNT",
            help="The account from which new customers inherit (default: DEFAULT-CODE).",
        )
        parser.add_argument(
            "--till-role", metavar="ROLE", help="An existing role that gets a till's privileges."
        )
        parser.add_argument(
            "--renew-identity",
            action="store_true",
            help="Gives the database its own identity, if it is a copy of another channel's.",
        )
        parser.add_argument(
            "--account-format",
            metavar="FORMAT",
            help="How a new company numbers its accounts, such as C-###### or 00####.",
        )
        parser.add_argument(
            "--first-number",
            type=parse_whole_number,
            metavar="N",
            help="The first number of a new company.",
        )
        parser.add_argument(
            "--last-number",
            type=parse_whole_number,
            metavar="N",
            help="The last number of a new company.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["test"]:
                renews = options["renew_identity"]
                print_test(self, check_connection(candidate(options), renew_identity=renews))
                return
            if options["register"]:
                database = add_register_database(options)
            else:
                database = create_channel(options)
        except (RegistrationRefused, ChannelMisconfigured) as error:
            raise wrong_argument(str(error)) from error
        url = till_url(database)
        company = database.channel.company_id
        self.print_json_or_text(
            {"channel": options["code"], "company": company, "database": url},
            f"Channel {database.label} is ready. Its tills write to {url}",
        )


def candidate(options: dict[str, Any]) -> ChannelDatabase:
    """The database that the options name: the registered one, or one that is not saved."""
    code, register = options["code"], options["register"] or ""
    database = new_database(code, register, options["database"], options["secret"])
    known = ChannelDatabase.objects.with_channel().filter(channel__code=code, name=register).first()
    if known is None:
        return database
    known.url, known.secret = database.url, database.secret
    return known


def create_channel(options: dict[str, Any]) -> ChannelDatabase:
    """Register a channel with its database, or find it registered with the same values."""
    for option in ("name", "kind", "company"):
        if not options[option]:
            raise RegistrationRefused(f"--{option} is required for a channel.")
    return register_channel(
        code=options["code"],
        name=options["name"],
        kind=options["kind"],
        company=options["company"],
        profile=options["profile"],
        country=options["country"],
        time_zone=options["time_zone"],
        default_customer=options["default_customer"],
        account_format=options["account_format"],
        first_number=options["first_number"],
        last_number=options["last_number"],
        database=options["database"],
        group=options["group"],
        till_role=options["till_role"],
        renew_identity=options["renew_identity"],
        secret=options["secret"],
    )


def add_register_database(options: dict[str, Any]) -> ChannelDatabase:
    """Add the database of an offline register to a channel that is registered."""
    for option in CHANNEL_OPTIONS:
        if options[option] is not None:
            name = option.replace("_", "-")
            raise RegistrationRefused(
                f"--{name} cannot be combined with --register: it applies to a channel."
            )
    return add_register(
        code=options["code"],
        register=options["register"],
        database=options["database"],
        group=options["group"],
        till_role=options["till_role"],
        renew_identity=options["renew_identity"],
        secret=options["secret"],
    )
