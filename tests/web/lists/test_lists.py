"""What all lists have in common: sorting, pages, tolerant URLs and a constant number of queries.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `reader` is a client
of a user who may see every page; `people` has Ann with an account, Bo who is pending, and Cy in
quarantine; `queries_of` counts the queries of a page.
"""

import pytest

from stores.models import Customer
from stores.web.lists.base import reasons
from stores.web.lists.transactions import exclusion_choices, rule_choices
from tests.support.make import make_customer, run
from tests.support.pages import LISTS, TABLES, csv_rows, rows_of

pytestmark = pytest.mark.slow

NAMED_COLUMNS = [(name, column) for name, table in TABLES.items() for column in table.base_columns]


def test_the_number_of_queries_does_not_grow_with_the_rows(queries_of, houston, popup):
    def add_customers(*names: str) -> None:
        for name in names:
            make_customer(houston, name)
            make_customer(popup, name, last_name="L" * 61)
        run("pipeline")

    urls = [*LISTS.values(), "/", "/jobs/", "/channels/houston/"]
    add_customers("Ann")
    queries = {url: queries_of(url) for url in urls}

    add_customers("Bo", "Cy", "Di")
    add_customers("Ed")

    assert {url: queries_of(url) for url in urls} == queries


def test_every_column_sorts_in_both_directions(reader, people, subtests):
    for name, column in NAMED_COLUMNS:
        with subtests.test(f"{name} by {column}"):
            ascending = rows_of(reader.get(LISTS[name], {"sort": column}))
            descending = rows_of(reader.get(LISTS[name], {"sort": f"-{column}"}))

            assert ascending
            assert {row.pk for row in ascending} == {row.pk for row in descending}


def test_descending_is_the_reverse_of_ascending(reader, houston):
    for name in ("Ann", "Bo", "Cy"):
        make_customer(houston, name)
    run("pipeline")

    ascending = rows_of(reader.get("/customers/?sort=account_number"))
    descending = rows_of(reader.get("/customers/?sort=-account_number"))

    assert descending == ascending[::-1]


@pytest.mark.parametrize(
    "query",
    [
        "sort=nothing",
        "page=0",
        "page=-3",
        "page=x",
        "page=99999999999",
        "per_page=0",
        "after=x",
        "after=~",
        "before=1~2~3",
        "after=2026-99-99~x",
        "sort=name&after=1",
    ],
)
def test_an_invalid_order_or_page_is_ignored(reader, query):
    statuses = {url: reader.get(f"{url}?{query}").status_code for url in LISTS.values()}

    assert statuses == dict.fromkeys(LISTS.values(), 200)


@pytest.mark.parametrize("query", ["state=nonsense", "since=yesterday", "channel=nowhere"])
def test_an_invalid_filter_finds_nothing_and_shows_an_error(reader, people, query):
    response = reader.get(f"/async-customers/?{query}")

    assert rows_of(response) == []
    assert response.context["filters"].form.errors


def test_pages_show_each_row_once(reader, houston):
    for number in range(28):
        make_customer(houston, f"Ann {number}")
    run("pipeline")

    first = rows_of(reader.get("/customers/?page=1"))
    second = rows_of(reader.get("/customers/?page=2"))
    beyond_the_last = rows_of(reader.get("/customers/?page=77"))

    assert len(first) + len(second) == len({*first, *second}) == Customer.objects.count() == 29
    assert beyond_the_last == second


def test_a_list_with_too_many_rows_to_count_says_so(reader, houston, counted_to_two):
    for name in ("Ann", "Bo", "Cy"):
        make_customer(houston, name)
    run("pipeline")

    page = reader.get("/customers/").content.decode()

    assert "More than 2 rows" in page
    assert len(csv_rows(reader.get("/customers/?_export=csv"))) == 4


@pytest.mark.parametrize("choices", [reasons, rule_choices, exclusion_choices])
def test_no_two_reasons_of_a_filter_read_the_same(choices):
    titles = [title for _, title in choices()]

    assert len(titles) == len(set(titles))


def test_html_in_a_name_is_escaped(reader, houston):
    make_customer(houston, "<b>Ann</b>")
    run("pipeline")

    page = reader.get("/customers/").content.decode()

    assert "<b>Ann</b>" not in page
    assert "&lt;b&gt;Ann&lt;/b&gt;" in page


def test_an_email_address_may_break_before_its_at_sign(reader, people):
    assert "ann<wbr>@example.com" in reader.get("/customers/").content.decode()
