"""Download sessions: their states, tries and times, what people do with them, and exceptions.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `popup` is one on SQLite; `store` is a store, once on PostgreSQL and
once on SQLite; `register` registers a channel by its code; `back_up` backs up a channel database.
"""

import pytest
from django.utils import timezone

from stores import failpoints
from stores.messages.message import EMPTY
from stores.models import (
    ChannelDatabase,
    Customer,
    CustomerDelivery,
    DownloadException,
    DownloadSession,
    Incident,
    Package,
)
from stores.models.job import JobCode
from stores.models.package import ExceptionReason
from stores.models.session import DownloadStatus
from stores.pipeline.download import sessions
from stores.pipeline.download.exceptions import add_exceptions
from stores.pipeline.download.outbound import count_rows_of
from stores.web.lists.customers import filter_customers
from tests.support.engines import on_one_engine
from tests.support.make import (
    lookup,
    make_customer,
    make_event,
    out_of_reach,
    pending,
    query,
    run,
)
from tests.support.processes import dying_at
from tests.support.promises import failed_checks
from tests.support.refused_customers import allow_customers, refuse_customer
from tests.support.traces import knows_account, trace


@pytest.fixture
def ann(store, seattle):
    """Ann's GUID; she has an account, and no channel knows it yet."""
    guid = make_customer(store, "Ann")
    run(JobCode.UPLOAD)
    run("sync-customers")
    return guid


def session_of(database, **filters) -> DownloadSession:
    return DownloadSession.objects.get(database=database, **filters)


# ------------------------------------------------------------------ the way of a session


@on_one_engine
def test_a_session_tells_when_it_came_to_each_state(store, ann):
    before = timezone.now()

    run(JobCode.DOWNLOAD)

    session = session_of(store)
    assert (session.status, session.tries, session.customers) == (DownloadStatus.APPLIED, 1, 1)
    assert session.package == Package.objects.get()
    assert session.size_bytes == session.package.size_bytes > 0
    times = [session.started_at, session.requested_at, session.downloaded_at, session.applied_at]
    assert before <= times[0] <= times[1] <= times[2] <= times[3]


def test_an_unreachable_channel_has_one_session_that_counts_tries(popup, seattle):
    make_customer(seattle, "Ann")
    with out_of_reach(popup):
        for _ in range(2):
            run("pipeline")
    session = session_of(popup)
    assert (session.status, session.tries) == (DownloadStatus.DOWNLOAD_FAILED, 2)
    assert "popup" in str(session.message)

    run(JobCode.DOWNLOAD)

    session.refresh_from_db()
    assert (session.status, session.tries, session.message) == (DownloadStatus.APPLIED, 3, EMPTY)
    assert lookup(popup) == lookup(seattle)


@pytest.mark.parametrize(
    "point",
    [
        "download:before_channel_commit",
        "download:after_channel_commit",
        "download:before_delivered",
        "download:after_delivered",
    ],
)
def test_after_a_crash_the_channel_tells_what_it_received(store, ann, point):
    with dying_at(point):
        run(JobCode.DOWNLOAD, channels=[store.channel.code])

    run(JobCode.DOWNLOAD)

    applied = session_of(store, status=DownloadStatus.APPLIED)
    assert (applied.customers, bool(applied.applied_at)) == (1, True)
    assert not DownloadSession.objects.open().exists()
    assert lookup(store) == [("005001", "Ann")]
    assert pending(store) == []
    assert [place.at for place in trace(str(ann)).channels if place.database == store.label] == [
        applied.applied_at
    ]
    assert failed_checks() == {}


def test_a_position_lost_at_hq_is_read_from_the_channel(store, ann):
    run(JobCode.DOWNLOAD)
    ChannelDatabase.objects.update(position=0)

    result = run(JobCode.DOWNLOAD)

    assert result["outcome"] == "nothing_to_do"
    assert pending(store) == []


def test_a_restored_channel_is_sent_what_it_lacks(popup, seattle, back_up):
    make_customer(seattle, "Ann")
    run("pipeline")
    backup = back_up(popup)
    make_customer(seattle, "Bo")
    run("pipeline")
    backup.restore()
    assert len(lookup(popup)) == 1

    result = run("pipeline")

    assert result["counts"] == {"distributed": 1}
    assert lookup(popup) == lookup(seattle)
    assert failed_checks() == {}


def test_a_new_channel_is_sent_everything_and_needs_no_preparation(houston, register):
    for name in ("Ann", "Bo"):
        make_customer(houston, name)
        run("pipeline")
    popup = register("popup")
    assert len(pending(popup)) == 2

    result = run(JobCode.DOWNLOAD)

    assert result["counts"] == {"distributed": 2}
    assert lookup(popup) == lookup(houston)
    assert failed_checks() == {}


# ------------------------------------------------------------------------- the exceptions


@pytest.fixture
def refused(store, seattle, ann) -> DownloadException:
    """The customer Bad, whom the store has refused once; Ann has arrived there."""
    make_customer(seattle, "Bad")
    refuse_customer(store, "Bad")
    assert run("pipeline")["outcome"] == "succeeded"
    return DownloadException.objects.open().get()


