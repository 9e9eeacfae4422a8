"""What all lists promise: filters, order, pages and CSV in the address, at a constant price."""

import pytest
from django.utils import timezone

from stores.models import AsyncCustomer, ChannelDatabase, Customer
from stores.web.lists import async_customers
from stores.web.lists.csv_cells import as_cell
from tests.support.make import make_customer, run
from tests.support.pages import LISTS, TABLES, lines, rows_of

pytestmark = pytest.mark.slow


def test_queries_do_not_grow_with_rows(queries_of, houston, popup):
    def a_day(*names: str) -> None:
        for name in names:
            make_customer(houston, name)
            make_customer(popup, name, last_name="L" * 61)
        run("pipeline")

    paths = [*LISTS.values(), "/", "/jobs/", "/channels/houston/"]
    a_day("Ann")
    once = {path: queries_of(path) for path in paths}
    a_day("Bo", "Cy", "Di")
    a_day("Ed")

    assert {path: queries_of(path) for path in paths} == once


@pytest.mark.parametrize("name", TABLES)
def test_every_column_sorts_both_ways(reader, people, name):
    for column in TABLES[name].base_columns:
        up = rows_of(reader.get(LISTS[name], {"sort": column}))
        down = rows_of(reader.get(LISTS[name], {"sort": f"-{column}"}))
        assert {row.pk for row in up} == {row.pk for row in down} != set(), column


def test_sorting_by_account_goes_both_ways(reader, houston):
    for name in ("Ann", "Bo", "Cy"):
        make_customer(houston, name)
    run("pipeline")

    up = rows_of(reader.get("/customers/?sort=account_number"))
    down = rows_of(reader.get("/customers/?sort=-account_number"))

    assert up == down[::-1]


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
def test_a_mistyped_order_or_page_is_no_error(reader, query):
    for path in LISTS.values():
        assert reader.get(f"{path}?{query}").status_code == 200


def test_a_filter_that_cannot_be_understood_finds_nothing_and_says_so(reader, people):
    for query in ("state=nonsense", "since=yesterday", "channel=nowhere"):
        answer = reader.get(f"/async-customers/?{query}")

        assert rows_of(answer) == []
        assert answer.context["filters"].form.errors


def test_pages_show_each_row_once(reader, houston):
    for number in range(28):
        make_customer(houston, f"Ann {number}")
    run("pipeline")

    shown = [row for page in (1, 2) for row in rows_of(reader.get(f"/customers/?page={page}"))]

    assert len(shown) == len(set(shown)) == Customer.objects.count() == 29
    assert rows_of(reader.get("/customers/?page=77")) == shown[25:]


def test_counting_stops_at_a_limit(reader, houston, monkeypatch):
    for name in ("Ann", "Bo", "Cy"):
        make_customer(houston, name)
    run("pipeline")
    for module in (
        "stores.web.counts",
        "stores.web.format",
        "stores.web.lists.paging",
        "stores.web.lists.customers",
        "stores.web.lists.async_customers",
    ):
        monkeypatch.setattr(f"{module}.MOST_COUNTED", 2)

    page = reader.get("/customers/").content.decode()

    assert "More than 2 rows" in page
    assert len(lines(reader.get("/customers/?_export=csv"))) == 4


def test_operations_of_a_moment_belong_to_its_day(reader, people):
    AsyncCustomer.objects.filter(first_name="Ann").update(staged_at="2026-03-01T00:00:00Z")
    AsyncCustomer.objects.filter(first_name="Bo").update(staged_at="2026-03-01T23:59:59.999Z")

    of_the_day = rows_of(reader.get("/async-customers/?since=2026-03-01&until=2026-03-01"))

    assert [row.first_name for row in of_the_day] == ["Bo", "Ann"]
    assert rows_of(reader.get("/async-customers/?since=2026-03-02")) == []
    assert rows_of(reader.get("/async-customers/?until=2026-02-28")) == []


