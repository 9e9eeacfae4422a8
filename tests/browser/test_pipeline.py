"""A user signs in with a browser, runs the pipeline, watches it and traces a customer.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite.
"""

import pytest
from playwright.sync_api import Page, expect

from stores.models import Customer, JobRun
from tests.support.make import make_customer
from tests.support.processes import running

pytestmark = pytest.mark.slow

TIMEOUT_MS = 60_000


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def run_worker_until_succeeded(page: Page) -> None:
    """Run a worker while the page of the run shows its progress."""
    with running("manage.py", "worker", "--burst"):
        status = page.locator("#progress .state").first
        expect(status).to_have_text("Succeeded", timeout=TIMEOUT_MS)


def test_a_user_runs_the_pipeline_and_finds_the_customer(
    watched: Page, site, link_for, houston, popup
):
    page = watched
    guid = make_customer(houston, "Ann")

    page.goto(site + link_for("operator"))
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    press(page, "Run pipeline")
    expect(page.locator("#progress")).to_contain_text("Waiting for a worker")
    page.evaluate("window.isTheSamePage = true")
    run_worker_until_succeeded(page)

    assert page.evaluate("window.isTheSamePage")
    expect(page.locator("#progress")).to_contain_text("1 converted")
    expect(page.locator("#progress[hx-trigger]")).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)

    page.get_by_role("searchbox").fill(str(guid).upper())
    page.get_by_role("searchbox").press("Enter")

    account = Customer.objects.get(first_name="Ann").account_number
    expect(page.get_by_role("heading", name=account)).to_be_visible()
    expect(page.locator(".ticks .has-it")).to_have_count(2)


def test_a_user_cancels_a_queued_run(watched: Page, site, link_for, houston):
    page = watched
    page.goto(site + link_for("operator"))
    press(page, "Run pipeline")

    press(page, "Cancel")

    expect(page.locator("#progress .state").first).to_have_text("Cancelled")
    assert JobRun.objects.get().status == "cancelled"


def test_a_filter_changes_the_list_and_the_url(watched: Page, site, link_for, houston, popup):
    page = watched
    make_customer(houston, "Ann")
    make_customer(popup, "Bo")
    page.goto(site + link_for("operator"))
    press(page, "Run pipeline")
    run_worker_until_succeeded(page)
    page.goto(f"{site}/async-customers/")
    expect(page.locator("#list")).to_contain_text("2 rows")

    page.get_by_label("Channel", exact=True).select_option("popup")

    expect(page.locator("#list")).to_contain_text("1 row")
    assert page.url == f"{site}/async-customers/?channel=popup"
    page.go_back()
    expect(page.locator("#list")).to_contain_text("2 rows")


def test_the_theme_is_remembered(watched: Page, site, link_for):
    page = watched
    page.goto(site + link_for("viewer"))
    html = page.locator("html")
    expect(html).to_have_attribute("data-bs-theme", "light")

    press(page, "Switch between light and dark")
    page.goto(f"{site}/jobs/")

    expect(html).to_have_attribute("data-bs-theme", "dark")


def test_the_settings_leave_the_theme_to_the_system(watched: Page, site, link_for):
    page = watched
    page.emulate_media(color_scheme="dark")
    page.goto(site + link_for("administrator", is_staff=True))
    html = page.locator("html")
    expect(html).to_have_attribute("data-bs-theme", "dark")

    page.goto(f"{site}/admin/")
    expect(html).to_have_attribute("data-theme", "auto")
    page.goto(f"{site}/jobs/")

    expect(html).to_have_attribute("data-bs-theme", "dark")
