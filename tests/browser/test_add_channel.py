"""An administrator adds a store in the browser; its first customer comes home.

From conftest.py: `houston` is a store on PostgreSQL.
"""

import re

import pytest
from playwright.sync_api import Page, expect

from stores.models import ChannelDatabase
from tests.support.databases import drop_database
from tests.support.make import lookup, make_customer
from tests.support.processes import running

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _austin_removed():
    yield
    drop_database("ch_austin")


def test_a_store_is_added_and_its_first_customer_comes_home(watched: Page, site, link_for, houston):
    page = watched
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(site + link_for("administrator"))
    page.goto(f"{site}/channels/")
    page.get_by_role("link", name="Add a channel").click()
    page.get_by_label("Code").fill("austin")
    page.get_by_label("Name", exact=True).fill("Austin")
    page.get_by_label("Time zone").select_option("America/Chicago")

    expect(page.get_by_label("Server", exact=True)).to_be_visible()
    page.get_by_label("Embedded server of headquarters").check()
    expect(page.get_by_label("Server", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Test the connection").click()

    expect(page.get_by_text("The connection works.")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Add channel").click()
    expect(page.get_by_text("Channel austin is added.")).to_be_visible()

    austin = ChannelDatabase.objects.with_channel().get(channel__code="austin")
    make_customer(austin, "Ann")
    page.goto(site + link_for("operator"))
    page.get_by_role("button", name="Run pipeline").click()
    with running("manage.py", "worker", "--burst"):
        status = page.locator("#progress .state").first
        expect(status).to_have_text("Succeeded", timeout=60_000)
    expect(page.locator("#progress")).to_contain_text(re.compile("1 converted"))
    assert lookup(austin) == [("005001", "Ann")]
