"""How well a channel database is served follows from its schedules and from what waits there.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `hq` is the empty
database of headquarters.
"""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from stores.channel_status import Timeliness, Waiting, channel_statuses
from stores.messages.message import Message
from stores.models import (
    Channel,
    ChannelDatabase,
    ChannelDatabaseGroup,
    Customer,
    Incident,
    Schedule,
    SchedulerJob,
)
from stores.models.channel import Direction
from stores.models.error_cause import ErrorCause
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.pipeline.archive import archive_channel, restore_channel
from stores.pipeline.pauses import pause, resume
from tests.support.damage import damage
from tests.support.make import make_customer, make_schedule, out_of_reach, run

ON_TIME, DELAYED, LATE, NEEDS_YOU = Timeliness


def status_of(database: ChannelDatabase):
    row = ChannelDatabase.objects.with_channel().get(pk=database.pk)
    return channel_statuses([row])[row.pk]


def minutes_ago(minutes: float):
    return timezone.now() - timedelta(minutes=minutes)


def visited(database: ChannelDatabase, minutes: float, **values) -> None:
    """Let the last visit be so long ago."""
    values["last_visited_at"] = minutes_ago(minutes)
    ChannelDatabase.objects.filter(pk=database.pk).update(**values)


@pytest.fixture
def served(houston) -> ChannelDatabase:
    """Houston, which a pipeline visits every half hour, and has just visited."""
    make_schedule("pipeline", every_minutes=30)
    run("pipeline")
    return houston


@pytest.mark.parametrize(
    ("minutes", "timeliness"),
    [(1, ON_TIME), (34, ON_TIME), (36, DELAYED), (64, DELAYED), (66, LATE)],
)
def test_a_channel_is_delayed_after_one_missed_visit_and_late_after_two(
    served, minutes, timeliness
):
    visited(served, minutes)

    status = status_of(served)

    assert (status.timeliness, status.lag_minutes) == (timeliness, minutes)
    assert bool(status.overdue) == (timeliness != ON_TIME)


def test_of_several_schedules_the_one_that_promises_most_counts(served):
    make_schedule("P-0001", served, every_minutes=5)
    visited(served, 21)

    assert status_of(served).timeliness == LATE


def test_a_schedule_of_a_group_serves_the_channels_in_it(houston, popup):
    others = ChannelDatabaseGroup.objects.create(name="Others")
    ChannelDatabase.objects.filter(pk=popup.pk).update(group=others)
    make_schedule("pipeline", groups=[others], every_minutes=30)

    assert status_of(popup).timeliness == ON_TIME
    assert status_of(houston).needs == ("not_scheduled",)


def test_a_channel_that_was_never_visited_waits_since_it_was_added(served, popup):
    assert status_of(popup).timeliness == ON_TIME

    ChannelDatabase.objects.filter(pk=popup.pk).update(added_at=minutes_ago(70))

    status = status_of(popup)
    assert status.timeliness == LATE
    assert status.overdue[0].sentence == "Not visited for 1 h."


def test_customers_that_a_channel_lacks_make_it_late(served, popup):
    make_customer(served, "Ann")
    run("pipeline", channels=["houston"])
    visited(popup, 1, added_at=minutes_ago(600))
    Customer.objects.filter(first_name="Ann").update(modified_at=minutes_ago(66))

    status = status_of(popup)

    assert status.timeliness == LATE
    assert [item.sentence for item in status.overdue] == ["Customers have waited 1 h for delivery."]
    assert status_of(served).timeliness == ON_TIME


def test_events_that_are_not_converted_delay_their_channel(served):
    make_customer(served, "Ann")
    run(JobCode.UPLOAD)
    damage("UPDATE upload_batch SET staged_at = now() - interval '40 minutes'")

    status = status_of(served)
    run("pipeline")

    assert status.timeliness == DELAYED
    assert [item.sentence for item in status.overdue] == [
        "Events uploaded 40 min ago are not converted yet."
    ]
    assert status_of(served).timeliness == ON_TIME


