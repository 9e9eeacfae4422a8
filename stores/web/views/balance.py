"""The nothing-lost balance: for each channel and day, what arrived and where it is now."""

from datetime import date, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from stores.models import DayBalance
from stores.web.format import signed
from stores.web.lists.balance import BalanceFilter, BalanceTable, all_balances
from stores.web.lists.response import list_response
from stores.web.request import Request


@require_safe
def balance_list(request: Request) -> HttpResponseBase:
    filters = BalanceFilter(request.GET, all_balances())
    return list_response(request, filters, BalanceTable, "balance/list.html")


def latest_balance() -> dict[str, Any] | None:
    """The last day on which anything arrived: for each database its customers, sales and the rest.

    Lines and payments are not told apart from their sales, unless some are missing.
    """
    day = DayBalance.objects.order_by("-day").values_list("day", flat=True).first()
    if day is None:
        return None
    lines: dict[int, dict[str, Any]] = {}
    for row in in_channel_order(DayBalance.objects.filter(day=day)):
        line = lines.setdefault(
            row.database_id,
            {
                "database": row.database,
                "row": None,
                "sales": None,
                "belonging": 0,
                "odd": False,
                "difference": "",
            },
        )
        if row.difference:
            line["odd"] = True
            line["difference"] = f"{line['difference']} {signed(row.difference)}".strip()
        if row.table == "async_customer":
            line["row"] = row
        elif row.table == "retail_transaction":
            line["sales"] = row
        elif row.table.startswith("async_"):
            line["belonging"] += row.captured
    return {"day": day, "lines": list(lines.values())}


def in_channel_order(rows: QuerySet[DayBalance]) -> QuerySet[DayBalance]:
    return rows.select_related("database__channel").order_by(
        "database__channel__code", "database__name", "pk"
    )


def out_of_balance(today: date) -> list[DayBalance]:
    """Days of the last month that do not add up, the newest first."""
    days = DayBalance.objects.unbalanced().filter(day__gte=today - timedelta(days=31))
    return list(days.select_related("database__channel").order_by("-day", "pk")[:20])


def balance_url(row: DayBalance) -> str:
    filters = {"channel": row.database.channel.code, "since": str(row.day), "until": str(row.day)}
    return f"{reverse('balance')}?{urlencode(filters)}"
