"""Lists, searches and look-ups in a big headquarters: no channel is opened, HQ is filled by SQL.

Pages are asked for through Django's test client, look-ups as the statements that the pages send.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client

from bench.place import SHOPS, Options, Place, customers_of, so_many, table
from stores.models import (
    AsyncCustomer,
    Channel,
    ChannelDatabase,
    ChannelDatabaseGroup,
    Company,
    Customer,
    GuidMap,
    JobRun,
    NumberSequence,
)
from stores.models.search import matches_own_contact, phone_digits
from stores.web.lists.paging import Order
from stores.web.lists.search import customer_ids

FILL = Path(__file__).with_name("lists.sql")
TIMES = 60
# A page that takes long is not asked for so often.
PATIENCE_S, ENOUGH = 4, 3


def measure(place: Place, options: Options) -> None:
    customers = customers_of(options, 1_000_000, 2_000)
    begun = time.monotonic()
    fill(customers)
    place.settle()
    print(f"{customers:,} customers, filled in {time.monotonic() - begun:.0f} s")
    pages_and_lookups(customers, so_many(options, TIMES, 2))


def fill(customers: int) -> None:
    """Make the set-up, and all rows by SQL."""
    make_setup()
    fill_from(FILL, rows=customers)


def fill_from(file: Path, **values: Any) -> None:
    """Run a file of SQL on HQ, without triggers and secondary indexes meanwhile."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SET LOCAL maintenance_work_mem = '512MB'")
        again = drop_indexes(cursor)
        cursor.execute(file.read_text(), values)
        for statement in again:
            cursor.execute(statement)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def make_setup() -> None:
    """A company with four channels, whose databases are never opened."""
    company = Company.objects.create(code="BNCH", name="Bench")
    NumberSequence.objects.create(
        company=company, format="C-########", start=1, next=1, largest=99_999_999
    )
    group = ChannelDatabaseGroup.objects.create(name="Default")
    for code in SHOPS:
        channel = Channel.objects.create(code=code, name=code.title(), company=company)
        ChannelDatabase.objects.create(channel=channel, group=group, url=f"embedded:ch_{code}")


def drop_indexes(cursor: Any) -> list[str]:
    """Drop the indexes that are no constraint's. Returns the statements that make them again."""
    cursor.execute(
        """SELECT indexname, indexdef FROM pg_indexes
            WHERE schemaname = current_schema AND indexdef NOT LIKE 'CREATE UNIQUE%'
              AND indexname NOT IN (SELECT conname FROM pg_constraint)"""
    )
    found = cursor.fetchall()
    for name, _ in found:
        cursor.execute(f'DROP INDEX "{name}"')
    return [statement for _, statement in found]


def pages_and_lookups(customers: int, times: int) -> None:
    """Ask for every page and look-up many times, and print how long they took."""
    some = Sample(customers, times)
    page_table(pages(some))
    found = [[name, *timed(calls)] for name, calls in lookups(some).items()]
    table(["look-up", "p50 ms", "p95 ms"], found)


def page_table(pages: dict[str, list[str]]) -> None:
    """Ask for pages as a user who may see everything, and print how long each kind took."""
    client = Client()
    client.force_login(User.objects.create_superuser("bench"))
    found = [
        [name, *timed(partial(got, client, path) for path in paths)]
        for name, paths in pages.items()
    ]
    table(["page", "p50 ms", "p95 ms"], found)


def got(client: Client, path: str) -> None:
    answer = client.get(path)
    if answer.status_code not in (200, 302):
        raise SystemExit(f"{path}: {answer.status_code}")


def timed(calls: Iterable[Callable[[], Any]]) -> tuple[str, str]:
    """Median and 95th percentile of calls in milliseconds, after one that warms up."""
    seconds = []
    for call in calls:
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
        if sum(seconds) > PATIENCE_S and len(seconds) > ENOUGH:
            break
    ranked = sorted(seconds[1:])
    median, slow = (ranked[int(len(ranked) * part)] * 1000 for part in (0.5, 0.95))
    return f"{median:.1f}", f"{slow:.1f}"