def test_a_register_that_gets_no_customers_is_not_late_with_them(served):
    make_customer(served, "Ann")
    run("pipeline")
    register = add_register(served)
    visited(register, 1, added_at=minutes_ago(600))
    Customer.objects.filter(first_name="Ann").update(modified_at=minutes_ago(66))
    late = status_of(register)
    SchedulerJob.objects.create(job=JobCode.DOWNLOAD, exclude_from_offline=True)

    assert late.timeliness == LATE
    assert status_of(register).timeliness == ON_TIME


def add_register(database: ChannelDatabase) -> ChannelDatabase:
    return ChannelDatabase.objects.create(
        channel=database.channel, group=database.group, name="till-1", url="embedded:till_1"
    )


def lacks_old_customers(database: ChannelDatabase) -> None:
    """Let it be added long ago, and lack a customer that changed when nobody served it."""
    visited(database, 600, added_at=minutes_ago(600))
    Customer.objects.filter(first_name="Ann").update(modified_at=minutes_ago(500))


def switch_off_and_on(database: ChannelDatabase) -> None:
    ChannelDatabase.objects.filter(pk=database.pk).update(is_enabled=False)
    ChannelDatabase.objects.filter(pk=database.pk).update(is_enabled=True)


def archive_and_restore(database: ChannelDatabase) -> None:
    archive_channel(database.channel, "Closed.", whatever_waits=True)
    restore_channel(database.channel)


def pause_and_resume(database: ChannelDatabase) -> None:
    for direction in Direction:
        pause(database, direction, "Stocktaking.")
        resume(database, direction)


@pytest.mark.parametrize("act", [switch_off_and_on, archive_and_restore, pause_and_resume])
def test_what_waits_at_a_channel_that_is_served_again_waits_since_then(served, popup, act):
    make_customer(served, "Ann")
    run("pipeline", channels=["houston"])
    lacks_old_customers(popup)
    before = status_of(popup)

    act(popup)

    assert (before.timeliness, status_of(popup).timeliness) == (LATE, ON_TIME)
    assert status_of(popup).lag_minutes == 0
    later = minutes_ago(66)
    ChannelDatabase.objects.filter(pk=popup.pk).update(
        uploads_resumed_at=later, downloads_resumed_at=later, switched_on_at=later
    )
    assert status_of(popup).timeliness == LATE


def test_a_channel_that_was_just_added_is_not_late_with_old_customers(served, popup):
    make_customer(served, "Ann")
    run("pipeline", channels=["houston"])
    Customer.objects.filter(first_name="Ann").update(modified_at=minutes_ago(500))

    added = status_of(popup)
    visited(popup, 1, added_at=minutes_ago(36))

    assert (added.timeliness, added.overdue) == (ON_TIME, [])
    assert status_of(popup).timeliness == DELAYED


def excluded_by_job(register: ChannelDatabase, excluded: bool) -> None:
    SchedulerJob.objects.update_or_create(
        job=JobCode.DOWNLOAD, defaults={"exclude_from_offline": excluded}
    )


def excluded_by_deleted_job(register: ChannelDatabase, excluded: bool) -> None:
    excluded_by_job(register, True)
    if not excluded:
        SchedulerJob.objects.all().delete()


def filtered_by_group(register: ChannelDatabase, filtered: bool) -> None:
    ChannelDatabaseGroup.objects.filter(pk=register.group_id).update(
        filter_shared_customer_data=filtered
    )


def in_filtered_group(register: ChannelDatabase, filtered: bool) -> None:
    values = {"filter_shared_customer_data": filtered}
    group, _ = ChannelDatabaseGroup.objects.get_or_create(name=f"Filtered {filtered}", **values)
    ChannelDatabase.objects.filter(pk=register.pk).update(group=group)


@pytest.mark.parametrize(
    "exclude", [excluded_by_job, excluded_by_deleted_job, filtered_by_group, in_filtered_group]
)
def test_customers_of_a_register_that_is_included_again_wait_since_then(served, exclude):
    make_customer(served, "Ann")
    run("pipeline")
    register = add_register(served)
    lacks_old_customers(register)
    visited(register, 1)

    exclude(register, True)
    left_out = status_of(register)
    exclude(register, False)

    assert Waiting.DELIVERY not in [item.what for item in left_out.items]
    assert Waiting.DELIVERY in [item.what for item in status_of(register).items]
    assert status_of(register).timeliness == ON_TIME
    ChannelDatabase.objects.filter(pk=register.pk).update(included_at=minutes_ago(66))
    assert status_of(register).timeliness == LATE


