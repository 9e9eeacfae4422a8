"""Work at a till of a channel: the reference for other makes of tills, and to try things out."""

from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from stores.channeldb.errors import ChannelError
from stores.management.arguments import (
    add_set,
    check_fields,
    get_channel,
    get_database,
    is_utf8,
    parse_assignment,
    wrong_argument,
)
from stores.management.base import (
    ActionParser,
    SynclineCommand,
    add_action,
    add_actions,
)
from stores.models import Channel
from stores.till.counter import Till
from stores.till.customers import (
    ADDRESS_COLUMNS,
    CUSTOMER_COLUMNS,
    NewCustomer,
    add_address,
    create_customer,
    edit_customer,
    issue_loyalty_card,
)
from stores.till.look_up import expectation, search
from stores.till.refusals import InvalidValues, Refused
from stores.till.sales import Basket, Line, SavedSale, order, sell
from stores.till.service import HttpService, is_address

TOKEN = "SYNCLINE_TILL_TOKEN"  # noqa: S105 - the name of a variable


class Command(SynclineCommand):
    help = (
        "Works at a till of a channel, at one of its registers or at the channel itself: creates "
        "customers, sells, and so on, by the settings that jobs 1070 and 1110 have brought there. "
        f"The token of the real-time service is taken from {TOKEN}. Exit status: 0 done, 1 refused "
        "by the till or by headquarters, or the database cannot be used, 2 wrong arguments."
    )
    example = "till houston create-customer --set first_name=Ann --set last_name=Lee"
    failures = (ChannelError, Refused)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", metavar="CODE", help="The code of the channel.")
        actions = add_actions(parser)
        create = add_till_action(actions, "create-customer", self.create_customer)
        add_set(create, required=True)
        add_assignments(create, "--address", "address", "A field of the customer's address.")
        add_assignments(create, "--attribute", "attributes", "An attribute.", "NAME=VALUE")
        add_assignments(create, "--contact", "contacts", "A second e-mail or phone.", "KIND=VALUE")
        create.add_argument(
            "--consent",
            action="store_true",
            help="The customer agrees to marketing on the contacts.",
        )
        create.add_argument(
            "--affiliation", action="append", default=[], metavar="NAME", help="An affiliation."
        )
        edit = add_till_action(actions, "edit-customer", self.edit_customer)
        add_ref(edit)
        add_set(edit, required=True)
        address = add_till_action(actions, "add-address", self.add_address)
        add_ref(address)
        add_set(address, required=True)
        sale = add_till_action(actions, "sell", self.sell)
        sale.add_argument("--customer", metavar="REF", default="", help=REF_HELP)
        sale.add_argument("--return", action="store_true", help="The items come back.")
        add_basket(sale)
        new_order = add_till_action(actions, "order", self.order)
        add_ref(new_order)
        new_order.add_argument(
            "--prepaid", type=parse_number, default=Decimal(0), metavar="AMOUNT", help="Paid now."
        )
        new_order.add_argument(
            "--deliver", action="store_true", help="To the customer's newest address."
        )
        add_basket(new_order)
        card = add_till_action(actions, "issue-loyalty-card", self.issue_loyalty_card)
        add_ref(card)
        card.add_argument(
            "--card", default="", metavar="NUMBER", help="Its number; else a new one."
        )
        look_up = add_till_action(actions, "look-up", self.look_up)
        look_up.add_argument("text", metavar="TEXT", help="Account, e-mail, phone, part of a name.")
        add_till_action(actions, "reconnect", self.reconnect)

    def handle(self, *args: Any, **options: Any) -> None:
        check_texts(options)
        try:
            options["method"](options)
        except InvalidValues as refusal:
            raise wrong_argument(str(refusal)) from None

    def create_customer(self, options: dict[str, Any]) -> None:
        """Creates a customer."""
        till = self.get_till(options)
        new = NewCustomer(
            values=assigned(options["assignments"], CUSTOMER_COLUMNS),
            address=assigned(options["address"], ADDRESS_COLUMNS),
            contacts=options["contacts"],
            has_consent=options["consent"],
            affiliations=options["affiliation"],
            attributes=dict(options["attributes"]),
        )
        saved = create_customer(till, new)
        warnings = [f"Looks like a known customer. {one}" for one in saved.look_alikes]
        self.print_json_or_text(saved.document, *warnings, saved.message)

    def edit_customer(self, options: dict[str, Any]) -> None:
        """Changes fields of a customer."""
        changes = assigned(options["assignments"], CUSTOMER_COLUMNS)
        saved = edit_customer(self.get_till(options), options["ref"], changes)
        self.print_json_or_text(saved.document, saved.message)

    def add_address(self, options: dict[str, Any]) -> None:
        """Adds an address to a customer."""
        values = assigned(options["assignments"], ADDRESS_COLUMNS)
        saved = add_address(self.get_till(options), options["ref"], values)
        self.print_json_or_text(saved.document, saved.message)

    def issue_loyalty_card(self, options: dict[str, Any]) -> None:
        """Gives a customer whose account is in the channel a loyalty card."""
        saved = issue_loyalty_card(self.get_till(options), options["ref"], options["card"])
        self.print_json_or_text(saved.document, saved.message)

    def sell(self, options: dict[str, Any]) -> None:
        """Sells items, or takes them back with --return."""
        till = self.get_till(options)
        is_return = options["return"]
        self.print_sale(sell(till, basket_of(options), options["customer"], is_return=is_return))

    def order(self, options: dict[str, Any]) -> None:
        """Takes a customer order."""
        saved = order(
            self.get_till(options),
            basket_of(options),
            options["ref"],
            prepaid=options["prepaid"],
            delivers=options["deliver"],
        )
        self.print_sale(saved)

    def print_sale(self, saved: SavedSale) -> None:
        self.print_json_or_text(saved.document, saved.message)

    def look_up(self, options: dict[str, Any]) -> None:
        """Finds customers, and says of pending ones when their account is due."""
        with self.get_till(options).open() as opened:
            rows = [
                found.document
                | {"expected": expectation(opened, found) if found.is_pending else None}
                for found in search(opened, options["text"])
            ]
        self.print_rows("customer", rows, "{display_account:<20} {name}  {ref}")

    def reconnect(self, options: dict[str, Any]) -> None:
        """Brings what a register wrote while it was offline into the channel's database."""
        till = till_of(options)
        if till.register is None or till.is_offline:
            raise wrong_argument("reconnect needs --register, and no --offline.")
        counts = till.reconnect()
        document = {
            "copied": counts.copied,
            "known": counts.known,
            "incomplete": counts.incomplete,
            "left": counts.left,
            "conflicts": [conflict._asdict() for conflict in counts.conflicts],
        }
        self.print_json_or_text(document, str(counts))

    def get_till(self, options: dict[str, Any]) -> Till:
        """The till, whose register is online again unless it is said to be offline."""
        till = till_of(options)
        till.bring_new()
        return till