class Sample:
    """Customers, operations and runs from all over the tables, always the same places."""

    def __init__(self, customers: int, times: int) -> None:
        self.times = times
        step = max(1, customers // times)
        self.ids = list(range(step // 2, customers, step))
        self.customers = list(Customer.objects.filter(pk__in=self.ids))
        mapped = GuidMap.objects.filter(customer__in=self.ids)
        self.guids = [str(guid) for guid in mapped.values_list("pk", flat=True)]
        self.operations = list(AsyncCustomer.objects.filter(async_account__in=self.guids))
        newest = JobRun.objects.newest_first()
        count = newest.count()
        self.runs = [newest[place] for place in range(count // 10, count, count // 10)] * 6


def asked(path: str, values: Iterable[Any], **more: str) -> list[str]:
    """The addresses of a page, once for each value of a filter or place."""
    return [f"{path}?{urlencode(more | {'q': str(value)})}" for value in values]


def beyond(path: str, columns: Sequence[str], rows: Iterable[Any], **more: str) -> list[str]:
    """The addresses of pages that begin after rows."""
    order = Order(tuple(columns), is_descending=True)
    return [f"{path}?{urlencode(more | {'after': order.key(row)})}" for row in rows]


def pages(some: Sample) -> dict[str, list[str]]:
    """What is asked for, by what it is called."""
    people, work = "/customers/", "/async-customers/"
    fixed = {
        "overview": "/",
        "customers": people,
        "customers, page 400": f"{people}?page=400",
        "customers, the newest 10,000 by name": f"{people}?sort=name",
        "customers, not active (none)": f"{people}?active=no",
        "customers, owed to one database": f"{people}?owed=austin",
        "customers, owed to any": f"{people}?owed=any",
        "operations": work,
        "operations, the newest 10,000 by status": f"{work}?sort=state",
        "operations, not synchronized": f"{work}?state=not_synchronized",
        "operations, waiting": f"{work}?state=waiting",
        "operations, failed": f"{work}?state=failed",
        "operations, synchronized, not distributed": f"{work}?state=synchronized",
        "operations, distributed": f"{work}?state=distributed",
        "operations, of a reason": f"{work}?reason=identity_mismatch",
        "operations, of a channel": f"{work}?channel=web",
        "operations, of a day": f"{work}?since=2026-03-01&until=2026-03-01",
        "operations, deactivations (none)": f"{work}?operation=deactivate",
        "runs": "/runs/",
        "runs, failed": "/runs/?status=failed",
        "runs, of a job": "/runs/?job=1010",
        "uploads": "/sessions/uploads/",
        "uploads, of a channel": "/sessions/uploads/?channel=web",
        "downloads": "/sessions/downloads/",
        "quarantine": "/quarantine/",
        "quarantine, open": "/quarantine/?status=open",
        "channels": "/channels/",
        "one channel": "/channels/web/",
    }
    emails = [one.email for one in some.customers]
    phones = [one.phone for one in some.customers]
    names = [f"{one.first_name} {one.last_name}" for one in some.customers]
    lasts = [one.last_name or "" for one in some.customers]
    return {name: [path] * some.times for name, path in fixed.items()} | {
        "customers, anywhere": beyond(people, ["pk"], some.customers),
        "customers, anywhere by account": beyond(
            people, ["company_id", "account_number"], some.customers, sort="-account_number"
        ),
        "customers, by GUID": asked(people, some.guids),
        "customers, by e-mail": asked(people, emails),
        "customers, by phone": asked(people, phones),
        "customers, by first and last name": asked(people, names),
        "customers, by 5 letters": asked(people, (last[:5] for last in lasts)),
        "customers, by 2 letters": asked(people, (last[:2] for last in lasts)),
        "customers, by a typo": asked(people, (f"{last}qz" for last in lasts)),
        "operations, anywhere": beyond(work, ["staged_at", "pk"], some.operations),
        "operations, by GUID": asked(work, some.guids),
        "operations, by e-mail": asked(work, emails),
        "operations, by first and last name": asked(work, names),
        "runs, anywhere": beyond("/runs/", ["created_at", "pk"], some.runs),
        "trace": [f"/trace/{guid}/" for guid in some.guids],
        "trace search by e-mail": [f"/trace/?{urlencode({'ref': email})}" for email in emails],
        "trace search by phone": [f"/trace/?{urlencode({'ref': phone})}" for phone in phones],
    }


def lookups(some: Sample) -> dict[str, list[Callable[[], Any]]]:
    """Statements that find one customer, or the newest of a name."""
    known = Customer.objects.all()
    return {
        "GUID": [partial(list, known.filter(guids__pk=guid)) for guid in some.guids],
        "account": [
            partial(list, known.filter(company=one.company_id, account_number=one.account_number))
            for one in some.customers
        ],
        "e-mail": [
            partial(list, known.filter(matches_own_contact(one.email or "")))
            for one in some.customers
        ],
        "phone": [
            partial(list, known.filter(matches_own_contact(phone_digits(one.phone or ""))))
            for one in some.customers
        ],
        "ids of a first and last name": [
            partial(customer_ids, f"{one.first_name} {one.last_name}") for one in some.customers
        ],
    }
