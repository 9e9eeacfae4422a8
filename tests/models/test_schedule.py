"""When a schedule starts next: computed from a fixed time, and noted only if nothing has changed.

From conftest.py: `hq` is the empty database of headquarters.
"""

from datetime import UTC, date, datetime, timedelta

import pytest

from stores.models import JobRun, Schedule
from stores.models.schedule import DEFAULTS
from tests.support.make import make_schedule

NOON = datetime(2026, 3, 6, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def planned(now: datetime = NOON, **values: object) -> Schedule:
    """A schedule as it is planned at a time; not saved."""
    schedule = Schedule(job="eod", **values)
    schedule.plan(now)
    return schedule


def test_the_next_five_starts_of_an_evening_follow_the_clock_of_its_zone():
    evening = planned(cron="30 22 * * *", time_zone="America/Chicago")

    assert [f"{start:%d %H:%M %Z}" for start in evening.next_starts] == [
        *("06 22:30 CST", "07 22:30 CST", "08 22:30 CDT", "09 22:30 CDT", "10 22:30 CDT"),
    ]
    assert evening.next_start_at == datetime(2026, 3, 7, 4, 30, tzinfo=UTC)


def test_a_new_schedule_by_minutes_starts_at_once_and_then_keeps_its_rhythm():
    schedule = planned(every_minutes=10)

    assert schedule.next_start_at == NOON
    # The scheduler is a little late, which adds up to nothing.
    assert schedule.start_after(NOON, NOON + MINUTE) == NOON + 10 * MINUTE
    # What was missed is not made up for many times.
    assert schedule.start_after(NOON, NOON + 35 * MINUTE) == NOON + 40 * MINUTE


def test_minutes_are_real_ones_across_both_changes_of_the_clocks():
    for before in (datetime(2026, 3, 8, 7, 30, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)):
        schedule = planned(before, every_minutes=30, time_zone="America/Chicago")

        starts = [start.astimezone(UTC) for start in schedule.next_starts]

        assert starts == [before + 30 * number * MINUTE for number in range(5)]


def test_a_schedule_starts_from_its_first_day_until_its_last():
    week = {"first_day": date(2026, 3, 8), "last_day": date(2026, 3, 9)}

    by_time = planned(cron="0 0 * * *", time_zone="Europe/Amsterdam", **week)
    by_minutes = planned(every_minutes=600, time_zone="Europe/Amsterdam", **week)

    assert [f"{start:%d %H:%M}" for start in by_time.next_starts] == ["08 00:00", "09 00:00"]
    assert [f"{start:%d %H:%M}" for start in by_minutes.next_starts] == [
        *("08 00:00", "08 10:00", "08 20:00", "09 06:00", "09 16:00"),
    ]
    assert by_minutes.start_after(by_minutes.next_starts[-1], by_minutes.next_starts[-1]) is None


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({"is_enabled": False}, "off"),
        ({"paused_at": NOON, "pause_reason": "Stocktaking."}, "paused"),
        ({"last_day": date(2026, 3, 5)}, "over"),
        ({}, "on"),
    ],
)
def test_a_schedule_that_is_off_paused_or_over_has_no_next_start(values, state):
    schedule = planned(every_minutes=10, **values)

    assert schedule.state == state
    assert (schedule.next_start_at is None) == (state != "on")
    assert bool(schedule.next_starts) == (state == "on")


def test_of_two_schedulers_one_claims_a_start(hq):
    schedule = make_schedule("eod", every_minutes=10, now=NOON)
    first, second = (Schedule.objects.get(pk=schedule.pk) for _ in range(2))

    assert first.claim_start(NOON + MINUTE)
    assert not second.claim_start(NOON + MINUTE)

    claimed = Schedule.objects.get()
    assert claimed.started_at == NOON + MINUTE
    assert claimed.next_start_at == NOON + 10 * MINUTE


@pytest.mark.parametrize("change", ["paused", "removed", "moved"])
def test_a_start_is_not_claimed_from_a_schedule_that_has_changed_since(hq, change):
    read = make_schedule("eod", every_minutes=10, now=NOON)
    if change == "paused":
        Schedule.objects.get().pause(NOON, "Stocktaking.")
    elif change == "removed":
        Schedule.objects.get().delete()
    else:
        moved = Schedule.objects.get()
        moved.every_minutes = 20
        moved.save_settings(NOON + MINUTE)

    assert not read.claim_start(NOON + 2 * MINUTE)


@pytest.mark.parametrize(("catches_up", "is_started"), [(True, True), (False, False)])
def test_a_missed_start_is_made_late_or_skipped(hq, catches_up, is_started):
    schedule = make_schedule("eod", cron="30 22 * * *", catches_up=catches_up, now=NOON)
    due = schedule.next_start_at
    morning = due + timedelta(hours=9)

    assert schedule.claim_start(morning) is is_started

    noted = Schedule.objects.get()
    assert noted.next_start_at == due + timedelta(days=1)
    assert noted.skipped_at == (None if is_started else due)
    assert noted.started_at == (morning if is_started else None)


