"""List sales orders on hold and release them."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import add_user, check_company, get_user, is_searchable
from stores.management.base import SynclineCommand, add_actions
from stores.models import SalesOrder
from stores.models.order import SalesOrderState

LINE_FORMAT = "{number:<20} {company:<5} {channel:<12} {state:<9} {business_date}  {hold_code}"


class Command(SynclineCommand):
    help = (
        "List the sales orders on hold, or release one by its number. "
        "Exit status: 0 done, 1 it is not on hold, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        actions.add_parser("list", help="list the orders on hold, oldest first")
        release_parser = actions.add_parser("release", help="release an order on hold")
        release_parser.add_argument("number", metavar="NUMBER", help="the order's number")
        release_parser.add_argument(
            "--company", metavar="C", help="needed where several companies have the number"
        )
        add_user(release_parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self.list_orders(as_json=options["json"])
            return
        order = get_order(options["number"], options["company"])
        if not order.release(get_user(options["user"])):
            raise CommandError(f"{order} is not on hold.")
        order.refresh_from_db()
        if options["json"]:
            self.print_json(order_as_dict(order))
        else:
            self.stdout.write(f"{order} is released.")

    def list_orders(self, *, as_json: bool) -> None:
        on_hold = SalesOrder.objects.filter(state=SalesOrderState.ON_HOLD)
        orders = on_hold.select_related("channel").order_by("pk")
        rows = [order_as_dict(order) for order in orders]
        self.print_list("order", rows, LINE_FORMAT.format_map, as_json=as_json)


def get_order(number: str, company: str | None) -> SalesOrder:
    """Return the only order with this number. Errors: CommandError with status 2."""
    check_company(company)
    orders = SalesOrder.objects.filter(number=number).select_related("channel")
    if company is not None:
        orders = orders.filter(company=company)
    matches = list(orders.order_by("company")) if is_searchable(number) else []
    if not matches:
        raise CommandError(f"There is no sales order {number!r}.", returncode=2)
    if len(matches) > 1:
        companies = ", ".join(order.company_id for order in matches)
        raise CommandError(
            f"Several companies have this order ({companies}). Choose one with --company.",
            returncode=2,
        )
    return matches[0]


def order_as_dict(order: SalesOrder) -> dict[str, Any]:
    """The order as JSON output shows it."""
    return {
        "number": order.number,
        "company": order.company_id,
        "channel": order.channel.code,
        "state": order.state,
        "hold_code": order.hold_code,
        "business_date": order.business_date,
    }