REF_HELP = (
    "A customer: account number, whole e-mail or phone, or pending-N or REGISTER/pending-N as"
    " look-up prints it."
)


def add_till_action(
    actions: Any, name: str, method: Callable[[dict[str, Any]], None]
) -> ActionParser:
    """Add an action, and the options that say where the till stands."""
    parser = add_action(actions, name, method)
    parser.add_argument(
        "--register", metavar="NAME", default="", help="At this register of the channel."
    )
    parser.add_argument("--offline", action="store_true", help="Headquarters and channel are away.")
    parser.add_argument(
        "--service",
        metavar="URL",
        type=parse_service,
        help="Where the real-time service is, such as https://hq.example.com.",
    )
    parser.add_argument("--staff", metavar="ID", help="Who works at the till.")
    parser.add_argument("--terminal", metavar="ID", help="Which till it is.")
    return parser


def add_ref(parser: CommandParser) -> None:
    parser.add_argument("ref", metavar="REF", help=REF_HELP)


def add_assignments(
    parser: CommandParser, option: str, dest: str, help_text: str, metavar: str = "FIELD=VALUE"
) -> None:
    parser.add_argument(
        option,
        action="append",
        type=parse_assignment,
        default=[],
        metavar=metavar,
        help=f"{help_text} Can be repeated.",
        dest=dest,
    )


def add_basket(parser: CommandParser) -> None:
    parser.add_argument(
        "--line",
        action="append",
        type=parse_line,
        required=True,
        metavar="ITEM:QUANTITY:PRICE",
        help="An item, with its price before tax. Can be repeated.",
        dest="lines",
    )
    parser.add_argument(
        "--tax", type=parse_number, default=Decimal(0), metavar="PERCENT", help="0 by default."
    )
    parser.add_argument(
        "--currency", default="", metavar="CODE", help="That of the default customer, if not given."
    )
    parser.add_argument("--tender", default="cash", metavar="TYPE", help="cash by default.")


def parse_number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ArgumentTypeError(f"{text!r} is not a number") from None
    if not number.is_finite():
        raise ArgumentTypeError(f"{text!r} is not a number")
    return number


def parse_line(text: str) -> Line:
    item, *rest = text.rsplit(":", 2)
    if len(rest) != 2:
        raise ArgumentTypeError(f"{text!r} is not ITEM:QUANTITY:PRICE")
    quantity, price = map(parse_number, rest)
    return Line(item, quantity, price)


def parse_service(text: str) -> str:
    if not is_address(text):
        raise ArgumentTypeError(f"{text!r} is not an address such as https://hq.example.com")
    return text


def basket_of(options: Mapping[str, Any]) -> Basket:
    return Basket(
        options["lines"], options["currency"], tax_percent=options["tax"], tender=options["tender"]
    )


def till_of(options: Mapping[str, Any]) -> Till:
    """The till that the arguments describe. Errors: CommandError with status 2."""
    channel = get_channel(options["code"])
    require_enabled(channel)
    name, address = options["register"], options["service"]
    if address and not settings.TILL_TOKEN:
        raise wrong_argument(f"--service needs the channel's token in {TOKEN}.")
    return Till(
        get_database(channel.code),
        get_database(f"{channel.code}/{name}") if name else None,
        is_offline=options["offline"],
        service=HttpService(address, settings.TILL_TOKEN) if address else None,
        staff_id=options["staff"],
        terminal_id=options["terminal"],
    )


def require_enabled(channel: Channel) -> None:
    if not channel.is_enabled:
        raise wrong_argument(f"Channel {channel.code} is switched off.")


def assigned(assignments: Sequence[tuple[str, str]], columns: Sequence[str]) -> dict[str, str]:
    values = dict(assignments)
    check_fields(values, columns)
    return values


def check_texts(options: Mapping[str, Any]) -> None:
    """Refuse bytes that are not UTF-8. Those in lists are values, which the till checks."""
    for value in options.values():
        if isinstance(value, str) and not is_utf8(value):
            raise wrong_argument("An argument is not valid UTF-8.")
