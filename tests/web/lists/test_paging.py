"""Lists of any length: walked along an index, in both directions, from any row."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from stores.models import Customer
from stores.web.counts import Length
from stores.web.lists.paging import Order
from tests.support.make import make_customer, run
from tests.support.pages import LISTS, MODELS, TABLES, csv_rows, rows_of

pytestmark = pytest.mark.slow

LIMITED = (
    "stores.web.counts",
    "stores.web.format",
    "stores.web.lists.paging",
    "stores.web.lists.customers",
    "stores.web.lists.async_customers",
)
# One row a database, and one a day, database and table: sorted, not walked.
SHORT = ("channels", "balance")
WALKS = [
    (name, walk)
    for name, table in TABLES.items()
    for walk in table.indexed_orders
    if name not in SHORT
]

# What a plan does only where it has no other way, once they are off.
DEARER = ("enable_seqscan", "enable_sort", "enable_incremental_sort")


@pytest.fixture
def short(monkeypatch) -> None:
    """Two rows on a page."""
    monkeypatch.setattr("stores.web.lists.paging.PER_PAGE", 2)


@pytest.fixture
def long(monkeypatch) -> None:
    """Two rows are more than can be counted."""
    for module in LIMITED:
        monkeypatch.setattr(f"{module}.MAX_COUNTED", 2)


@pytest.fixture
def five(houston) -> None:
    """Five customers and the channel's default one."""
    for name in ("Ann", "Bo", "Cy", "Di", "Ed"):
        make_customer(houston, name)
    run("pipeline")


def walk(reader: Client, path: str, way: str = "next") -> Iterator[Any]:
    """A page, and all that follow one after the other."""
    query = path
    while query:
        answer = reader.get(query)
        yield answer
        link = getattr(answer.context["table"].page, way)
        query = link and path.partition("?")[0] + link


def ids(rows: list[Any]) -> list[Any]:
    return [row.pk for row in rows]


def test_a_list_is_walked_to_its_end_and_back(reader, five, short):
    there = [ids(rows_of(answer)) for answer in walk(reader, "/customers/")]
    *_, end = walk(reader, "/customers/")
    back = [
        ids(rows_of(answer))
        for answer in walk(reader, "/customers/" + end.context["table"].page.previous, "previous")
    ]

    newest_first = Customer.objects.newest_first().values_list("pk", flat=True)
    assert [row for page in there for row in page] == list(newest_first)
    assert [*back[::-1], there[-1]] == there
    assert len(there) == 3


@pytest.mark.parametrize("name", LISTS)
def test_every_list_shows_each_row_once(reader, people, monkeypatch, name):
    monkeypatch.setattr("stores.web.lists.paging.PER_PAGE", 1)
    columns = {"created_at", "account_number", "staged_at", "started_at", "first_seen_at", "name"}
    orders = columns & set(TABLES[name].base_columns)
    rows = reader.get(LISTS[name]).context["table"].paginator.count

    for order in ("", *orders, *(f"-{column}" for column in orders)):
        pages = walk(reader, f"{LISTS[name]}?sort={order}")
        shown = [row.pk for answer in pages for row in rows_of(answer)]
        assert len(shown) == len(set(shown)) == rows, order


def test_a_page_keeps_its_rows_when_others_arrive(reader, five, short, houston):
    second = reader.get("/customers/").context["table"].page.next
    before = rows_of(reader.get(f"/customers/{second}"))

    make_customer(houston, "Flo")
    run("pipeline")

    assert rows_of(reader.get(f"/customers/{second}")) == before


def test_a_place_keeps_filters_and_order(reader, five, short):
    link = reader.get("/customers/?q=lee&sort=account_number").context["table"].page.next

    assert "q=lee" in link
    assert "sort=account_number" in link


def test_a_deep_page_skips_nothing(reader, five, short):
    second = reader.get("/customers/").context["table"].page.next

    with CaptureQueriesContext(connection) as captured:
        reader.get(f"/customers/{second}")

    assert not [one for one in captured.captured_queries if "OFFSET" in one["sql"]]


def test_a_list_longer_than_is_counted_is_walked_to_its_end(reader, five, short, long):
    shown = [row for answer in walk(reader, "/customers/") for row in rows_of(answer)]

    assert len(shown) == 6
    assert "More than 2 rows" in reader.get("/customers/").content.decode()


def test_of_a_long_list_only_the_first_rows_are_sorted(reader, five, long):
    answer = reader.get("/customers/?sort=name")

    newest = Customer.objects.newest_first()[:2]
    assert rows_of(answer) == sorted(newest, key=lambda one: one.first_name or "")
    assert "Only the first 2 rows are sorted" in answer.content.decode()
    assert len(csv_rows(reader.get("/customers/?sort=name&_export=csv"))) == 6


def test_a_count_that_would_cost_too_much_is_guessed(reader, five, monkeypatch):
    monkeypatch.setattr("stores.web.counts.MAX_COST", 0)

    answer = reader.get("/customers/")

    assert "About " in answer.content.decode()
    assert len(rows_of(answer)) == 6


def test_a_page_number_beyond_the_rows_of_a_guess_shows_the_first_page(reader, five, monkeypatch):
    monkeypatch.setattr("stores.web.lists.paging.length", lambda rows: Length(900, is_exact=False))

    answer = reader.get("/customers/?page=20")

    assert answer.context["table"].page.number == 1
    assert len(rows_of(answer)) == 6


def test_a_csv_is_read_in_pieces(reader, five, monkeypatch):
    monkeypatch.setattr("stores.web.lists.paging.CSV_CHUNK", 2)

    accounts = [row["Account"] for row in csv_rows(reader.get("/customers/?_export=csv"))]

    assert len(accounts) == len(set(accounts)) == 6


@pytest.mark.parametrize("is_descending", [True, False])
@pytest.mark.parametrize(("name", "columns"), WALKS)
def test_an_index_carries_every_walk(hq, name, columns, is_descending):
    order = Order(columns, is_descending)
    rows = order.apply(MODELS[name].objects.all())

    with connection.cursor() as cursor:
        for way in DEARER:
            cursor.execute(f"SET {way} = off")
        try:
            plan = rows.explain()
        finally:
            for way in DEARER:
                cursor.execute(f"RESET {way}")

    assert "Index" in plan
    assert "Sort" not in plan
