"""A customer saved at one store's till is soon known, with its account, at every other store.

From conftest.py: `houston` is a store on PostgreSQL.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import wait_for_look_alikes, watching
from tests.browser.test_accessibility import axe_violations, scrolls_sideways
from tests.support import prepared
from tests.support.demo import running_demo, stopped_later, unused_port

pytestmark = pytest.mark.slow

PROMISED_S = 30
OUTAGE_S = 60
PHONE = "+1 281 555 0100"
CODES = ("houston", "seattle", "web", "popup")
# As the demo issues them.
ACCOUNT = re.compile(r"C-\d{6}")


@dataclass(frozen=True)
class Demo:
    """A demo that runs, and what it told."""

    data_dir: Path
    url: str
    told: str

    def link_for(self, user: str) -> str:
        """The link by which a user signs in."""
        [line] = [line for line in self.told.splitlines() if line.startswith(f"  {user} ")]
        return line.split()[-1]

    @contextmanager
    def away(self, code: str) -> Iterator[None]:
        """Take the database of a store on SQLite out of reach inside the block."""
        file = self.data_dir / "channels" / f"{code}.sqlite3"
        elsewhere = file.rename(self.data_dir / file.name)
        yield
        elsewhere.rename(file)


class Till:
    """The page of a store's till."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url

    def save_customer(self, first_name: str, phone: str = "") -> float:
        """Save a new customer. Returns when it was saved."""
        self.page.goto(self.url)
        self.page.get_by_label("First name").fill(first_name)
        self.page.get_by_label("Last name").fill("Lee")
        self.page.get_by_label("Phone", exact=True).fill(phone)
        wait_for_look_alikes(self.page)
        self.page.get_by_role("button", name="Save customer").click()
        expect(self.page.get_by_text("Saved. Account: Pending sync.")).to_be_visible()
        return time.monotonic()

    def expect_account(self, first_name: str, since: float) -> None:
        """Look the customer up until the account is shown, as a person would."""
        while True:
            self.page.goto(f"{self.url}?q={first_name} Lee")
            if self.page.get_by_role("cell", name=ACCOUNT).count():
                return
            assert time.monotonic() < since + PROMISED_S, f"{self.url}: {first_name} is late"
            self.page.wait_for_timeout(1000)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo that has just been started, and which nobody touches."""
    for paths in stopped_later(tmp_path / "data"):
        prepared.copy_to(paths)
        port = unused_port()
        with running_demo(paths.data_dir, port) as (told, _):
            yield Demo(paths.data_dir, f"http://127.0.0.1:{port}", told)


def test_in_the_demo_a_customer_of_one_store_is_known_at_every_other_within_half_a_minute(
    page: Page, demo: Demo
):
    tills = {code: Till(page, f"{demo.url}/till/{code}/") for code in CODES}
    with watching(page, demo.url):
        page.goto(demo.link_for("operator"))
        saved_at = tills["houston"].save_customer("Ann")
        for till in tills.values():
            till.expect_account("Ann", saved_at)

        with demo.away("popup"):
            away_at = time.monotonic()
            page.goto(tills["popup"].url)
            expect(page.get_by_text("the database can be used again.")).to_be_visible()
            saved_at = tills["houston"].save_customer("Bo")
            for code in ("houston", "seattle", "web"):
                tills[code].expect_account("Bo", saved_at)
            page.wait_for_timeout(1000 * max(0, away_at + OUTAGE_S - time.monotonic()))
        tills["popup"].expect_account("Bo", time.monotonic())


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
