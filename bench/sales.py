"""Pages and an end of day at an HQ with the sales of a thousand days, which is filled by SQL."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from bench.day import day, open_shops, steps_of
from bench.lists import TIMES, asked, beyond, fill_from, page_table
from bench.place import Options, Place, customers_of, so_many, table
from stores.models import RetailTransaction, SalesOrder, Statement

FILL = Path(__file__).with_name("sales.sql")
# sales.sql makes so many, a thousand of each of four channels.
STATEMENTS = 4_000
TRANSACTIONS_PER_CUSTOMER = 20


def measure(place: Place, options: Options) -> None:
    each = customers_of(options, 2_500, 8) // 4
    transactions = options.transactions or so_many(options, 10_000_000, STATEMENTS)
    shops = open_shops(place)
    empty = day(place, shops, each)
    begun = time.monotonic()
    fill_from(
        FILL,
        each=transactions // STATEMENTS,
        customers=max(transactions // TRANSACTIONS_PER_CUSTOMER, STATEMENTS),
        # The tills of the measured days sell yesterday.
        last=timezone.now().date() - timedelta(days=3),
    )
    place.settle()
    print(f"{RetailTransaction.objects.count():,} transactions", end=" ")
    print(f"filled in {time.monotonic() - begun:.0f} s")
    full = day(place, shops, each)
    again = place.job("eod")["seconds"]
    rows = [
        [word, f"{before:.1f} s", f"{after:.1f} s"]
        for (word, before, _), (_, after, _) in zip(steps_of(empty), steps_of(full), strict=True)
    ]
    rows.append(["end of day once more, nothing new", "", f"{again:.1f} s"])
    table(["step", "empty HQ", "full HQ"], rows)
    page_table(pages(so_many(options, TIMES, 2)))


def pages(times: int) -> dict[str, list[str]]:
    """What is asked for, by what it is called; transactions and orders from all over the tables."""
    sales = sample(RetailTransaction.objects.filter(account_number__isnull=False), times)
    orders = sample(SalesOrder.objects.select_related("customer"), times)
    statements = sample(Statement.objects.all(), times)
    oldest = Statement.objects.aggregate(day=Min("business_date"))["day"]
    fixed = {
        "overview": "/",
        "balance": "/balance/",
        "end of day": "/end-of-day/",
        "errors by cause": "/transactions/failed/",
        "transactions": "/transactions/",
        "transactions, of a channel": "/transactions/?channel=web",
        "transactions, customer orders": "/transactions/?kind=customer_order",
        "transactions, with errors": "/transactions/?validation=error",
        "transactions, not posted yet": "/transactions/?posted=open",
        "transactions, order waiting or failed": "/transactions/?posted=waiting",
        "transactions, of a business date": f"/transactions/?date={oldest}",
        "transactions, voided": "/transactions/?posted=excluded",
        "orders": "/orders/",
        "orders, on hold": "/orders/?state=on_hold",
        "orders, of a channel": "/orders/?channel=web",
        "statements": "/statements/",
        "statements, not posted": "/statements/?only=open",
    }
    return {name: [path] * times for name, path in fixed.items()} | {
        "one transaction": [f"/transactions/{sale.pk}/" for sale in sales],
        "one order": [f"/orders/{order.pk}/" for order in orders],
        "one statement": [f"/statements/{statement.pk}/" for statement in statements],
        "one customer": [f"/customers/{order.customer.account_number}/" for order in orders],
        "transactions, anywhere": beyond("/transactions/", ["pk"], sales),
        "transactions, by number": asked("/transactions/", [one.transaction_id for one in sales]),
        "transactions, by receipt": asked("/transactions/", [one.receipt_number for one in sales]),
        "transactions, by account": asked("/transactions/", [one.account_number for one in sales]),
        "transactions, by a number that nobody has": asked("/transactions/", ["nobody"] * times),
        "orders, by number": asked("/orders/", [one.number for one in orders]),
        "orders, by account": asked("/orders/", [one.customer.account_number for one in orders]),
        "trace of a sale": [f"/trace/{one.transaction_id}/" for one in sales],
    }


def sample(rows: QuerySet[Any], times: int) -> list[Any]:
    """So many rows from all over the table, the oldest first."""
    ends = rows.aggregate(first=Min("pk"), last=Max("pk"))
    step = (ends["last"] - ends["first"]) // times
    ids = [ends["first"] + place * step for place in range(times)]
    return [rows.filter(pk__gte=pk).order_by("pk")[0] for pk in ids]
