"""Pages of long lists follow an index in both directions and start at any row.

From conftest.py: `houston` is a store on PostgreSQL; `reader` is a client of a user who may see
every page; `people` has Ann with an account, Bo who is pending, and Cy in quarantine.
"""

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

# These lists are short: they are sorted, not read along an index.
SORTED_LISTS = ("channels", "balance")
INDEXED_ORDERS = [
    (name, columns)
    for name, table in TABLES.items()
    for columns in table.indexed_orders
    if name not in SORTED_LISTS
]
SORTABLE_COLUMNS = {
    "created_at",
    "account_number",
    "staged_at",
    "started_at",
    "first_seen_at",
    "name",
}
# With these off, PostgreSQL only sorts or reads a whole table if no index has the order.
PLANNER_SETTINGS = ("enable_seqscan", "enable_sort", "enable_incremental_sort")


@pytest.fixture
def two_rows_a_page(monkeypatch) -> None:
    monkeypatch.setattr("stores.web.lists.paging.PER_PAGE", 2)


@pytest.fixture
def six_customers(houston) -> None:
    """Five customers and the channel's default customer."""
    for name in ("Ann", "Bo", "Cy", "Di", "Ed"):
        make_customer(houston, name)
    run("pipeline")


def follow(reader: Client, url: str, link: str = "next") -> Iterator[Any]:
    """A page and all pages that its links lead to, one after the other."""
    path = url.partition("?")[0]
    while True:
        response = reader.get(url)
        yield response
        query = getattr(response.context["table"].page, link)
        if not query:
            return
        url = path + query


def ids_on(response: Any) -> list[Any]:
    return [row.pk for row in rows_of(response)]


def next_page(reader: Client, url: str) -> str:
    """The URL of the page that follows."""
    return url.partition("?")[0] + reader.get(url).context["table"].page.next


def test_links_lead_through_a_list_to_its_end_and_back(reader, six_customers, two_rows_a_page):
    pages = list(follow(reader, "/customers/"))
    last = pages[-1].context["table"].page
    pages_back = list(follow(reader, "/customers/" + last.previous, "previous"))

    ids = [ids_on(page) for page in pages]
    ids_back = [ids_on(page) for page in pages_back]
    newest_first = Customer.objects.newest_first().values_list("pk", flat=True)
    assert len(ids) == 3
    assert [pk for page in ids for pk in page] == list(newest_first)
    assert [*reversed(ids_back), ids[-1]] == ids


def test_the_pages_of_every_list_show_each_row_once(reader, people, monkeypatch, subtests):
    monkeypatch.setattr("stores.web.lists.paging.PER_PAGE", 1)

    for name, url in LISTS.items():
        columns = sorted(SORTABLE_COLUMNS & set(TABLES[name].base_columns))
        count = reader.get(url).context["table"].paginator.count
        for sort in ("", *columns, *(f"-{column}" for column in columns)):
            with subtests.test(f"{name} by {sort}"):
                pages = follow(reader, f"{url}?sort={sort}")
                ids = [pk for page in pages for pk in ids_on(page)]
                assert len(ids) == len(set(ids)) == count


def test_a_page_keeps_its_rows_when_new_rows_arrive(
    reader, six_customers, two_rows_a_page, houston
):
    second = next_page(reader, "/customers/")
    before = rows_of(reader.get(second))

    make_customer(houston, "Flo")
    run("pipeline")

    assert rows_of(reader.get(second)) == before


def test_links_to_pages_keep_the_filters_and_the_order(reader, six_customers, two_rows_a_page):
    second = next_page(reader, "/customers/?q=lee&sort=account_number")

    assert "q=lee" in second
    assert "sort=account_number" in second


def test_a_later_page_does_not_read_the_rows_before_it(reader, six_customers, two_rows_a_page):
    second = next_page(reader, "/customers/")

    with CaptureQueriesContext(connection) as queries:
        response = reader.get(second)

    assert len(rows_of(response)) == 2
    assert not any("OFFSET" in query["sql"] for query in queries.captured_queries)


def test_a_list_too_long_to_count_has_all_pages(
    reader, six_customers, two_rows_a_page, counted_to_two
):
    pages = list(follow(reader, "/customers/"))

    assert sum(len(rows_of(page)) for page in pages) == 6
    assert "More than 2 rows" in pages[0].content.decode()


def test_only_the_first_rows_of_a_long_list_are_sorted(reader, six_customers, counted_to_two):
    response = reader.get("/customers/?sort=name")

    newest = Customer.objects.newest_first()[:2]
    assert rows_of(response) == sorted(newest, key=lambda customer: customer.first_name or "")
    assert "Only the first 2 rows are sorted" in response.content.decode()
    assert len(csv_rows(reader.get("/customers/?sort=name&_export=csv"))) == 6


def test_a_count_that_would_cost_too_much_is_estimated(reader, six_customers, monkeypatch):
    monkeypatch.setattr("stores.web.counts.MAX_COST", 0)

    response = reader.get("/customers/")

    assert "About " in response.content.decode()
    assert len(rows_of(response)) == 6


def test_a_page_beyond_an_estimated_length_is_the_first(reader, six_customers, monkeypatch):
    monkeypatch.setattr("stores.web.lists.paging.length", lambda rows: Length(900, is_exact=False))

    response = reader.get("/customers/?page=20")

    assert response.context["table"].page.number == 1
    assert len(rows_of(response)) == 6


def test_a_csv_file_read_in_chunks_has_each_row_once(reader, six_customers, monkeypatch):
    monkeypatch.setattr("stores.web.lists.paging.CSV_CHUNK", 2)

    rows = csv_rows(reader.get("/customers/?_export=csv"))

    accounts = [row["Account"] for row in rows]
    assert len(accounts) == len(set(accounts)) == 6


@pytest.mark.parametrize("is_descending", [True, False], ids=["descending", "ascending"])
@pytest.mark.parametrize(("name", "columns"), INDEXED_ORDERS)
def test_an_index_has_the_order_of_the_list(hq, name, columns, is_descending):
    rows = Order(columns, is_descending).apply(MODELS[name].objects.all())

    with connection.cursor() as cursor:
        for setting in PLANNER_SETTINGS:
            cursor.execute(f"SET {setting} = off")
        try:
            plan = rows.explain()
        finally:
            for setting in PLANNER_SETTINGS:
                cursor.execute(f"RESET {setting}")

    assert "Index" in plan
    assert "Sort" not in plan
