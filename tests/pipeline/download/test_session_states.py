"""The states of a session whose package is made, cannot be, has no data, or is paused.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `popup` is one on SQLite.
"""

from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from stores import failpoints
from stores.jobs.stalled import recover_lost_steps
from stores.messages.message import EMPTY
from stores.models import ChannelDatabase, Customer, DownloadSession, JobRun, Package
from stores.models.job import JobCode
from stores.models.session import DownloadStatus
from stores.pipeline import number_journal
from stores.pipeline.download import packages, sessions
from tests.support.make import lookup, make_customer, out_of_reach, run
from tests.support.processes import dying_at
from tests.support.promises import failed_checks
from tests.support.refusals import hq_refuses
from tests.support.traces import trace


def headquarters_stores_no_package() -> AbstractContextManager[None]:
    """Have HQ's database refuse every package, as if its disk was full."""
    return hq_refuses("package", "true", code="53100")


def convert(store, name: str) -> None:
    make_customer(store, name)
    run(JobCode.UPLOAD)
    run("sync-customers")


def test_a_session_is_started_while_its_package_is_made(houston, monkeypatch):
    read_tables, seen = packages.read_tables, []

    def look(packed, *, is_first):
        seen.extend(DownloadSession.objects.values_list("status", "package", "tries"))
        return read_tables(packed, is_first=is_first)

    monkeypatch.setattr(packages, "read_tables", look)
    convert(houston, "Ann")
    run(JobCode.DOWNLOAD)

    assert seen == [(DownloadStatus.STARTED, None, 0)]
    session = DownloadSession.objects.get()
    assert (session.status, session.tries) == (DownloadStatus.APPLIED, 1)
    assert session.package == Package.objects.get()


def test_a_package_that_cannot_be_made_blames_no_channel(houston, popup):
    convert(houston, "Ann")

    with headquarters_stores_no_package():
        document = run(JobCode.DOWNLOAD)

        assert "Headquarters cannot make the next package (SQLSTATE 53100)." in document["message"]
        assert "53100" in JobRun.objects.get(pk=document["run"]).error
        for database in ChannelDatabase.objects.all():
            assert (database.last_error, database.failures, database.next_try_at) == (
                EMPTY,
                0,
                None,
            )


def test_an_error_before_the_channel_is_opened_blames_no_channel(houston, monkeypatch):
    convert(houston, "Ann")
    monkeypatch.setattr(packages, "read_tables", lambda packed, is_first: 1 / 0)

    document = run(JobCode.DOWNLOAD)

    assert document["outcome"] == "failed"
    houston.refresh_from_db()
    assert (houston.last_error, houston.failures) == (EMPTY, 0)


def test_who_finds_a_package_does_not_start_another(houston, popup, monkeypatch):
    convert(houston, "Ann")
    run(JobCode.DOWNLOAD, channels=["houston"])
    monkeypatch.setattr(packages, "read_tables", lambda packed, is_first: 1 / 0)

    run(JobCode.DOWNLOAD, channels=["popup"])

    assert len(lookup(popup)) == 1


@pytest.fixture
def behind(houston, seattle, popup) -> None:
    """Popup lacks Ann, of whom there is a package; all lack Bo, of whom there is none yet."""
    make_customer(houston, "Ann")
    with out_of_reach(popup):
        run("pipeline")
    convert(houston, "Bo")


def test_a_failing_package_stops_only_those_who_need_it(houston, popup, behind):
    with headquarters_stores_no_package():
        for code in ("houston", "popup"):
            assert run(JobCode.DOWNLOAD, channels=[code])["outcome"] == "failed"

    assert {name for _, name in lookup(popup)} == {"Ann"}
    failed = DownloadSession.objects.unmade().filter(database__in=[houston, popup])
    assert failed.count() == 2
    for session in failed:
        assert (session.status, session.package) == (DownloadStatus.CREATE_FAILED, None)
        assert session.tries == 1
        assert str(session.message) == "Headquarters cannot make the next package (SQLSTATE 53100)."


def test_a_package_that_failed_is_made_at_the_next_try(houston, seattle, popup, behind):
    with headquarters_stores_no_package():
        run(JobCode.DOWNLOAD, channels=["houston"])

    assert run(JobCode.DOWNLOAD)["outcome"] == "succeeded"

    assert not DownloadSession.objects.unfinished().exists()
    session = DownloadSession.objects.filter(database=houston).first()
    assert (session.status, session.tries, session.message) == (DownloadStatus.APPLIED, 2, EMPTY)
    assert {name for _, name in lookup(popup)} == {"Ann", "Bo"}
    assert lookup(popup) == lookup(houston) == lookup(seattle)


