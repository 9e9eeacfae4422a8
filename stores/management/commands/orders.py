"""Sales orders: list those on hold, release one."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import add_user, chosen_companies, chosen_user, only_row
from stores.management.base import SynclineCommand
from stores.models import SalesOrder
from stores.models.order import SalesOrderState

ROW_FORMAT = "{number:<20} {company:<5} {channel:<12} {state:<9} {business_date}  {hold_code}"


class Command(SynclineCommand):
    help = (
        "Lists the sales orders that are on hold, or releases one. "
        "Exit status: 0 done, 1 the order is not on hold, 2 wrong arguments."
    )
    example = "orders release SO-000042 --user robin"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list", "release"], help="What to do.")
        parser.add_argument(
            "number", nargs="?", metavar="NUMBER", help="release: the number of the order."
        )
        parser.add_argument(
            "--company", metavar="CODE", help="release: the company, if several have the number."
        )
        add_user(parser, "release")

    def handle(self, *args: Any, **options: Any) -> None:
        orders = SalesOrder.objects.select_related("channel")
        if options["action"] == "list":
            on_hold = orders.filter(state=SalesOrderState.ON_HOLD).order_by("pk")
            self.answer_rows("order", [described(order) for order in on_hold], ROW_FORMAT)
            return
        number, company = options["number"], options["company"]
        if company is not None:
            orders = orders.filter(company__in=chosen_companies([company]))
        order = only_row("sales order", number, orders.filter(number=number), "company")
        if not order.release(chosen_user(options["user"])):
            raise CommandError(f"{order} is not on hold.")
        order.refresh_from_db()
        self.answer(described(order), f"{order} is released.")


def described(order: SalesOrder) -> dict[str, Any]:
    return {
        "number": order.number,
        "company": order.company_id,
        "channel": order.channel.code,
        "state": order.state,
        "hold_code": order.hold_code,
        "business_date": order.business_date,
    }
