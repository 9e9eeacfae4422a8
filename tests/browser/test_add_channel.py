"""A store is added in the browser, its first customer comes home, and its days are closed.

From conftest.py: `houston` is a store on PostgreSQL.
"""

import re

import pytest
from playwright.sync_api import Page, expect

from stores.models import Schedule
from tests.browser.conftest import wait_for_look_alikes
from tests.support.databases import drop_database
from tests.support.processes import running
from tests.support.schedules import starts_in_a_year

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _austin_removed(hq):
    yield
    drop_database("ch_austin")


def test_a_store_is_added_its_first_customer_comes_home_and_its_end_of_day_is_scheduled(
    watched: Page, site, link_for, houston
):
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

    page.goto(site + link_for("operator"))
    page.goto(f"{site}/till/austin/")
    page.get_by_label("First name").fill("Ann")
    page.get_by_label("Last name").fill("Lee")
    wait_for_look_alikes(page)
    page.get_by_role("button", name="Save customer").click()
    expect(page.get_by_text("Account: Pending sync.")).to_be_visible()
    page.goto(site)
    page.get_by_role("button", name="Run pipeline").click()
    with running("manage.py", "worker", "--burst"):
        status = page.locator("#progress .state").first
        expect(status).to_have_text("Succeeded", timeout=60_000)
    expect(page.locator("#progress")).to_contain_text(re.compile("1 converted"))
    page.wait_for_load_state("networkidle")
    page.goto(f"{site}/till/austin/?q=Ann")
    expect(page.get_by_role("cell", name="005001")).to_be_visible()

    page.goto(site + link_for("boss", is_superuser=True))
    page.goto(f"{site}/schedules/add/")
    page.get_by_label("Job").select_option("eod")
    page.get_by_label("Austin").check()
    page.get_by_label("Time of day", exact=True).fill("22:30")
    page.get_by_label("Time zone").fill("America/Chicago")
    page.get_by_role("button", name="Add schedule").click()
    expect(page.get_by_text("22:30 C")).to_have_count(5)
    assert starts_in_a_year(Schedule.objects.get(job="eod")) == {"03:30", "04:30"}
