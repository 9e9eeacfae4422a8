"""The page of schedules, and the admin in which they are changed.

A schedule starts a job by itself, every day at a time or again and again.

From conftest.py: `hq` is the empty database of headquarters; `houston` is a store; `reader` is a
client of a user who may see every page; `boss` is a client of an administrator.
"""

from datetime import date, time, timedelta

import pytest

from stores.jobs.catalog import JOBS
from stores.jobs.scheduler import database_clock
from stores.jobs.start import create_run
from stores.messages.message import Message
from stores.models import JobRun, Schedule
from stores.models.run import StartedBy

ADD_URL = "/admin/stores/schedule/add/"


@pytest.fixture
def nightly(hq) -> Schedule:
    """A check at two every night, which has started today."""
    return Schedule.objects.create(job="verify", at=time(2, 0), started_on=database_clock().date())


def text_of(client, url="/schedules/") -> str:
    """The HTML of a page, with single spaces and without line breaks."""
    return " ".join(client.get(url).content.decode().split())


def next_start(day: date, time_of_day: str) -> str:
    """The HTML in which the page says when a job starts next."""
    return f'<span class="text-nowrap">{day}</span> <span class="text-nowrap">{time_of_day} UTC<'


def tomorrow() -> date:
    return database_clock().date() + timedelta(days=1)


def test_a_schedule_shows_when_it_starts_next(reader, nightly):
    page = text_of(reader)

    assert "Every day at 02:00 UTC" in page
    assert next_start(tomorrow(), "02:00") in page


def test_a_schedule_shows_its_last_result(reader, nightly):
    last_run = create_run(JOBS["verify"], started_by=StartedBy.SCHEDULE).run
    message = Message("promises_broken", count=1, checked=35, promises=["I3"])
    JobRun.objects.update(status="failed", message=message, ended_at=database_clock())
    Schedule.objects.update(last_run=last_run)

    page = text_of(reader)

    assert "1 of 35 promises is broken: I3." in page


def test_the_pipeline_starts_without_a_schedule(reader, hq):
    assert not Schedule.objects.exists()

    page = text_of(reader)

    assert "Pipeline <code>pipeline</code>" in page
    assert "seconds after it ends" in page


def test_an_administrator_changes_and_disables_a_schedule(boss, nightly):
    # A browser leaves out a box that is not checked, here that of is_enabled.
    form = {"job": "verify", "at": "04:15"}

    response = boss.post(f"/admin/stores/schedule/{nightly.pk}/change/", form)

    assert response.status_code == 302
    nightly.refresh_from_db()
    assert nightly.at == time(4, 15)
    assert not nightly.is_enabled
    assert "Switched off" in text_of(boss)


def test_only_an_administrator_sees_the_link_to_the_admin(boss, reader, nightly):
    assert "/admin/stores/schedule/" in text_of(boss)
    assert "/admin/stores/schedule/" not in text_of(reader)


def test_a_schedule_is_added_for_one_channel(boss, houston):
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
        pytest.param({}, "Give either a time of day or minutes from start to start.", id="no time"),
        pytest.param(
            {"at": "22:00", "every_minutes": "10"},
            "Give either a time of day or minutes from start to start.",
            id="two times",
        ),
        pytest.param({"every_minutes": "0"}, "greater than or equal to 1", id="no minutes"),
        pytest.param(
            {"every_minutes": "10", "job": "pipeline"},
            "pipeline is not one of the available",
            id="pipeline",
        ),
        pytest.param(
            {"at": "02:00", "job": "verify"}, "This schedule already exists.", id="duplicate"
        ),
    ],
)
def test_an_invalid_schedule_is_refused(boss, nightly, form, message):
    page = boss.post(ADD_URL, {"job": "eod"} | form).content.decode()

    assert str(message) in page
    assert Schedule.objects.get() == nightly


def test_a_schedule_cannot_have_both_channel_and_group(boss, houston):
    form = {
        "job": "eod",
        "at": "22:00",
        "channel": houston.channel_id,
        "group": houston.group_id,
    }

    page = boss.post(ADD_URL, form).content.decode()

    assert "Choose a channel or a group, not both." in page
    assert not Schedule.objects.exists()


def test_a_check_of_the_promises_has_no_channel(boss, houston):
    form = {"job": "verify", "at": "22:00", "channel": houston.channel_id}

    page = boss.post(ADD_URL, form).content.decode()

    assert "Promises are checked in all channels" in page
    assert not Schedule.objects.exists()