FILTERS = {
    "q=ANN@example.com": "Ann",
    "q=%2B1+281+555+0100": "Ann",
    "q=an": "Ann",
    "q=Bo+Lee": "Bo",
    "state=not_synchronized": "Bo",
    "state=open": "Bo",
    "state=distributed": "Ann",
    "channel=popup": "Bo",
}


def test_filters_of_async_customers(reader, people):
    for query, found in FILTERS.items():
        rows = rows_of(reader.get(f"/async-customers/?{query}"))
        assert [row.first_name for row in rows] == [found], query


def test_async_customers_are_found_by_guid_and_account(reader, people):
    account = Customer.objects.get(first_name="Ann").account_number

    for query in (str(people["Ann"]).upper(), account):
        rows = rows_of(reader.get("/async-customers/", {"q": query}))
        assert [row.first_name for row in rows] == ["Ann"]


def test_async_customers_of_a_day(reader, people):
    today = timezone.now().date().isoformat()

    both = rows_of(reader.get(f"/async-customers/?since={today}&until={today}"))

    assert {row.first_name for row in both} == {"Ann", "Bo"}
    assert rows_of(reader.get("/async-customers/?until=2001-01-01")) == []


def test_every_operation_has_exactly_one_state(people):
    found = [AsyncCustomer.objects.filter(one).count() for one in async_customers.STATES.values()]

    assert sum(found) == AsyncCustomer.objects.count() == 2


def test_a_customer_is_synchronized_until_every_enabled_channel_has_it(reader, people):
    ChannelDatabase.objects.filter(channel__code="popup").update(is_enabled=False)
    make_customer(ChannelDatabase.objects.get(channel__code="houston"), "Di")
    run("P-0001")
    run("sync-customers")

    states = {row.first_name: row.state for row in rows_of(reader.get("/async-customers/"))}
    assert states == {"Ann": "distributed", "Bo": "synchronized", "Di": "synchronized"}

    run("1010")
    states = {row.first_name: row.state for row in rows_of(reader.get("/async-customers/"))}
    assert set(states.values()) == {"distributed"}


def test_customers_owed_to_one_channel(reader, people):
    run("sync-customers")
    run("1010", channels=["houston"])

    assert rows_of(reader.get("/customers/?owed=houston")) == []
    assert [row.first_name for row in rows_of(reader.get("/customers/?owed=popup"))] == ["Bo"]
    assert [row.first_name for row in rows_of(reader.get("/customers/?owed=any"))] == ["Bo"]


def test_csv_has_the_rows_of_the_list(reader, people):
    for path in LISTS.values():
        answer = reader.get(path, {"_export": "csv"})

        assert answer["Content-Type"].startswith("text/csv")
        assert len(lines(answer)) == reader.get(path).context["table"].paginator.count > 0


def test_csv_keeps_the_filters_and_the_bare_values(reader, people):
    rows = lines(reader.get("/async-customers/?q=bo&_export=csv"))

    assert len(rows) == 1
    assert rows[0]["Async customer account"] == str(people["Bo"])
    assert rows[0]["Customer sync status"] == "not_synchronized"
    assert rows[0]["Operation"] == "Create"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_csv_has_no_formulas(start):
    assert as_cell(f"{start}cmd()") == f"'{start}cmd()"


def test_csv_defuses_what_a_customer_is_called(reader, houston):
    make_customer(houston, '=HYPERLINK("http://x")', last_name="", name='=HYPERLINK("http://x")')
    run("pipeline")

    names = [row["Name"] for row in lines(reader.get("/customers/?_export=csv"))]

    assert '\'=HYPERLINK("http://x")' in names


def test_a_name_is_no_markup(reader, houston):
    make_customer(houston, "<b>Ann</b>")
    run("pipeline")

    page = reader.get("/customers/").content.decode()

    assert "<b>Ann</b>" not in page
    assert "&lt;b&gt;Ann&lt;/b&gt;" in page


def test_an_address_may_break_before_its_at_sign(reader, people):
    assert "ann<wbr>@example.com" in reader.get("/customers/").content.decode()
