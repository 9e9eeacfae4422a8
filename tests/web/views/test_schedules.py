"""The page of schedules, and the admin in which they are changed.

From conftest.py: `houston` is a store on PostgreSQL; `reader` is a client of a user who may see
every page; `boss` is a client of an administrator.
"""

from datetime import date, time, timedelta

import pytest

from stores.jobs.catalog import JOBS
from stores.jobs.scheduler import database_clock
from stores.jobs.start import create_run
from stores.models import JobRun, Schedule
from stores.models.run import StartedBy

ADD_URL = "/admin/stores/schedule/add/"


@pytest.fixture
def nightly(hq) -> Schedule:
    """A check every night that has started today."""
    return Schedule.objects.create(job="verify", at=time(2, 0), started_on=database_clock().date())


def text_of(client, url="/schedules/"):
    """A page with single spaces."""
    return " ".join(client.get(url).content.decode().split())


def next_start(day: date, time_of_day: str) -> str:
    """The HTML in which the page says when a job starts next."""
    return f'<span class="text-nowrap">{day}</span> <span class="text-nowrap">{time_of_day} UTC<'


def tomorrow() -> date:
    return database_clock().date() + timedelta(days=1)


def test_a_schedule_shows_its_next_start_and_its_last_result(reader, nightly):
    message = "1 of 35 promises is broken: I3."
    job_run = create_run(JOBS["verify"], started_by=StartedBy.SCHEDULE).run
    JobRun.objects.update(status="failed", message=message, ended_at=database_clock())
    Schedule.objects.update(last_run=job_run)

    page = text_of(reader)

    assert "Every day at 02:00 UTC" in page
    assert next_start(tomorrow(), "02:00") in page
    assert message in page
    assert "seconds after it ends" in page


def test_an_administrator_changes_the_time_and_disables_a_schedule(boss, nightly):
    form_without_is_enabled = {"job": "verify", "at": "04:15"}

    response = boss.post(f"/admin/stores/schedule/{nightly.pk}/change/", form_without_is_enabled)

    assert response.status_code == 302
    nightly.refresh_from_db()
    assert (nightly.at, nightly.is_enabled) == (time(4, 15), False)
    assert "Switched off" in text_of(boss)


def test_only_an_administrator_sees_the_link_to_the_admin(boss, reader, nightly):
    assert "/admin/stores/schedule/" in text_of(boss)
    assert "/admin/stores/schedule/" not in text_of(reader)


def test_a_schedule_for_one_channel_is_added_and_shown(boss, houston):
    form = {"job": "eod", "channel": houston.channel_id, "at": "00:00", "is_enabled": "on"}

    response = boss.post(ADD_URL, form)

    assert response.status_code == 302
    assert '<td class="field-channels">houston</td>' in text_of(boss, response["Location"])
    page = text_of(boss)
    assert '<a href="/channels/houston/">Houston</a>' in page
    # Midnight of today is over.
    assert next_start(tomorrow(), "00:00") in page


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "Give either a time of day or minutes from start to start."),
        ({"at": "22:00", "every_minutes": "10"}, "Give either a time of day or minutes"),
        ({"every_minutes": "0"}, "greater than or equal to 1"),
        ({"every_minutes": "10", "job": "pipeline"}, "pipeline is not one of the available"),
        ({"at": "02:00", "job": "verify"}, "This schedule already exists."),
    ],
    ids=["no time", "two times", "no minutes", "pipeline", "duplicate"],
)
def test_an_invalid_schedule_is_refused(boss, nightly, form, message):
    page = boss.post(ADD_URL, {"job": "eod"} | form).content.decode()

    assert message in page
    assert Schedule.objects.get() == nightly


def test_a_schedule_has_no_channel_and_group_at_once(boss, houston):
    scope = {"channel": houston.channel_id, "group": houston.group_id}

    page = boss.post(ADD_URL, {"job": "eod", "at": "22:00"} | scope).content.decode()

    assert "Choose a channel or a group, not both." in page
    assert not Schedule.objects.exists()


def test_a_schedule_that_checks_promises_has_no_channel(boss, houston):
    form = {"job": "verify", "at": "22:00", "channel": houston.channel_id}

    page = boss.post(ADD_URL, form).content.decode()

    assert "Promises are checked in all channels" in page
    assert not Schedule.objects.exists()
