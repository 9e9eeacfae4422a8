"""Sales orders: list those on hold, release one."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import add_user, chosen_companies, chosen_user, is_text
from stores.management.base import SynclineCommand, print_json
from stores.models import SalesOrder
from stores.models.order import SalesOrderState

ROW_FORMAT = "{number:<20} {company:<5} {channel:<12} {state:<9} {business_date}  {hold_code}"


class Command(SynclineCommand):
    help = (
        "List the sales orders on hold, or release one by its number. "
        "Exit status: 0 done, 1 it is not on hold, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list", "release"])
        parser.add_argument("number", nargs="?", metavar="NUMBER", help="release: the order")
        parser.add_argument("--company", metavar="C", help="release: where several have the number")
        add_user(parser, "release")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self.list(as_json=options["json"])
            return
        order = chosen(options["number"], options["company"])
        if not order.release(chosen_user(options["user"])):
            raise CommandError(f"{order} is not on hold.")
        order.refresh_from_db()
        if options["json"]:
            print_json(self, described(order))
        else:
            self.stdout.write(f"{order} is released.")

    def list(self, *, as_json: bool) -> None:
        """Orders on hold, oldest first."""
        on_hold = SalesOrder.objects.filter(state=SalesOrderState.ON_HOLD).select_related("channel")
        orders = [described(order) for order in on_hold.order_by("pk")]
        if as_json:
            print_json(self, {"orders": orders})
            return
        for row in orders:
            self.stdout.write(ROW_FORMAT.format_map(row))
        self.stdout.write(f"{len(orders)} orders." if len(orders) != 1 else "1 order.")


def chosen(number: str | None, company: str | None) -> SalesOrder:
    """The order with this number. Errors: CommandError with status 2."""
    chosen_companies([company] if company is not None else [])
    filters = {"number": number or "", "company": company}
    filters = {name: value for name, value in filters.items() if value is not None}
    orders = SalesOrder.objects.filter(**filters).select_related("channel")
    matching = list(orders.order_by("company")) if is_text(number or "") else []
    if not matching:
        raise CommandError(f"There is no sales order {number or ''!r}.", returncode=2)
    if len(matching) > 1:
        codes = ", ".join(str(order.company_id) for order in matching)
        raise CommandError(f"Several companies have it ({codes}): --company.", returncode=2)
    return matching[0]


def described(order: SalesOrder) -> dict[str, Any]:
    return {
        "number": order.number,
        "company": order.company_id,
        "channel": order.channel.code,
        "state": order.state,
        "hold_code": order.hold_code,
        "business_date": order.business_date,
    }