def test_a_channel_that_no_schedule_serves_needs_one(served):
    make_schedule("P-0001", every_minutes=5)
    Schedule.objects.get(job="pipeline").pause(timezone.now(), "The line is being replaced.")

    status = status_of(served)

    assert (status.timeliness, status.needs) == (NEEDS_YOU, ("not_scheduled",))
    assert status.uncovered == "assign account numbers, send accounts"


@pytest.mark.parametrize("direction", Direction)
def test_a_pause_needs_a_person_until_it_ends(served, direction):
    pause(served, direction, "Stocktaking.")

    assert status_of(served).needs == (f"{direction}s_paused",)
    visited(served, 600)
    resume(served, direction)
    # What was paused was not promised.
    resumed = status_of(served).timeliness
    assert resumed == (ON_TIME if direction == Direction.UPLOAD else LATE)


def test_an_open_incident_needs_a_person(served):
    for kind in (IncidentKind.CHANNEL_RESTORED, IncidentKind.WRONG_DATABASE):
        Incident.objects.report(kind, Message("no_identity"), database=served)

    status = status_of(served)

    assert (status.timeliness, status.needs) == (NEEDS_YOU, ("incident",))
    # The one that stops visits comes first.
    assert status.incident_title == "Not the registered database"
    assert status.is_blocked


def test_a_missing_file_needs_a_person_at_once(served, popup):
    with out_of_reach(popup):
        run(JobCode.UPLOAD)

    status = status_of(popup)

    assert (status.timeliness, status.needs) == (NEEDS_YOU, ("error",))
    assert status.cause == ErrorCause.FILE_MISSING
    run(JobCode.UPLOAD)
    assert (status_of(popup).timeliness, status_of(popup).cause) == (ON_TIME, None)


def test_an_error_that_may_pass_only_counts_as_a_missed_visit(served):
    error = Message("channel_nothing_listens", channel="houston")
    visited(served, 1, last_error=error, failures=1, failing_since=minutes_ago(1))

    status = status_of(served)

    assert (status.timeliness, status.needs) == (ON_TIME, ())
    assert status.cause == ErrorCause.CONNECTION_REFUSED


def test_uploads_that_fail_while_downloads_succeed_make_a_channel_late(served):
    failing = {"failures": 9, "failing_since": minutes_ago(66), "failed_step": "upload"}
    visited(served, 1, last_error=Message("channel_too_slow", channel="houston"), **failing)

    assert status_of(served).timeliness == LATE


def test_the_first_failure_and_its_end_are_noted(served, popup):
    with out_of_reach(popup):
        run(JobCode.UPLOAD)
        popup.refresh_from_db()
        first = popup.failing_since
        run(JobCode.UPLOAD)
    popup.refresh_from_db()

    assert first is not None
    assert (popup.failures, popup.failing_since) == (2, first)
    run(JobCode.UPLOAD)
    popup.refresh_from_db()
    assert (popup.failures, popup.failing_since) == (0, None)


def test_nothing_is_promised_to_a_channel_that_is_switched_off(served):
    visited(served, 600)
    Channel.objects.update(is_enabled=False)

    status = status_of(served)

    assert (status.timeliness, status.needs, status.lag) == (None, (), None)


def test_five_hundred_channels_take_as_many_queries_as_one(served):
    ChannelDatabase.objects.bulk_create(
        ChannelDatabase(
            channel=served.channel, group=served.group, name=f"till-{n}", url=f"embedded:till_{n}"
        )
        for n in range(500)
    )
    rows = list(ChannelDatabase.objects.with_channel())

    with CaptureQueriesContext(connection) as one:
        channel_statuses(rows[:1])
    with CaptureQueriesContext(connection) as all_rows:
        statuses = channel_statuses(rows)

    assert len(statuses) == 501
    assert len(all_rows) == len(one) <= 5