def test_a_refused_customer_holds_up_nobody(store, refused):
    assert lookup(store) == [("005001", "Ann")]
    assert (refused.database, refused.reason, refused.tries) == (store, "refused", 1)
    assert refused.message
    assert pending(store) == [refused.customer.account_number]
    assert Incident.objects.open().get().kind == "row_refused"


@on_one_engine
def test_a_refused_customer_is_tried_again_with_the_next_one(store, seattle, refused):
    make_customer(seattle, "Cy")

    run("pipeline")

    refused.refresh_from_db()
    assert (refused.tries, refused.settled_at) == (2, None)
    assert sorted(name for _, name in lookup(store)) == ["Ann", "Cy"]


def test_a_customer_who_is_no_longer_refused_arrives(store, seattle, refused):
    allow_customers(store)

    assert run(JobCode.DOWNLOAD)["counts"] == {"distributed": 1}

    refused.refresh_from_db()
    assert (refused.session.database, refused.version) == (store, 1)
    assert refused.settled_at
    assert sorted(name for _, name in lookup(store)) == ["Ann", "Bad"]
    assert lookup(store) == lookup(seattle)
    assert not Incident.objects.open().exists()
    assert failed_checks() == {}


@on_one_engine
def test_a_refused_customer_s_arrival_is_that_of_its_session(store, seattle):
    bad = make_customer(seattle, "Bad")
    refuse_customer(store, "Bad")
    run("pipeline")
    assert knows_account(trace(str(bad))) == {
        store.label: False,
        seattle.label: True,
    }
    assert trace(str(bad)).state == "synchronized"
    allow_customers(store)

    run(JobCode.DOWNLOAD)

    customer_trace = trace(str(bad))
    [tick] = [
        event
        for event in customer_trace.events
        if (event.kind, event.channel) == ("delivered", store.label)
    ]
    settled = DownloadException.objects.get()
    assert (tick.session, tick.at) == (str(settled.session_id), settled.settled_at)
    assert customer_trace.state == "distributed"


def test_a_refusal_is_noted_before_the_position_passes_it(store, seattle):
    make_customer(seattle, "Good")
    make_customer(seattle, "Bad")
    run(JobCode.UPLOAD)
    run("sync-customers")
    refuse_customer(store, "Bad")
    # The channel commits what it takes, and the download dies before it is known who is refused.
    with dying_at("download:after_channel_commit"):
        run(JobCode.DOWNLOAD, channels=[store.channel.code])
    assert "Good" in {name for _, name in lookup(store)}
    [(positions,)] = query(store, "SELECT positions FROM exchange_state")
    # SQLite holds JSON as text.
    assert positions in ({}, "{}")

    run(JobCode.DOWNLOAD)

    assert len(pending(store)) == 1
    assert {name for _, name in lookup(store)} == {"Good"}
    assert failed_checks() == {}


@on_one_engine
@pytest.mark.parametrize("point", failpoints.EXCEPTION_POINTS)
def test_a_download_that_dies_at_an_exception_goes_on(store, seattle, ann, point):
    run(JobCode.DOWNLOAD)
    make_customer(seattle, "Bad")
    refuse_customer(store, "Bad")
    run(JobCode.UPLOAD)
    run("sync-customers")
    # What must have happened before a download comes to the point.
    if point != "download:after_refused":
        run(JobCode.DOWNLOAD)
        allow_customers(store)
        first = DownloadSession.objects.filter(database=store, package__isnull=False)
        sessions.rerun(first.earliest("started_at"))
    if point == "download:after_noting":
        ChannelDatabase.objects.update(position=0)
    if point == "download:after_suspended":
        sessions.pause_downloads(store, "Stocktaking.")
    with dying_at(point):
        run(JobCode.DOWNLOAD, channels=[store.channel.code])
    # What kept the customer from arriving is over.
    if point == "download:after_refused":
        allow_customers(store)
    if point == "download:after_suspended":
        sessions.resume_downloads(store)

    run(JobCode.DOWNLOAD)

    assert sorted(name for _, name in lookup(store)) == ["Ann", "Bad"]
    assert not DownloadException.objects.open().exists()
    assert not DownloadSession.objects.open().exists()
    assert failed_checks() == {}


@on_one_engine
def test_what_is_sent_again_stays_distributed_meanwhile(store, seattle, ann):
    run(JobCode.DOWNLOAD)
    customer = Customer.objects.get(first_name="Ann")

    add_exceptions(store, [customer.pk], ExceptionReason.REQUESTED)
    sessions.start_over(seattle)

    assert (pending(store), pending(seattle)) == ([], [])
    customer_trace = trace(str(ann))
    assert (customer_trace.state, customer_trace.waiting_for) == ("distributed", None)
    assert all(channel.knows_account for channel in customer_trace.channels)
    assert not filter_customers(owed="any").exists()
    query(store, "DELETE FROM customer")
    query(seattle, "DELETE FROM customer")
    run(JobCode.DOWNLOAD)
    assert len(lookup(store)) == len(lookup(seattle)) == 1