def test_customers_that_may_not_leave_yet_make_an_empty_session(houston, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(number_journal, "append_missing", lambda: None)
        convert(houston, "Ann")
        for _ in range(2):
            assert run(JobCode.DOWNLOAD)["outcome"] == "nothing_to_do"

        session = DownloadSession.objects.get()
        assert (session.status, session.package) == (DownloadStatus.NO_DATA, None)
        assert "number journal" in str(session.message)

    run(JobCode.DOWNLOAD)

    session.refresh_from_db()
    assert session.status == DownloadStatus.APPLIED
    assert DownloadSession.objects.count() == 1


def test_an_idle_visit_leaves_no_session(houston):
    make_customer(houston, "Ann")
    run("pipeline")

    run(JobCode.DOWNLOAD)

    assert DownloadSession.objects.count() == 1


@pytest.mark.parametrize("point", ["download:after_start", "download:after_package"])
def test_a_session_fails_if_its_worker_dies_making_the_package(houston, point):
    convert(houston, "Ann")
    with dying_at(point):
        run(JobCode.DOWNLOAD)
    recover_lost_steps()

    session = DownloadSession.objects.get()
    assert (session.status, session.package) == (DownloadStatus.CREATE_FAILED, None)
    assert session.message
    run(JobCode.DOWNLOAD)
    session.refresh_from_db()
    assert (session.status, session.package) == (DownloadStatus.APPLIED, Package.objects.get())


# -------------------------------------------------------------------------------- paused


@pytest.fixture
def paused(houston, popup) -> ChannelDatabase:
    """Popup's database, whose downloads were paused before Ann came to houston."""
    sessions.pause_downloads(popup, "Stocktaking.")
    make_customer(houston, "Ann")
    run("pipeline")
    return popup


def test_a_paused_database_has_a_suspended_session(houston, paused):
    assert len(lookup(houston)) == 1
    assert lookup(paused) == []
    session = DownloadSession.objects.get(database=paused)
    assert (session.status, session.package) == (DownloadStatus.SUSPENDED, Package.objects.get())
    assert failed_checks() == {}


def test_visits_to_a_paused_database_do_nothing(houston, paused, monkeypatch):
    monkeypatch.setattr("stores.pipeline.download.download.enter", lambda step: 1 / 0)

    outcomes = [
        run(JobCode.DOWNLOAD, dry_run=dry_run)["outcome"] for dry_run in (True, False, False)
    ]

    assert outcomes == ["nothing_to_do"] * 3
    assert DownloadSession.objects.filter(database=paused).count() == 1


def test_a_resumed_database_is_sent_what_it_missed(houston, paused):
    make_customer(houston, "Bo")
    run("pipeline")

    sessions.resume_downloads(paused)
    run(JobCode.DOWNLOAD)

    assert lookup(paused) == lookup(houston)
    assert not DownloadSession.objects.unfinished().exists()
    assert failed_checks() == {}


def test_what_is_on_offer_when_the_pause_begins_is_suspended(houston, popup):
    make_customer(houston, "Ann")
    with out_of_reach(popup):
        run("pipeline")
    session = DownloadSession.objects.get(database=popup)
    assert session.status == DownloadStatus.DOWNLOAD_FAILED

    assert sessions.pause_downloads(popup, "Stocktaking.") == 1

    session.refresh_from_db()
    assert session.status == DownloadStatus.SUSPENDED
    assert sessions.resume_downloads(popup) == 1
    session.refresh_from_db()
    assert session.status == DownloadStatus.AVAILABLE


def test_a_package_to_resend_waits_for_the_pause_to_end(houston, popup):
    make_customer(houston, "Ann")
    run("pipeline")
    sessions.pause_downloads(popup, "Stocktaking.")

    again = sessions.rerun(DownloadSession.objects.get(database=popup))
    run(JobCode.DOWNLOAD)

    again.refresh_from_db()
    assert again.status == DownloadStatus.SUSPENDED
    sessions.resume_downloads(popup)
    run(JobCode.DOWNLOAD)
    again.refresh_from_db()
    assert again.status == DownloadStatus.APPLIED


def test_a_pause_does_not_stop_a_package_on_its_way(houston, popup, monkeypatch):
    convert(houston, "Ann")
    monkeypatch.setitem(
        failpoints.actions,
        "download:after_request",
        lambda: sessions.pause_downloads(popup, "Stocktaking."),
    )
    run(JobCode.DOWNLOAD, channels=["popup"])
    monkeypatch.delitem(failpoints.actions, "download:after_request")
    assert len(lookup(popup)) == 1

    convert(houston, "Bo")
    run(JobCode.DOWNLOAD)

    assert {name for _, name in lookup(popup)} == {"Ann"}
    assert {name for _, name in lookup(houston)} == {"Ann", "Bo"}


def test_packages_that_wait_for_a_pause_are_not_skipped(houston, paused):
    Customer.objects.update(
        created_at=Now() - timedelta(hours=1), modified_at=Now() - timedelta(hours=1)
    )
    run(JobCode.DOWNLOAD)
    assert failed_checks() == {}

    sessions.resume_downloads(paused)

    assert failed_checks() == {}


def test_a_trace_says_why_a_database_lacks_a_customer(houston, paused):
    waiting_for = trace("005001").waiting_for

    assert waiting_for.code == "not_distributed"
    assert "Downloads to popup are paused: Stocktaking." in waiting_for.text
    assert waiting_for.next_step == "Resume the downloads when the reason is gone."


def test_only_paused_downloads_are_resumed(popup):
    with pytest.raises(sessions.SessionRefused):
        sessions.resume_downloads(popup)