def test_a_start_is_not_skipped_for_the_restart_of_a_scheduler(hq):
    schedule = make_schedule("eod", cron="30 22 * * *", catches_up=False, now=NOON)

    assert schedule.claim_start(schedule.next_start_at + 2 * MINUTE)


def test_starts_of_a_pause_are_not_made_up_for(hq):
    make_schedule("eod", cron="30 22 * * *", now=NOON)
    schedule = Schedule.objects.get()
    schedule.pause(NOON, "Stocktaking.")

    assert schedule.resume(NOON + timedelta(days=2))
    assert not schedule.resume(NOON + timedelta(days=2))

    resumed = Schedule.objects.get()
    assert resumed.next_start_at == datetime(2026, 3, 8, 22, 30, tzinfo=UTC)
    assert (resumed.paused_at, resumed.pause_reason) == (None, "")


def test_other_settings_leave_an_overdue_start_as_it_is(hq):
    make_schedule("eod", cron="30 22 * * *", now=NOON)
    schedule = Schedule.objects.get()
    due = schedule.next_start_at
    schedule.retries = 1
    # Meanwhile, a scheduler has made the start.
    Schedule.objects.get().claim_start(due)

    schedule.save_settings(due + MINUTE, is_new_time=False)

    saved = Schedule.objects.get()
    assert (saved.started_at, saved.retries) == (due, 1)
    assert saved.next_start_at == due + timedelta(days=1)


def test_defaults_are_restored_for_jobs_without_a_schedule(hq):
    make_schedule("verify", every_minutes=60)

    added = Schedule.objects.restore_defaults(NOON)

    assert [schedule.job for schedule in added] == ["pipeline", "1070", "1110", "reconcile"]
    assert Schedule.objects.restore_defaults(NOON) == []
    assert {row.job for row in Schedule.objects.active()} == {row["job"] for row in DEFAULTS}


def test_a_run_of_the_last_day_is_retried_too(hq):
    schedule = make_schedule("eod", every_minutes=60, last_day=NOON.date(), now=NOON)
    ended = NOON + timedelta(hours=12)
    run = JobRun.objects.create(job="eod", status="failed", ended_at=ended)
    Schedule.objects.update(next_start_at=None, last_run=run)

    later = Schedule.objects.to_retry(ended + timedelta(minutes=20))

    assert [row.pk for row in later] == [schedule.pk]
    assert later.get().claim_start(ended + timedelta(minutes=20))
    assert not Schedule.objects.to_retry(ended + timedelta(minutes=10)).exists()


@pytest.mark.parametrize(
    ("values", "once", "twice"),
    [
        # The start of 11:50 is not late before 11:55 and a run of a minute.
        ({"every_minutes": 10}, timedelta(minutes=16), timedelta(minutes=26)),
        ({"every_minutes": 1}, timedelta(minutes=3), timedelta(minutes=4)),
        ({"is_continuous": True, "job": "pipeline"}, timedelta(minutes=5), timedelta(minutes=10)),
        ({"cron": "30 22 * * *"}, timedelta(hours=13.5), timedelta(hours=37.5)),
        # Noon is a Friday.
        ({"cron": "0 9 * * mon,fri"}, timedelta(hours=3), timedelta(days=4, hours=3)),
        ({"cron": "55 11 * * *"}, timedelta(days=1, minutes=5), timedelta(days=2, minutes=5)),
    ],
)
def test_what_waits_has_missed_a_start_once_that_is_late(hq, values, once, twice):
    schedule = Schedule(**{"job": "eod"} | values)
    schedule.last_run = JobRun(started_at=NOON - 2 * MINUTE, ended_at=NOON - MINUTE)

    assert schedule.missed_before(NOON) == (NOON - once, NOON - twice)


def test_no_start_is_missed_before_the_first_day():
    for times in ({"every_minutes": 60}, {"cron": "0 * * * *"}):
        assert Schedule(first_day=date(2026, 3, 7), **times).missed_before(NOON) == (None, None)
    began = Schedule(first_day=date(2026, 3, 6), cron="0 9 * * *")
    assert began.missed_before(NOON) == (NOON - timedelta(hours=3), None)


def test_a_continuous_schedule_has_as_long_as_its_run_takes(hq):
    schedule = Schedule(job="pipeline", is_continuous=True)
    schedule.last_run = JobRun(started_at=NOON - 20 * MINUTE)

    once, twice = schedule.missed_before(NOON)

    assert 20 * MINUTE < NOON - once < 21 * MINUTE
    assert NOON - twice == 2 * (NOON - once)
