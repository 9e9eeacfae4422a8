"""The page of balances: the rows that arrived each day, and where they are now."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from stores.models import ChannelDatabase, DayBalance
from stores.web.components import query_url
from stores.web.format import signed
from stores.web.lists.balance import BalanceFilter, BalanceTable, all_balances
from stores.web.lists.response import list_view

balance_list = list_view(BalanceFilter, BalanceTable, all_balances)


@dataclass
class DatabaseBalance:
    """One channel database on one day; `children` are events other than those of customers.

    Sales stand for their lines and payments.
    """

    database: ChannelDatabase
    customers: list[DayBalance] = field(default_factory=list)
    children: list[DayBalance] = field(default_factory=list)
    sales: list[DayBalance] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def difference(self) -> str:
        return " ".join(self.differences)


def latest_balance() -> dict[str, Any] | None:
    """The last day on which rows arrived, with the balance of each database; None before it."""
    day = DayBalance.objects.order_by("-day").values_list("day", flat=True).first()
    if day is None:
        return None
    balances: dict[int, DatabaseBalance] = {}
    rows = DayBalance.objects.filter(day=day).select_related("database__channel")
    for row in rows.order_by("database__channel__code", "database__name", "pk"):
        balance = balances.setdefault(row.database_id, DatabaseBalance(row.database))
        if row.difference:
            balance.differences.append(signed(row.difference))
        if row.table == "async_customer":
            balance.customers.append(row)
        elif row.table == "retail_transaction":
            balance.sales.append(row)
        elif row.table.startswith("async_"):
            balance.children.append(row)
    return {"day": day, "lines": list(balances.values())}


def out_of_balance(today: date) -> list[DayBalance]:
    """Balances of the last month with a difference, the newest first."""
    days = DayBalance.objects.unbalanced().filter(day__gte=today - timedelta(days=31))
    return list(days.select_related("database__channel").order_by("-day", "pk")[:20])


def balance_url(row: DayBalance) -> str:
    channel = row.database.channel.code
    return query_url("balance", channel=channel, since=row.day, until=row.day)
