"""The pages of schedules, and the form that adds and changes them.

A schedule starts a job by itself: at a time of day, every so many minutes, continuously or by a
cron expression. The job `verify` checks the promises, which are what must always be true.

From conftest.py: `hq` is the empty database of headquarters; `houston` is a store; `reader` is a
client of a user who may see every page; `boss` is a client of an administrator.
"""

from datetime import date, timedelta
from typing import Any

import pytest
from django.utils.html import strip_tags

from stores.hqdb.sql import database_clock
from stores.jobs.catalog import JOBS
from stores.jobs.start import create_run
from stores.messages.message import Message
from stores.models import Channel, ChannelDatabaseGroup, Schedule
from stores.models.run import RunStatus, StartedBy
from stores.web.forms.schedule import version_of
from tests.support.make import make_schedule, pass_time

ADD_URL = "/schedules/add/"
# What a browser posts if a person chooses only the job and the time.
EOD = {
    "job": "eod",
    "rhythm": "at",
    "at": "22:30",
    "every_minutes": "",
    "cron": "",
    "time_zone": "UTC",
    "first_day": "",
    "last_day": "",
    "catches_up": "true",
    "retries": "5",
    "is_enabled": "on",
}


@pytest.fixture
def nightly(hq) -> Schedule:
    """A check at two every night."""
    return make_schedule("verify", cron="0 2 * * *")


def html_of(client, url="/schedules/") -> str:
    return client.get(url).content.decode()


def text_of(client, url="/schedules/") -> str:
    """The text of a page, without tags and line breaks, and with single spaces."""
    return " ".join(strip_tags(html_of(client, url)).split())


def posted_as(schedule: Schedule, **changes: Any) -> dict[str, Any]:
    """What a browser posts of the schedule's form, with changes."""
    version = version_of(Schedule.objects.get(pk=schedule.pk))
    form = {"rhythm": "at", "at": "02:00", "job": schedule.job, "version": version}
    return EOD | form | changes


def test_a_schedule_shows_when_it_starts_next(reader, nightly):
    page = text_of(reader)

    assert "Every day at 02:00 UTC" in page
    assert f"{nightly.next_start_at:%a %Y-%m-%d} 02:00 UTC" in page


def test_a_schedule_s_page_shows_its_next_five_starts_by_both_clocks(reader, hq):
    schedule = make_schedule("eod", cron="30 22 * * *", time_zone="Asia/Tokyo")

    page = text_of(reader, schedule.get_absolute_url())

    for days in range(5):
        start = schedule.next_start_at + timedelta(days=days)
        assert f"22:30 JST {start:%Y-%m-%d} 13:30 UTC" in page


def test_a_schedule_shows_its_last_result(reader, nightly):
    last_run = create_run(JOBS["verify"], started_by=StartedBy.SCHEDULE).run
    last_run.status = RunStatus.FAILED
    last_run.message = Message("promises_broken", count=1, checked=35, promises=["I3"])
    last_run.ended_at = database_clock()
    last_run.save()
    Schedule.objects.update(last_run=last_run, retries_made=2)

    assert "1 of 35 promises is broken: I3." in text_of(reader)
    assert "Tried again 2 of 5 times." in text_of(reader, nightly.get_absolute_url())


def test_a_late_schedule_says_so(reader, nightly):
    Schedule.objects.update(next_start_at=database_clock() - timedelta(minutes=6))

    assert "Late" in text_of(reader)
    assert "Is a scheduler running?" in text_of(reader, nightly.get_absolute_url())


def test_the_pipeline_has_a_schedule_like_any_other(boss, houston, settings):
    settings.PIPELINE_PAUSE_S = 7
    Schedule.objects.restore_defaults(database_clock())
    pipeline = Schedule.objects.get(job="pipeline")

    assert "Pipeline pipeline 7 seconds after it ends" in text_of(boss)
    boss.post(f"/schedules/{pipeline.pk}/pause/", {"reason": "Stocktaking."})

    page = text_of(boss, pipeline.get_absolute_url())
    assert "by boss" in page
    assert "Stocktaking." in page
    assert "is paused since" in text_of(boss, "/")
    boss.post(f"/schedules/{pipeline.pk}/pause/", {"action": "resume"})
    assert Schedule.objects.active().filter(pk=pipeline.pk).exists()


def test_a_schedule_is_paused_only_for_a_reason(boss, nightly):
    response = boss.post(f"/schedules/{nightly.pk}/pause/", {"reason": " "}, follow=True)

    assert "Enter a reason." in response.content.decode()
    assert Schedule.objects.get().state == "on"


