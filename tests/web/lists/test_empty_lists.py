"""An empty list says why it is empty: its filters match nothing, or it has no rows yet.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `reader` is a client
of a user who may see every page; `people` has Ann with an account, Bo who is pending, and Cy in
quarantine.
"""

import pytest

from stores.models import ChannelDatabase
from stores.models.job import JobCode
from tests.support.make import make_sale, run
from tests.support.pages import LISTS, page_at

pytestmark = [pytest.mark.slow, pytest.mark.finding(id="U1")]

NO_MATCH = "No rows match the filters."


URLS_WITHOUT_A_MATCH = (
    f"{LISTS['async-customers']}?since=2999-01-01",
    f"{LISTS['customers']}?q=nobody",
    f"{LISTS['quarantine']}?until=2001-01-01",
    f"{LISTS['runs']}?job=eod",
    f"{LISTS['uploads']}?since=2999-01-01",
    f"{LISTS['downloads']}?since=2999-01-01",
    f"{LISTS['balance']}?since=2999-01-01",
    "/transactions/?q=nothing",
)


def test_a_list_whose_filters_match_nothing_says_so(reader, people, subtests):
    make_sale(ChannelDatabase.objects.get(channel__code="houston"))
    run(JobCode.UPLOAD)

    for url in URLS_WITHOUT_A_MATCH:
        with subtests.test(url):
            page = page_at(reader, url)
            empty_text = page[page.index('class="empty"') :].split("</tr>")[0]
            assert NO_MATCH in page
            assert "yet" not in empty_text


def test_the_list_of_customers_always_has_a_default_customer(reader, houston):
    assert NO_MATCH in page_at(reader, "/customers/?q=nobody")


@pytest.mark.parametrize("url", ["/orders/?q=x", "/statements/?state=posted"])
def test_a_list_without_rows_says_what_creates_them(reader, houston, url):
    page = page_at(reader, url)

    assert NO_MATCH not in page
    assert "yet" in page


def test_a_list_with_an_invalid_filter_says_so(reader, people):
    assert "one of the filters is invalid" in page_at(reader, "/customers/?company=x")


def test_a_channel_without_errors_says_so(reader, houston, popup):
    make_sale(houston, net_amount="11.00")
    run(JobCode.UPLOAD)
    run("validate")

    page_of_popup = page_at(reader, "/transactions/failed/?channel=popup")
    page_of_all = page_at(reader, "/transactions/failed/")

    assert "No errors in this channel" in page_of_popup
    assert "Net amount" in page_of_all
