"""The states of a session before its package is on offer: it is made, cannot be, or has no data."""

from contextlib import contextmanager

import pytest
from django.db import connection

from stores import failpoints
from stores.jobs.stalled import recover_lost_steps
from stores.models import DownloadSession, Package
from stores.models.session import DownloadStatus
from stores.pipeline import number_journal
from stores.pipeline.download import packages
from tests.support.make import lookup, make_customer, out_of_reach, run
from tests.support.processes import Died, die


@contextmanager
def headquarters_stores_no_package():
    """Have HQ's database refuse every package, with a text that may not be passed on."""
    with connection.cursor() as cursor:
        cursor.execute(
            """CREATE FUNCTION no_package() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'secret' USING ERRCODE = 'disk_full'; END $$;
               CREATE TRIGGER no_package BEFORE INSERT ON package
               FOR EACH ROW EXECUTE FUNCTION no_package()"""
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION no_package CASCADE")


def convert(store, name: str) -> None:
    make_customer(store, name)
    run("P-0001")
    run("sync-customers")


def test_a_session_is_started_while_its_package_is_made(houston, monkeypatch):
    read_tables, seen = packages.read_tables, []

    def look(packed, *, is_first):
        seen.extend(DownloadSession.objects.values_list("status", "package", "tries"))
        return read_tables(packed, is_first=is_first)

    monkeypatch.setattr(packages, "read_tables", look)
    convert(houston, "Ann")
    run("1010")

    assert seen == [(DownloadStatus.STARTED, None, 0)]
    session = DownloadSession.objects.get()
    assert (session.status, session.tries) == (DownloadStatus.APPLIED, 1)
    assert session.package == Package.objects.get()


def test_who_finds_a_package_does_not_start_another(houston, popup, monkeypatch):
    convert(houston, "Ann")
    run("1010", channels=["houston"])
    monkeypatch.setattr(packages, "read_tables", lambda packed, is_first: 1 / 0)

    run("1010", channels=["popup"])

    assert len(lookup(popup)) == 1


def test_a_package_that_cannot_be_made_stops_only_those_who_need_it(houston, seattle, popup):
    make_customer(houston, "Ann")
    with out_of_reach(popup):
        run("pipeline")
    convert(houston, "Bo")

    with headquarters_stores_no_package():
        outcomes = [run("1010", channels=[code])["outcome"] for code in ("houston", "popup")]

        assert outcomes == ["failed", "failed"]
        assert {name for _, name in lookup(popup)} == {"Ann"}
        failed = DownloadSession.objects.unmade().filter(database__in=[houston, popup])
        assert {
            (session.database, session.status, session.package, session.tries) for session in failed
        } == {
            (houston, DownloadStatus.CREATE_FAILED, None, 1),
            (popup, DownloadStatus.CREATE_FAILED, None, 1),
        }
        assert {session.message for session in failed} == {
            "Unexpected error (SQLSTATE 53100); see the run's technical details."
        }

    assert run("1010")["outcome"] == "succeeded"
    assert not DownloadSession.objects.unfinished().exists()
    session = DownloadSession.objects.filter(database=houston).first()
    assert (session.status, session.tries, session.message) == (DownloadStatus.APPLIED, 2, "")
    assert lookup(popup) == lookup(houston) == lookup(seattle)


def test_what_may_not_leave_headquarters_yet_is_a_session_without_data(houston, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(number_journal, "append_missing", lambda: None)
        convert(houston, "Ann")
        for _ in range(2):
            assert run("1010")["outcome"] == "nothing_to_do"

        session = DownloadSession.objects.get()
        assert (session.status, session.package) == (DownloadStatus.NO_DATA, None)
        assert "number journal" in session.message

    run("1010")

    session.refresh_from_db()
    assert session.status == DownloadStatus.APPLIED
    assert DownloadSession.objects.count() == 1


def test_an_idle_visit_leaves_no_session(houston):
    make_customer(houston, "Ann")
    run("pipeline")

    run("1010")

    assert DownloadSession.objects.count() == 1


@pytest.mark.parametrize("point", ["download:after_start", "download:after_package"])
def test_a_session_whose_worker_dies_while_its_package_is_made_has_failed(
    houston, monkeypatch, point
):
    convert(houston, "Ann")
    with monkeypatch.context() as patch:
        patch.setitem(failpoints.actions, point, die)
        with pytest.raises(Died):
            run("1010")
    recover_lost_steps()

    session = DownloadSession.objects.get()
    assert (session.status, session.package) == (DownloadStatus.CREATE_FAILED, None)
    assert session.message
    run("1010")
    session.refresh_from_db()
    assert (session.status, session.package) == (DownloadStatus.APPLIED, Package.objects.get())
