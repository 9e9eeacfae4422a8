"""The page of schedules, and the set-up in which their times are changed."""

from datetime import date, time, timedelta

import pytest

from stores.jobs.catalog import JOBS
from stores.jobs.scheduler import database_clock
from stores.jobs.start import create_run
from stores.models import JobRun, Schedule
from stores.models.run import StartedBy


@pytest.fixture
def nightly(hq) -> Schedule:
    """A check every night, which has been there today."""
    return Schedule.objects.create(job="verify", at=time(2, 0), started_on=database_clock().date())


def starts(day: date, time_of_day: str) -> str:
    """How the page says when something starts next."""
    return f'<span class="text-nowrap">{day}</span> <span class="text-nowrap">{time_of_day} UTC<'


def test_each_schedule_shows_when_it_starts_next_and_how_it_went(reader, nightly):
    tomorrow = database_clock().date() + timedelta(days=1)
    last = create_run(JOBS["verify"], started_by=StartedBy.SCHEDULE).run
    Schedule.objects.update(last_run=last)
    ended = {
        "status": "failed",
        "message": "1 of 35 promises is broken: I3.",
        "ended_at": database_clock(),
    }
    JobRun.objects.update(**ended)

    page = " ".join(reader.get("/schedules/").content.decode().split())

    assert "Every day at 02:00 UTC" in page
    assert starts(tomorrow, "02:00") in page
    assert "1 of 35 promises is broken: I3." in page
    assert "seconds after it ends" in page


def test_who_may_change_schedules_sets_the_time_and_switches_it_off(boss, nightly):
    assert b"/admin/stores/schedule/" in boss.get("/schedules/").content

    form = {"job": "verify", "at": "04:15"}
    answer = boss.post(f"/admin/stores/schedule/{nightly.pk}/change/", form)

    assert answer.status_code == 302
    nightly.refresh_from_db()
    assert (nightly.at, nightly.is_enabled) == (time(4, 15), False)
    assert "Switched off" in boss.get("/schedules/").content.decode()


def test_a_reader_sees_no_way_to_change_them(reader, nightly):
    assert b"/admin/stores/schedule/" not in reader.get("/schedules/").content


def test_a_schedule_for_one_store_is_added_and_shown(boss, houston):
    form = {"job": "eod", "channel": houston.channel_id, "at": "00:00", "is_enabled": "on"}

    answer = boss.post("/admin/stores/schedule/add/", form)

    assert answer.status_code == 302
    assert b'<td class="field-channels">houston</td>' in boss.get(answer["Location"]).content
    page = " ".join(boss.get("/schedules/").content.decode().split())
    assert '<a href="/channels/houston/">Houston</a>' in page
    # Its time of today is over: it starts with the next.
    assert starts(database_clock().date() + timedelta(days=1), "00:00") in page


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({}, "Give either a time of day or minutes from start to start."),
        ({"at": "22:00", "every_minutes": "10"}, "Give either a time of day or minutes"),
        ({"every_minutes": "0"}, "greater than or equal to 1"),
        ({"every_minutes": "10", "job": "pipeline"}, "pipeline is not one of the available"),
        ({"at": "22:00", "channel": "1", "group": "1"}, "Choose a channel or a group, not both."),
        ({"at": "22:00", "channel": "1", "job": "verify"}, "Promises are checked in all channels"),
        ({"at": "02:00", "job": "verify"}, "This schedule already exists."),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_with_a_sentence(
    boss, nightly, houston, wrong, told
):
    of_houston = {"channel": houston.channel_id, "group": houston.group_id}
    form = {"job": "eod"} | wrong
    form |= {name: value for name, value in of_houston.items() if name in wrong}

    page = boss.post("/admin/stores/schedule/add/", form).content.decode()

    assert told in page
    assert Schedule.objects.get() == nightly
