"""Strict order: a package that a channel refuses in part holds up all that follow.

From conftest.py: `seattle` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite.
"""

import json

import pytest

from stores.models import ChannelDatabase, Customer, DownloadException, DownloadSession, Incident
from stores.models.job import JobCode
from stores.models.session import DownloadStatus
from stores.pipeline.download import sessions
from stores.web.lists.customers import filter_customers
from tests.support.engines import on_one_engine
from tests.support.make import lookup, make_customer, pending, query, run
from tests.support.promises import failed_checks
from tests.support.refused_customers import allow_customers, refuse_customer
from tests.support.traces import knows_account, trace


@pytest.fixture
def strict(store, seattle) -> ChannelDatabase:
    """A store in strict order whose database refuses Bad, who came to seattle with Good."""
    store.strict_order = True
    store.save(update_fields=["strict_order"])
    refuse_customer(store, "Bad")
    make_customer(seattle, "Good")
    make_customer(seattle, "Bad")
    run("pipeline")
    return store


def names(database: ChannelDatabase) -> list[str]:
    return sorted(name for _, name in lookup(database))


def account_of(name: str) -> str:
    return Customer.objects.get(first_name=name).account_number


def session_of(database: ChannelDatabase) -> DownloadSession:
    """The latest session of a database."""
    return DownloadSession.objects.filter(database=database).latest("started_at")


def fail_thrice(seattle) -> None:
    """Two more downloads, and a customer who comes between them."""
    run(JobCode.DOWNLOAD)
    make_customer(seattle, "Cy")
    run("pipeline")


def test_a_package_that_is_refused_in_part_is_not_passed(strict, seattle):
    session = session_of(strict)
    assert (session.status, session.tries) == (DownloadStatus.APPLY_FAILED, 1)
    strict.refresh_from_db()
    assert strict.position == 0
    assert pending(strict) == [account_of("Bad")]
    assert session.customers == 1
    assert session.rows > 0
    assert names(seattle) == ["Bad", "Good"]


def test_a_database_knows_its_part_of_a_refused_package(strict, seattle):
    good, bad = trace(account_of("Good")), trace(account_of("Bad"))

    assert knows_account(good) == {strict.label: True, seattle.label: True}
    assert knows_account(bad) == {strict.label: False, seattle.label: True}
    assert (good.state, bad.state) == ("distributed", "synchronized")
    listed = filter_customers(owed=strict.label).values_list("first_name", flat=True)
    assert list(listed) == ["Bad"]


def test_a_database_takes_a_refused_customer_at_the_next_try(strict, seattle):
    query(strict, "DELETE FROM customer")
    allow_customers(strict)
    refuse_customer(strict, "Good")

    run(JobCode.DOWNLOAD)

    assert pending(strict) == [account_of("Good")]
    assert session_of(strict).status == DownloadStatus.APPLY_FAILED
    assert knows_account(trace(account_of("Bad")))[strict.label]


def test_a_restored_database_lacks_what_it_had_taken(strict, seattle, back_up):
    allow_customers(strict)
    run(JobCode.DOWNLOAD)
    backup = back_up(strict)
    refuse_customer(strict, "Cy")
    make_customer(seattle, "Cy")
    make_customer(seattle, "Dee")
    run("pipeline")
    assert pending(strict) == [account_of("Cy")]

    backup.restore()
    run(JobCode.UPLOAD)

    assert {account_of("Cy"), account_of("Dee")} <= set(pending(strict))
    run("pipeline")
    assert names(strict) == names(seattle)
    assert failed_checks() == {}


@on_one_engine
def test_a_package_refused_three_times_is_suspended(strict, seattle):
    fail_thrice(seattle)
    before = session_of(strict)
    run(JobCode.DOWNLOAD)

    session = session_of(strict)
    assert (session.pk, session.status, session.tries) == (before.pk, DownloadStatus.SUSPENDED, 3)
    assert "Cy" not in names(strict)
    assert names(seattle) == ["Bad", "Cy", "Good"]
    assert Incident.objects.open().get().kind == "row_refused"
    assert failed_checks() == {}
    assert run("reconcile", channels=[strict.channel.code])["outcome"] == "succeeded"


