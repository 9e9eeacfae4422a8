"""The pages of schedules in a browser, with and without JavaScript.

From conftest.py: `houston` is a store on PostgreSQL.
"""

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from stores.models import ChannelDatabase, Schedule
from tests.browser.test_accessibility import axe_violations, scrolls_sideways
from tests.support.make import make_schedule
from tests.support.schedules import starts_in_a_year

pytestmark = pytest.mark.slow

PHONE = {"width": 390, "height": 844}


@pytest.fixture(params=[True, False], ids=["JavaScript", "no JavaScript"])
def phone(request, browser: Browser) -> Page:
    """A page on a small screen."""
    context = browser.new_context(java_script_enabled=request.param, viewport=PHONE)
    yield context.new_page()
    context.close()


def test_a_store_s_end_of_day_is_scheduled_without_a_shell(phone: Page, site, link_for, houston):
    phone.goto(site + link_for("boss", is_superuser=True))
    phone.goto(f"{site}/schedules/")

    phone.get_by_role("link", name="Add schedule").click()
    phone.get_by_label("Job").select_option("eod")
    phone.get_by_label("Houston").check()
    phone.get_by_label("Every so many minutes").check()
    expect(phone.get_by_label("Time of day", exact=True)).to_be_hidden()
    phone.get_by_label("At a time of day").check()
    expect(phone.get_by_label("Minutes", exact=True)).to_be_hidden()
    phone.get_by_label("Time of day", exact=True).fill("22:30")
    phone.get_by_label("Time zone").fill("America/Chicago")
    phone.get_by_role("button", name="Add schedule").click()

    expect(phone.get_by_text("22:30 C")).to_have_count(5)
    schedule = Schedule.objects.get()
    assert (schedule.codes, schedule.next_start.strftime("%H:%M")) == (["houston"], "22:30")
    assert starts_in_a_year(schedule) == {"03:30", "04:30"}


def test_the_pages_of_schedules_are_accessible(
    watched: Page, site, link_for, houston: ChannelDatabase
):
    schedule = make_schedule("eod", houston, cron="30 22 * * mon,tue", time_zone="America/Chicago")
    make_schedule("pipeline", is_continuous=True)
    paused = make_schedule("sync-orders", every_minutes=10)
    paused.pause(timezone.now(), "Stocktaking.")
    url = schedule.get_absolute_url()
    paths = ["/schedules/", "/schedules/add/", url, f"{url}change/", f"{url}remove/"]
    watched.goto(site + link_for("boss", is_superuser=True))
    watched.set_viewport_size(PHONE)

    faults = []
    for path in [*paths, paused.get_absolute_url()]:
        for scheme in ("light", "dark"):
            watched.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert watched.goto(site + path).status == 200, path
            faults += axe_violations(watched, f"{path} ({scheme})")
        if scrolls_sideways(watched, path):
            faults.append(f"{path}: scrolls sideways")

    assert faults == []
