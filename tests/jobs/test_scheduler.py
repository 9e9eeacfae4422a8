"""What starts by itself: jobs by their schedules, and a comparison once an incident is closed.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`popup` is one on SQLite.
"""

from datetime import UTC, date, datetime, timedelta

import pytest

from stores.hqdb.sql import database_clock
from stores.jobs.plan import databases_to_visit
from stores.jobs.scheduler import (
    compare_after_incidents,
    start_scheduled,
)
from stores.messages.message import Message
from stores.models import (
    AsyncCustomer,
    Channel,
    ChannelDatabase,
    ChannelDatabaseGroup,
    Incident,
    JobRun,
    Schedule,
    Statement,
)
from stores.models.incident import IncidentKind
from stores.models.job import CONFIGURATION_JOBS, JobCode
from stores.models.run import StartedBy
from stores.models.schedule import MINUTES_A_DAY, RETRY_AFTER
from stores.models.statement import StatementState
from stores.models.step import remove_visits
from stores.pipeline.chunk_sizes import EVENTS_PER_CHUNK
from stores.pipeline.configuration.distributed import setting_states
from tests.support.invariants import Invariant
from tests.support.make import (
    carry_out,
    make_customer,
    make_many,
    make_sale,
    make_schedule,
    out_of_reach,
    pass_time,
    run,
)
from tests.support.promises import broken_promises


@pytest.fixture
def nightly(hq) -> None:
    """The schedules of every night that a new installation has."""
    Schedule.objects.restore_defaults(database_clock())
    Schedule.objects.filter(cron="").delete()


def started() -> list[str]:
    runs = JobRun.objects.filter(started_by=StartedBy.SCHEDULE)
    return sorted(runs.values_list("job", flat=True))


def test_a_new_installation_runs_its_pipeline_sends_settings_and_is_checked_every_night(hq):
    now = datetime(2026, 11, 27, 0, 24, tzinfo=UTC)
    Schedule.objects.restore_defaults(now)

    at_once, at_three = (
        [schedule.job for schedule in Schedule.objects.due(now + timedelta(hours=hours))]
        for hours in (0, 3)
    )

    assert at_once == ["1070", "1110", "pipeline"]
    assert at_three == ["1070", "1110", "pipeline", "reconcile", "verify"]


def test_each_night_everything_is_checked_and_compared_once(nightly, houston):
    pass_time(MINUTES_A_DAY)

    messages = start_scheduled()
    again = start_scheduled()

    assert started() == ["reconcile", "verify"]
    assert messages == [
        "reconcile: started, as every day at 02:30 UTC.",
        "verify: started, as every day at 02:00 UTC.",
    ]
    assert again == []


def test_a_missed_schedule_starts_late_unless_it_is_disabled_or_skips(nightly, houston):
    off = Schedule.objects.get(job="verify")
    off.is_enabled = False
    off.save_settings(database_clock())
    make_schedule("eod", cron="0 1 * * *", catches_up=False)
    pass_time(3 * MINUTES_A_DAY)

    start_scheduled()

    assert started() == ["reconcile"]
    assert Schedule.objects.get(job="eod").skipped_at is not None


def test_of_two_schedulers_one_starts_the_retry(nightly):
    now, ended = database_clock(), database_clock() - 2 * RETRY_AFTER
    run = JobRun.objects.create(job="verify", status="failed", ended_at=ended)
    Schedule.objects.update(last_run=run)
    schedule = Schedule.objects.get(job="verify")

    assert [schedule.claim_start(now), schedule.claim_start(now)] == [True, False]


@pytest.mark.parametrize("job", JobCode.values)
def test_every_job_can_be_scheduled(houston, job):
    make_schedule(job, every_minutes=1)

    start_scheduled()

    assert started() == [job]
    assert not JobRun.objects.get().has_ended


def test_every_channel_is_compared_also_one_in_trouble_or_slow(nightly, houston, popup):
    ChannelDatabase.objects.filter(pk=houston.pk).update(
        next_try_at=database_clock() + timedelta(hours=1)
    )
    ChannelDatabase.objects.filter(pk=popup.pk).update(last_duration_s=60)
    pass_time(MINUTES_A_DAY)

    start_scheduled()

    assert databases_to_visit(JobRun.objects.get(job="reconcile")) == [houston, popup]


def test_a_new_installation_sends_every_channel_its_settings(houston, popup):
    Schedule.objects.restore_defaults(database_clock())
    start_scheduled()
    for job in CONFIGURATION_JOBS:
        carry_out(JobRun.objects.get(job=job))

    states = setting_states([houston, popup])

    assert {state.job for state in states[houston.pk]} == set(CONFIGURATION_JOBS)
    assert [state for each in states.values() for state in each if state.is_pending] == []


def test_settings_are_sent_often_to_slow_channels_but_not_to_those_in_trouble(houston, popup):
    ChannelDatabase.objects.filter(pk=houston.pk).update(last_duration_s=60)
    ChannelDatabase.objects.filter(pk=popup.pk).update(
        next_try_at=database_clock() + timedelta(minutes=1)
    )
    make_schedule("1070", every_minutes=10)

    start_scheduled()

    assert databases_to_visit(JobRun.objects.get()) == [houston]