@on_one_engine
def test_a_suspended_package_stops_visits_and_is_in_traces(strict, seattle):
    fail_thrice(seattle)
    bad, session = account_of("Bad"), session_of(strict)
    visited = ChannelDatabase.objects.get(pk=strict.pk).confirmed_epoch

    run(JobCode.DOWNLOAD)

    assert ChannelDatabase.objects.get(pk=strict.pk).confirmed_epoch == visited
    refused, behind = trace(bad).waiting_for, trace(account_of("Cy")).waiting_for
    assert f"{strict.label} refuses this customer (" in refused.text
    assert f"Downloads to {strict.label} are suspended since it refused {bad}." in behind.text
    for waiting_for in (refused, behind):
        assert "Send again or Cancel" in waiting_for.next_step
        assert waiting_for.session == str(session.pk)


@on_one_engine
def test_the_command_channels_reports_a_suspended_package(strict, seattle, command):
    fail_thrice(seattle)
    run(JobCode.DOWNLOAD)

    text = command("channels")
    document = json.loads(command("channels", "--json"))

    assert f"{strict.label} refuses 1 customer." in text
    row = next(row for row in document["channels"] if row["database"] == strict.label)
    session = str(session_of(strict).pk)
    assert row["suspended"] == {
        "session": session,
        "refuses": [account_of("Bad")],
        "refused": 1,
    }
    # Bad and Cy.
    assert row["counts"]["owed"] == 2


@on_one_engine
def test_the_incident_of_a_refusal_says_whom_and_how_often(strict, seattle):
    fail_thrice(seattle)
    bad = account_of("Bad")

    document = run(JobCode.DOWNLOAD)

    incident = Incident.objects.open().get()
    assert str(incident.message).startswith(f"Channel {strict.label} refuses customer {bad} (")
    assert str(incident.message).endswith("In strict order, all later downloads wait.")
    assert list(incident.detail["rows"]) == [bad]
    assert incident.times == session_of(strict).tries == 3
    assert document["outcome"] == "nothing_to_do"
    assert document["message"] == (
        f"Nothing to do. 2 customers pending for {strict.label}, whose downloads are suspended."
    )


@on_one_engine
def test_without_strict_order_a_trace_says_who_is_refused(store, seattle):
    refuse_customer(store, "Bad")
    make_customer(seattle, "Bad")
    run("pipeline")

    waiting_for = trace(account_of("Bad")).waiting_for

    assert f"{store.label} refuses this customer (" in waiting_for.text
    assert "each download tries" in waiting_for.next_step


@on_one_engine
def test_retrying_a_suspended_package_lets_later_ones_follow(strict, seattle):
    fail_thrice(seattle)
    allow_customers(strict)
    run(JobCode.DOWNLOAD)
    assert "Cy" not in names(strict)

    session = sessions.rerun(session_of(strict))
    run(JobCode.DOWNLOAD)

    session.refresh_from_db()
    assert session.status == DownloadStatus.APPLIED
    assert names(strict) == names(seattle)
    assert not DownloadException.objects.open().exists()
    assert not Incident.objects.open().exists()
    assert failed_checks() == {}


@on_one_engine
def test_cancelling_a_suspended_package_lets_later_ones_follow(strict, seattle):
    fail_thrice(seattle)

    sessions.cancel(session_of(strict))
    run(JobCode.DOWNLOAD)

    assert names(strict) == ["Cy", "Good"]
    refused = DownloadException.objects.open().get()
    assert pending(strict) == [refused.customer.account_number]
    allow_customers(strict)
    run(JobCode.DOWNLOAD)
    assert names(strict) == names(seattle)
    assert failed_checks() == {}


def test_a_package_that_is_accepted_in_time_is_never_suspended(strict, seattle):
    allow_customers(strict)

    run(JobCode.DOWNLOAD)

    assert names(strict) == names(seattle)
    assert not DownloadException.objects.open().exists()
    assert not DownloadSession.objects.unfinished().exists()


@on_one_engine
def test_without_strict_order_again_the_others_go_on(strict, seattle):
    fail_thrice(seattle)
    ChannelDatabase.objects.filter(pk=strict.pk).update(strict_order=False)

    run(JobCode.DOWNLOAD)

    assert names(strict) == ["Cy", "Good"]
    allow_customers(strict)
    run(JobCode.DOWNLOAD)
    assert names(strict) == names(seattle)


@on_one_engine
def test_a_pause_that_ends_tries_a_suspended_package_again(strict, seattle):
    fail_thrice(seattle)
    allow_customers(strict)

    sessions.pause_downloads(strict, "Stocktaking.")
    with pytest.raises(sessions.SessionRefused):
        sessions.rerun(session_of(strict))
    sessions.resume_downloads(strict)
    run(JobCode.DOWNLOAD)

    assert names(strict) == names(seattle)