@pytest.mark.fault("F-31")  # a channel was restored from a backup
def test_a_restored_channel_is_sent_again_what_it_once_refused(store, seattle, ann, back_up):
    refuse_customer(store, "Ann")
    run(JobCode.DOWNLOAD)
    backup = back_up(store)
    allow_customers(store)
    run(JobCode.DOWNLOAD)
    assert lookup(store) == [("005001", "Ann")]
    backup.restore()
    allow_customers(store)

    run("pipeline")

    assert lookup(store) == [("005001", "Ann")]
    assert not DownloadException.objects.open().exists()
    assert failed_checks() == {}


def test_an_edit_that_is_refused_leaves_the_earlier_version_known(store, seattle, ann):
    run(JobCode.DOWNLOAD)
    refuse_customer(store, "Anna", event="UPDATE")
    make_event("customer", seattle, async_account=ann, operation="update", first_name="Anna")

    run("pipeline")

    assert lookup(store) == [("005001", "Ann")]
    known = knows_account(trace(str(ann)))
    assert known == {store.label: True, seattle.label: True}
    assert trace(str(ann)).waiting_for.code == "not_distributed"


# ---------------------------------------------------------------------- what people do


def test_a_customer_is_sent_again_on_request(store, ann):
    run(JobCode.DOWNLOAD)
    query(store, "DELETE FROM customer")
    customer = Customer.objects.get(guids=ann)

    add_exceptions(store, [customer.pk], ExceptionReason.REQUESTED)
    run(JobCode.DOWNLOAD)

    assert lookup(store) == [("005001", "Ann")]
    assert session_of(store, package=None).status == DownloadStatus.APPLIED


def test_sending_a_package_again_changes_nothing(store, ann):
    run(JobCode.DOWNLOAD)
    first = session_of(store)
    query(store, "DELETE FROM customer_affiliation")

    again = sessions.rerun(first)
    run(JobCode.DOWNLOAD)

    again.refresh_from_db()
    assert (again.status, again.customers) == (DownloadStatus.APPLIED, 1)
    assert lookup(store) == [("005001", "Ann")]
    store.refresh_from_db()
    assert store.position == first.package.to_no


@on_one_engine
def test_a_package_whose_data_is_gone_is_not_sent_again(store, ann):
    run(JobCode.DOWNLOAD)
    Package.objects.update(dropped_at=timezone.now())

    with pytest.raises(sessions.SessionRefused):
        sessions.rerun(session_of(store))


def test_after_a_cancelled_session_the_next_download_sends_the_rest(popup, seattle):
    make_customer(seattle, "Ann")
    with out_of_reach(popup):
        run("pipeline")
    session = session_of(popup)

    sessions.cancel(session)
    run(JobCode.DOWNLOAD)

    session.refresh_from_db()
    assert session.status == DownloadStatus.CANCELED
    assert session_of(popup, status=DownloadStatus.APPLIED).package == session.package
    assert lookup(popup) == lookup(seattle)
    with pytest.raises(sessions.SessionRefused):
        sessions.cancel(session_of(popup, status=DownloadStatus.APPLIED))


@on_one_engine
def test_a_session_that_is_cancelled_while_it_begins_writes_nothing(store, ann, monkeypatch):
    enter_channel = sessions.note_downloaded

    def canceled_meanwhile(step, session, tables):
        sessions.cancel(session)
        enter_channel(step, session, tables)

    monkeypatch.setattr("stores.pipeline.download.download.note_downloaded", canceled_meanwhile)
    result = run(JobCode.DOWNLOAD, channels=[store.channel.code])

    assert result["outcome"] == "failed"
    assert lookup(store) in ([], [("Pending sync", "Ann")])
    assert pending(store) != []


def test_only_a_session_that_brought_nothing_is_deleted(popup, seattle):
    make_customer(seattle, "Ann")
    with out_of_reach(popup):
        run("pipeline")
    session = session_of(popup)

    sessions.delete(session)
    run(JobCode.DOWNLOAD)

    assert not DownloadSession.objects.filter(pk=session.pk).exists()
    with pytest.raises(sessions.SessionRefused):
        sessions.delete(session_of(popup))


def test_a_full_synchronization_sends_everything_again_after_a_preview(store, ann):
    run(JobCode.DOWNLOAD)
    query(store, "DELETE FROM customer")
    query(store, "DELETE FROM account_map")
    rows = count_rows_of("USRT")
    assert (rows["customer"], rows["account_map"], rows["customer_address"]) == (1, 1, 0)

    sessions.start_over(store)
    run(JobCode.DOWNLOAD)

    store.refresh_from_db()
    assert not store.starts_over
    assert pending(store) == []
    assert lookup(store) == [("005001", "Ann")]
    assert CustomerDelivery.objects.filter(database=store).count() == 2
    assert failed_checks() == {}
