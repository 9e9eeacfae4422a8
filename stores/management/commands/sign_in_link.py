"""Print a one-time link that signs a user in."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import CommandParser

from stores.management.arguments import wrong_argument
from stores.management.base import SynclineCommand
from stores.web.signin import VALID_S, LinkRefused, sign_in_link

DEFAULT_ADDRESS = "http://127.0.0.1:8000"


class Command(SynclineCommand):
    help = (
        "Prints a link that signs a user in once, within five minutes. Works only with the "
        "embedded database. Exit status: 0 printed, 1 refused here, 2 no such user."
    )
    example = "sign_in_link operator"
    failures = (LinkRefused,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="The name of the user.")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["user"]
        try:
            url = demo_address() + sign_in_link(name)
        except User.DoesNotExist as error:
            raise wrong_argument(f"There is no user {name!r}.") from error
        self.print_json_or_text({"user": name, "url": url, "valid_seconds": VALID_S}, url)


def demo_address() -> str:
    try:
        return str(settings.EMBEDDED.address.read_text()).strip() or DEFAULT_ADDRESS
    except OSError:
        return DEFAULT_ADDRESS
