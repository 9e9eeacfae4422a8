"""List the sales orders that are on hold, and release them.

A customer order that had to be corrected becomes a sales order *on hold*, with the code that its
channel has for such orders, so that a person looks at it first. Releasing it opens it like others.
"""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import add_user, get_only_row, get_user
from stores.management.base import SynclineCommand, add_action, add_actions
from stores.models import SalesOrder
from stores.models.order import SalesOrderState

LINE_FORMAT = "{number:<20} {company:<5} {channel:<12} {state:<9} {business_date}  {hold_code}"


class Command(SynclineCommand):
    help = (
        "Lists the sales orders that are on hold, or releases one. "
        "Exit status: 0 done, 1 the order is not on hold, 2 wrong arguments."
    )
    example = "orders release SO-000042 --user robin"

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        add_action(actions, "list", self.list_orders)
        release_parser = add_action(actions, "release", self.release_order)
        release_parser.add_argument("number", metavar="NUMBER", help="The number of the order.")
        release_parser.add_argument(
            "--company", metavar="CODE", help="The company, if several have the number."
        )
        add_user(release_parser)

    def list_orders(self, options: dict[str, Any]) -> None:
        """Lists the orders on hold, the oldest first."""
        on_hold = SalesOrder.objects.filter(state=SalesOrderState.ON_HOLD)
        orders = on_hold.select_related("channel").order_by("pk")
        self.print_rows("order", map(order_as_dict, orders), LINE_FORMAT)

    def release_order(self, options: dict[str, Any]) -> None:
        """Releases an order."""
        order = get_order(options["number"], options["company"])
        user = get_user(options["user"])
        if not order.release(by=user):
            raise CommandError(f"{order} is not on hold.")
        order.refresh_from_db()
        self.print_json_or_text(order_as_dict(order), f"{order} is released.")


def get_order(number: str, company: str | None) -> SalesOrder:
    """Return the only order with the number. Errors: CommandError with status 2.

    Each company numbers its own orders, so that two of them may have the same number.
    """
    orders = SalesOrder.objects.filter(number=number).select_related("channel")
    return get_only_row("sales order", number, orders, "company", company)


def order_as_dict(order: SalesOrder) -> dict[str, Any]:
    return {
        "number": order.number,
        "company": order.company_id,
        "channel": order.channel.code,
        "state": order.state,
        "hold_code": order.hold_code,
        "business_date": order.business_date,
    }
