"""The page of schedules, and the admin in which they are changed.

A schedule starts a job by itself, every day at a time or again and again. The job `verify` checks
the promises, which are what must always be true of the data.

From conftest.py: `hq` is the empty database of headquarters; `houston` is a store; `reader` is a
client of a user who may see every page; `boss` is a client of an administrator.
"""

from datetime import time, timedelta

import pytest
from django.utils.html import strip_tags

from stores.jobs.catalog import JOBS
from stores.jobs.scheduler import database_clock
from stores.jobs.start import create_run
from stores.messages.message import Message
from stores.models import Schedule
from stores.models.run import RunStatus, StartedBy

ADD_URL = "/admin/stores/schedule/add/"


@pytest.fixture
def nightly(hq) -> Schedule:
    """A check at two every night, which has started today."""
    return Schedule.objects.create(job="verify", at=time(2, 0), started_on=database_clock().date())


def html_of(client, url="/schedules/") -> str:
    return client.get(url).content.decode()


def text_of(client) -> str:
    """The text of the page of schedules, without tags and line breaks, and with single spaces."""
    return " ".join(strip_tags(html_of(client)).split())


def next_start(schedule: Schedule) -> str:
    """What the page says of a schedule that has started today: its next start is tomorrow."""
    schedule.refresh_from_db()
    return f"{schedule.started_on + timedelta(days=1)} {schedule.at:%H:%M} UTC"


def test_a_schedule_shows_when_it_starts_next(reader, nightly):
    page = text_of(reader)

    assert "Every day at 02:00 UTC" in page
    assert next_start(nightly) in page


def test_a_schedule_shows_its_last_result(reader, nightly):
    last_run = create_run(JOBS["verify"], started_by=StartedBy.SCHEDULE).run
    last_run.status = RunStatus.FAILED
    last_run.message = Message("promises_broken", count=1, checked=35, promises=["I3"])
    last_run.ended_at = database_clock()
    last_run.save()
    nightly.last_run = last_run
    nightly.save()

    page = text_of(reader)

    assert "1 of 35 promises is broken: I3." in page


def test_the_pipeline_starts_without_a_schedule(reader, hq, settings):
    settings.PIPELINE_PAUSE_S = 7
    assert not Schedule.objects.exists()

    page = text_of(reader)

    assert "Pipeline pipeline" in page
    assert "7 seconds after it ends" in page


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
    assert "/admin/stores/schedule/" in html_of(boss)
    assert "/admin/stores/schedule/" not in html_of(reader)


def test_a_schedule_is_added_for_one_channel(boss, houston):
    form = {"job": "eod", "channel": houston.channel_id, "at": "00:00", "is_enabled": "on"}

    response = boss.post(ADD_URL, form)

    assert response.status_code == 302
    assert '<td class="field-channels">houston</td>' in html_of(boss, response["Location"])
    assert '<a href="/channels/houston/">Houston</a>' in html_of(boss)
    # Midnight of today is over, which counts as started.
    assert next_start(Schedule.objects.get()) in text_of(boss)


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
