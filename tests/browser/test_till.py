"""A customer saved at one store's till is soon known, with its account, at every other store.

From conftest.py: `houston` and `seattle` are stores on PostgreSQL, `web` is a web shop on
PostgreSQL, and `popup` is a store on SQLite.
"""

import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import wait_for_look_alikes
from tests.browser.test_accessibility import axe_violations, scrolls_sideways
from tests.support.make import make_schedule, out_of_reach
from tests.support.processes import running

pytestmark = pytest.mark.slow

PROMISED_S = 30
OUTAGE_S = 60
PHONE = "+1 281 555 0100"


class Till:
    """The page of a store's till."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url

    def save_customer(self, first_name: str, phone: str = "") -> None:
        self.page.goto(self.url)
        self.page.get_by_label("First name").fill(first_name)
        self.page.get_by_label("Last name").fill("Lee")
        self.page.get_by_label("Phone", exact=True).fill(phone)
        wait_for_look_alikes(self.page)
        self.page.get_by_role("button", name="Save customer").click()
        expect(self.page.get_by_text("Saved. Account: Pending sync.")).to_be_visible()

    def expect_account(self, first_name: str, account: str, since: float) -> None:
        """Look the customer up until the account is shown, as a person would."""
        while True:
            self.page.goto(f"{self.url}?q={first_name}")
            if self.page.get_by_role("cell", name=account).count():
                return
            assert time.monotonic() < since + PROMISED_S, f"{self.url}: {first_name} is late"
            self.page.wait_for_timeout(500)


def test_a_customer_of_one_store_is_known_at_every_other_within_half_a_minute(
    watched: Page, site, link_for, houston, seattle, web, popup
):
    make_schedule("pipeline", is_continuous=True)
    watched.goto(site + link_for("operator"))
    tills = {
        database.label: Till(watched, f"{site}/till/{database.label}/")
        for database in (houston, seattle, web, popup)
    }
    with running("manage.py", "scheduler"), running("manage.py", "worker"):
        tills["houston"].save_customer("Ann")
        saved_at = time.monotonic()
        for till in tills.values():
            till.expect_account("Ann", "005001", saved_at)

        with out_of_reach(popup):
            away_at = time.monotonic()
            watched.goto(tills["popup"].url)
            expect(watched.get_by_text("the database can be used again.")).to_be_visible()
            tills["houston"].save_customer("Bo")
            saved_at = time.monotonic()
            for code in ("houston", "seattle", "web"):
                tills[code].expect_account("Bo", "005002", saved_at)
            watched.wait_for_timeout(1000 * max(0, away_at + OUTAGE_S - time.monotonic()))
        tills["popup"].expect_account("Bo", "005002", time.monotonic())


def test_the_page_warns_while_somebody_types_and_is_accessible(
    watched: Page, site, link_for, houston
):
    till = Till(watched, f"{site}/till/houston/")
    watched.goto(site + link_for("operator"))
    watched.set_viewport_size({"width": 360, "height": 740})
    till.save_customer("Ann", PHONE)
    faults = []
    for path in ("/till/houston/", "/till/houston/?customer=pending-1"):
        for scheme in ("light", "dark"):
            watched.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            watched.goto(site + path)
            faults += axe_violations(watched, f"{path} ({scheme})")
        if scrolls_sideways(watched, path):
            faults.append(f"{path}: scrolls sideways")

    watched.goto(till.url)
    watched.get_by_label("Phone", exact=True).press_sequentially(PHONE)
    expect(watched.get_by_text("Same phone: Ann Lee (Pending sync).")).to_be_visible()

    assert faults == []
