"""Register a channel and create its database."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.connect.connection import ChannelError, ChannelMisconfigured, till_url
from stores.management.base import SynclineCommand
from stores.models import ChannelDatabase
from stores.models.channel import ChannelKind
from stores.pipeline.register import RegistrationRefused, add_register, register_channel


class Command(SynclineCommand):
    help = (
        "Register a channel with its company and make its database; with --register a further "
        "database of a registered channel. The same call again changes nothing. "
        "Exit status: 0 done, 1 the database cannot be made, 2 wrong or differing values."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", metavar="CODE")
        parser.add_argument("--name")
        parser.add_argument("--kind", choices=ChannelKind.values)
        parser.add_argument("--company", metavar="C")
        parser.add_argument(
            "--database",
            metavar="URL",
            required=True,
            help="postgresql://…, sqlite:///PATH below SYNCLINE_DATA_DIR, env:CHANNEL_DSN_X, "
            "or embedded",
        )
        parser.add_argument("--register", metavar="NAME", help="an offline register")
        parser.add_argument("--group", metavar="G")
        parser.add_argument("--profile", metavar="P")
        parser.add_argument("--country", metavar="XXX", help="three letters, for addresses")
        parser.add_argument("--default-customer", metavar="ACCOUNT")
        parser.add_argument("--till-role", metavar="R", help="existing role that gets the grants")
        parser.add_argument(
            "--renew-identity",
            action="store_true",
            help="the database is a copy of another channel's: make it one of its own",
        )
        parser.add_argument("--account-format", metavar="F", help="such as C-###### or 00####")
        parser.add_argument("--first-number", type=int, metavar="N")
        parser.add_argument("--last-number", type=int, metavar="N")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["register"]:
                database = register_register(options)
            else:
                database = register_new_channel(options)
        except (RegistrationRefused, ChannelMisconfigured) as error:
            raise CommandError(str(error), returncode=2) from error
        except ChannelError as error:
            raise CommandError(str(error)) from error
        url = till_url(database)
        if options["json"]:
            company = database.channel.company_id
            self.print_json({"channel": options["code"], "company": company, "database": url})
        else:
            self.stdout.write(f"Channel {database.label} is ready. Its tills write to {url}")


def register_new_channel(options: dict[str, Any]) -> ChannelDatabase:
    for option in ("name", "kind", "company"):
        if not options[option]:
            raise RegistrationRefused(f"--{option} is needed for a channel.")
    return register_channel(
        code=options["code"],
        name=options["name"],
        kind=options["kind"],
        company=options["company"],
        database=options["database"],
        group=options["group"],
        profile=options["profile"],
        country=options["country"],
        default_customer=options["default_customer"],
        account_format=options["account_format"],
        first_number=options["first_number"],
        last_number=options["last_number"],
        till_role=options["till_role"],
        renew_identity=options["renew_identity"],
    )


def register_register(options: dict[str, Any]) -> ChannelDatabase:
    """Add the database of an offline register to a registered channel."""
    return add_register(
        code=options["code"],
        register=options["register"],
        database=options["database"],
        group=options["group"],
        till_role=options["till_role"],
        renew_identity=options["renew_identity"],
    )
