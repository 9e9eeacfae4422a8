"""Register a channel and make its database."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.connect.connection import ChannelError, ChannelMisconfigured, till_url
from stores.management.base import SynclineCommand, print_json
from stores.models import ChannelDatabase
from stores.models.channel import ChannelKind
from stores.pipeline.register import RegistrationRefused, add_register, register_channel

NEEDED = ("name", "kind", "company")


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
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            database = register_from(options)
        except (RegistrationRefused, ChannelMisconfigured) as error:
            raise CommandError(str(error), returncode=2) from None
        except ChannelError as error:
            raise CommandError(str(error)) from None
        url = till_url(database)
        if options["json"]:
            company = database.channel.company_id
            print_json(self, {"channel": options["code"], "company": company, "database": url})
        else:
            self.stdout.write(f"Channel {database.label} is ready. Its tills write to {url}")


SHARED = ("code", "database", "group", "till_role", "renew_identity")


def register_from(options: dict[str, Any]) -> ChannelDatabase:
    """Register what the options describe. Errors: RegistrationRefused, ChannelError."""
    shared = {key: options[key] for key in SHARED}
    if options["register"]:
        return add_register(register=options["register"], **shared)
    for option in NEEDED:
        if not options[option]:
            raise RegistrationRefused(f"--{option} is needed for a channel.")
    others = ("profile", "country", "default_customer", "account_format", "first_number")
    return register_channel(
        **shared,
        **{key: options[key] for key in (*NEEDED, *others, "last_number")},
    )
