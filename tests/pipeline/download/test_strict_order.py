"""Strict order: a package that a channel refuses in part holds up all that follow.

From conftest.py: `seattle` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite.
"""

import pytest

from stores.models import ChannelDatabase, DownloadException, DownloadSession, Incident
from stores.models.job import JobCode
from stores.models.session import DownloadStatus
from stores.pipeline.download import sessions
from tests.support.make import lookup, make_customer, pending, run
from tests.support.promises import failed_checks
from tests.support.refused_customers import allow_customers, refuse_customer


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
    assert len(pending(strict)) == 2
    assert names(seattle) == ["Bad", "Good"]


def test_a_package_that_was_refused_three_times_is_suspended_and_later_ones_wait(strict, seattle):
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


def test_a_suspended_package_that_is_tried_again_lets_the_later_ones_follow(strict, seattle):
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


def test_a_suspended_package_that_is_canceled_lets_the_later_ones_follow_without_it(
    strict, seattle
):
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


def test_without_strict_order_again_the_others_go_on(strict, seattle):
    fail_thrice(seattle)
    ChannelDatabase.objects.filter(pk=strict.pk).update(strict_order=False)

    run(JobCode.DOWNLOAD)

    assert names(strict) == ["Cy", "Good"]
    allow_customers(strict)
    run(JobCode.DOWNLOAD)
    assert names(strict) == names(seattle)


def test_a_hold_that_ends_tries_a_suspended_package_again(strict, seattle):
    fail_thrice(seattle)
    allow_customers(strict)

    sessions.hold(strict, "Stocktaking.")
    with pytest.raises(sessions.SessionRefused):
        sessions.rerun(session_of(strict))
    sessions.resume(strict)
    run(JobCode.DOWNLOAD)

    assert names(strict) == names(seattle)