def test_orders_are_synchronized_every_few_minutes(houston):
    make_schedule("sync-orders", every_minutes=10)

    messages = [start_scheduled() for _ in range(2)]

    first = Schedule.objects.get().last_run
    assert messages == [["sync-orders: started, as every 10 minutes."], []]
    carry_out(first)
    pass_time(10)
    start_scheduled()
    assert Schedule.objects.get().last_run != first
    assert started() == ["sync-orders"] * 2


def test_a_schedule_starts_no_run_beside_its_live_one(houston):
    make_schedule("sync-orders", every_minutes=1)
    start_scheduled()
    pass_time(1)

    start_scheduled()

    assert JobRun.objects.count() == 1


def test_a_schedule_is_for_its_channels_and_those_of_its_groups(houston, seattle, popup):
    coast = ChannelDatabaseGroup.objects.create(name="Coast")
    ChannelDatabase.objects.filter(pk=seattle.pk).update(group=coast)
    make_schedule("P-0001", houston, groups=[coast], every_minutes=5)

    start_scheduled()

    started_run = JobRun.objects.get()
    assert started_run.channels == ["houston", "seattle"]
    assert databases_to_visit(started_run) == [houston, seattle]


@pytest.mark.slow
def test_a_store_s_own_schedule_posts_its_day(houston, seattle):
    for shop in (houston, seattle):
        make_sale(shop, business_date=date(2026, 3, 1))
    make_schedule("eod", houston, every_minutes=60)

    start_scheduled()
    carry_out(JobRun.objects.get())

    posted = Statement.objects.get()
    assert (posted.channel, posted.state) == (houston.channel, StatementState.POSTED)


def test_a_group_s_schedule_leaves_out_disabled_channels(houston, seattle, popup):
    coast = ChannelDatabaseGroup.objects.create(name="Coast")
    ChannelDatabase.objects.exclude(pk=houston.pk).update(group=coast)
    Channel.objects.filter(code="popup").update(is_enabled=False)
    make_schedule("eod", groups=[coast], every_minutes=60)

    start_scheduled()

    assert JobRun.objects.get().channels == ["seattle"]


def test_a_schedule_without_a_channel_that_is_on_starts_nothing(houston, popup):
    Channel.objects.filter(code="popup").update(is_enabled=False)
    make_schedule("eod", popup, every_minutes=60)

    assert start_scheduled() == ["eod: no channel of its schedule is switched on."]
    assert not JobRun.objects.exists()


def test_the_latest_run_of_a_schedule_is_kept_though_empty(houston, settings):
    settings.IDLE_RUNS_KEPT_S = 0
    make_schedule("sync-orders", every_minutes=1)
    for _ in range(2):
        start_scheduled()
        carry_out(Schedule.objects.get().last_run)
        pass_time(1)

    JobRun.objects.delete_idle()

    assert JobRun.objects.get() == Schedule.objects.get().last_run


def test_old_runs_lose_the_visits_that_went_well(houston, popup, settings):
    make_customer(houston)
    with out_of_reach(popup):
        ended = JobRun.objects.get(pk=run("pipeline")["run"])
    remove_visits()
    assert ended.steps.count() == 5
    settings.DETAILS_KEPT_DAYS = 0

    remove_visits()

    assert sorted(ended.steps.values_list("step", "status")) == [
        ("convert", "succeeded"),
        ("download", "failed"),
        ("upload", "failed"),
    ]
    ended.refresh_from_db()
    assert (ended.counts["distributed"], bool(ended.steps_removed_at)) == (1, True)
    assert Invariant.EVERY_RUN_ENDS not in broken_promises()


def test_a_scheduled_end_of_day_fetches_everything_at_once(houston, settings):
    settings.VISIT_SHARE_S = 0
    make_many(houston, EVENTS_PER_CHUNK + 1)
    make_schedule("eod", every_minutes=60)

    start_scheduled()
    carry_out(JobRun.objects.get())

    assert AsyncCustomer.objects.count() == EVENTS_PER_CHUNK + 1


def test_a_channel_is_compared_once_its_incident_was_closed(houston, popup):
    incident = Incident.objects.report(
        IncidentKind.CHANNEL_RESTORED,
        Message("quoted", text="Channel houston: restored."),
        database=houston,
    )
    assert compare_after_incidents() == []
    incident.close("Restored from the backup of Monday.")

    messages = [compare_after_incidents() for _ in range(2)]

    compared = JobRun.objects.get()
    assert messages == [["reconcile: started after an incident, for houston."], []]
    assert (compared.job, compared.channels) == ("reconcile", ["houston"])
    assert databases_to_visit(compared) == [houston]
    carry_out(compared)
    assert compare_after_incidents() == []


def test_every_channel_is_compared_once_headquarters_was_recovered(houston, popup):
    incident = Incident.objects.report(
        IncidentKind.HQ_BEHIND, Message("quoted", text="It was set back in time.")
    )
    incident.close("Recovered from its channels and the number journal.")

    compare_after_incidents()

    assert JobRun.objects.get().channels == ["houston", "popup"]