def test_a_person_schedules_the_end_of_day_of_a_store_by_its_clock(boss, houston):
    Channel.objects.update(time_zone="America/Chicago")
    offered = boss.get(ADD_URL).context["form"]["time_zone"].value()
    form = EOD | {"channels": [houston.channel_id], "days": ["mon", "tue"], "time_zone": offered}

    response = boss.post(ADD_URL, form)

    assert response.status_code == 302
    schedule = Schedule.objects.get()
    assert (schedule.cron, schedule.time_zone) == ("30 22 * * mon,tue", "America/Chicago")
    assert (schedule.codes, schedule.changed_by.username) == (["houston"], "boss")
    page = text_of(boss, response["Location"])
    assert "Monday and Tuesday at 22:30 America/Chicago" in page
    assert '<a href="/channels/houston/">Houston</a>' in html_of(boss)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"rhythm": "every", "every_minutes": "15"}, ("", 15, False)),
        ({"rhythm": "continuous", "job": "sync-orders"}, ("", None, True)),
        ({"rhythm": "cron", "cron": " */20 8-18 * *  MON-FRI"}, None),
        # What does not belong to the choice is not looked at.
        ({"rhythm": "every", "every_minutes": "15", "cron": "x", "at": "25:00"}, ("", 15, False)),
    ],
)
def test_each_way_to_say_when_is_saved(boss, hq, form, expected):
    assert boss.post(ADD_URL, EOD | form).status_code == 302

    schedule = Schedule.objects.get()
    saved = (schedule.cron, schedule.every_minutes, schedule.is_continuous)
    assert saved == (expected or ("*/20 8-18 * * mon-fri", None, False))
    shown = boss.get(f"/schedules/{schedule.pk}/change/").context["form"]
    assert shown["rhythm"].value() == form["rhythm"]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        pytest.param({"at": ""}, "Time of day: required.", id="no time"),
        pytest.param({"rhythm": "every"}, "Minutes: required.", id="no minutes"),
        pytest.param(
            {"rhythm": "every", "every_minutes": "0"}, "greater than or equal to 1", id="0 minutes"
        ),
        pytest.param({"rhythm": "cron", "cron": "tonight"}, "has five fields", id="no cron"),
        pytest.param({"rhythm": "cron", "cron": "0 0 31 2 *"}, "never comes", id="no day"),
        pytest.param({"rhythm": "continuous"}, "cannot start again moments after", id="continuous"),
        pytest.param({"rhythm": "often"}, "often is not one of the available", id="no way"),
        pytest.param({"job": "raffle"}, "raffle is not one of the available", id="no job"),
        pytest.param({"time_zone": "Texas"}, "Not a time zone of the IANA list", id="no zone"),
        pytest.param({"retries": "21"}, "less than or equal to 20", id="retries"),
        pytest.param({"channels": ["x"]}, "is not a valid value", id="no channel"),
        pytest.param(
            {"first_day": "2026-03-02", "last_day": "2026-03-01"},
            "Its last day is before its first.",
            id="days",
        ),
        pytest.param(
            {"at": "02:00", "job": "verify"}, "This schedule already exists.", id="duplicate"
        ),
    ],
)
def test_an_invalid_schedule_is_refused(boss, nightly, form, message):
    response = boss.post(ADD_URL, EOD | form)

    assert response.status_code == 200
    assert message in response.content.decode().replace("&#x27;", "'")
    assert Schedule.objects.get() == nightly


def test_a_check_of_the_promises_has_no_channel(boss, houston):
    page = boss.post(ADD_URL, EOD | {"job": "verify", "channels": [houston.channel_id]})

    assert "Promises are checked in all channels: choose none." in page.content.decode()
    assert not Schedule.objects.exists()


def test_the_same_job_may_have_a_schedule_for_each_channel(boss, houston, seattle):
    coast = ChannelDatabaseGroup.objects.create(name="Coast")
    places = ({"channels": [houston.channel_id]}, {"channels": [seattle.channel_id]}, {})
    for place in (*places, {"groups": [coast.pk]}):
        assert boss.post(ADD_URL, EOD | place).status_code == 302

    assert [schedule.about for schedule in Schedule.objects.all()] == [
        *("houston", "seattle", "all", "group Coast"),
    ]


@pytest.mark.parametrize(
    "url", ["/schedules/{}/change/", "/admin/stores/schedule/{}/change/"], ids=["page", "settings"]
)
def test_an_administrator_changes_and_disables_a_schedule(boss, nightly, url):
    # A browser leaves out a box that is not checked, here that of is_enabled.
    form = posted_as(nightly, at="04:15", last_day="2027-01-01")
    del form["is_enabled"]

    response = boss.post(url.format(nightly.pk), form)

    assert response.status_code == 302
    nightly.refresh_from_db()
    assert (nightly.cron, nightly.last_day) == ("15 4 * * *", date(2027, 1, 1))
    assert (nightly.next_start_at, nightly.changed_by.username) == (None, "boss")
    assert "Switched off" in text_of(boss)


def test_a_change_of_other_settings_keeps_a_start_that_is_due(boss, nightly):
    pass_time(24 * 60)
    due = Schedule.objects.get().next_start_at

    boss.post(f"/schedules/{nightly.pk}/change/", posted_as(nightly, retries="1"))

    changed = Schedule.objects.get()
    assert (changed.retries, changed.next_start_at) == (1, due)


def test_of_two_who_change_a_schedule_at_once_the_later_sees_the_change_of_the_other(boss, nightly):
    url = f"/schedules/{nightly.pk}/change/"
    form = posted_as(nightly)
    boss.post(url, form | {"at": "03:00"})

    response = boss.post(url, form | {"at": "04:00"}, follow=True)

    page = response.content.decode()
    assert "Changed meanwhile: nothing was saved." in page
    assert 'value="03:00"' in page
    assert Schedule.objects.get().cron == "0 3 * * *"


def test_a_schedule_is_removed_after_a_question(boss, nightly):
    url = f"/schedules/{nightly.pk}/remove/"

    assert "is then started by hand only" in text_of(boss, url)
    assert Schedule.objects.exists()
    boss.post(url)

    assert not Schedule.objects.exists()


def test_only_those_who_may_change_schedules_see_buttons(boss, reader, nightly):
    links = ("/schedules/add/", f"/schedules/{nightly.pk}/change/", "Pause</button>")
    pages = {
        client: html_of(client) + html_of(client, nightly.get_absolute_url())
        for client in (boss, reader)
    }

    assert all(link in pages[boss] for link in links)
    assert not any(link in pages[reader] for link in links)
