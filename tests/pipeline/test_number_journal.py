"""The number journal records issued numbers outside of HQ, and shows that HQ was restored.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite.
"""

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import Mock

import pytest
from django.conf import settings
from django.db import connection
from psycopg2 import sql

from stores import failpoints
from stores.hqdb.sql import run_sql
from stores.jobs.stalled import recover_lost_steps
from stores.messages.message import Message
from stores.models import (
    Customer,
    GuidMap,
    Headquarters,
    Incident,
    NumberJournal,
    NumberSequence,
    SettledEvent,
)
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.pipeline import number_journal
from tests.support.invariants import Invariant
from tests.support.make import make_customer, make_event, query, run
from tests.support.plans import never_analyzed, plan_of
from tests.support.processes import dying_at
from tests.support.promises import broken_promises, get_check

pytestmark = pytest.mark.slow

JOURNAL_FAILPOINTS = [name for name in failpoints.FAILPOINTS if name.startswith("journal:")]


def journal_entries():
    """Company, number, GUID, account and channel of each line of the journal."""
    title, *lines = number_journal.journal_path().read_text().splitlines()
    assert re.fullmatch(r"# syncline number journal [0-9a-f-]{36}", title)
    return [tuple(line.split("\t")[:5]) for line in lines]


def issued_numbers():
    """The same for each account that HQ has issued."""
    guids = GuidMap.objects.select_related("customer", "channel").order_by("customer__number")
    return [
        (
            guid.company_id,
            str(guid.customer.number),
            str(guid.pk),
            guid.customer.account_number,
            guid.channel.code,
        )
        for guid in guids
    ]


def lose_last_customer():
    """Set HQ back to before its last conversion, as a restored backup does."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE number_sequence SET next = next - 1")
        cursor.execute("DELETE FROM number_journal")
        cursor.execute("DELETE FROM guid_map WHERE customer_id = (SELECT max(id) FROM customer)")
        cursor.execute(
            "DELETE FROM customer_change WHERE customer_id = (SELECT max(id) FROM customer)"
        )
        cursor.execute("DELETE FROM customer WHERE id = (SELECT max(id) FROM customer)")
        cursor.execute("SET session_replication_role = DEFAULT")


def test_every_number_is_in_the_journal_once(houston, popup):
    make_customer(houston, "Ann")
    run(JobCode.PIPELINE)
    make_customer(popup, "Bo")
    run(JobCode.PIPELINE)

    assert journal_entries() == issued_numbers()
    assert len(journal_entries()) == 2


def test_a_number_that_only_the_journal_has_fails_a_check(houston):
    make_customer(houston)
    run(JobCode.UPLOAD)
    run(JobCode.CONVERT)
    lose_last_customer()

    check = get_check(Invariant.NO_NUMBER_IS_AHEAD_OF_HQ)

    assert not check.ok
    assert check.offending == [
        {"place": "number journal", "company": "USRT", "highest": 5001, "next": 5001}
    ]


def test_a_dry_run_writes_nothing_into_the_journal(houston):
    make_customer(houston)

    run(JobCode.PIPELINE, dry_run=True)

    assert not number_journal.journal_path().exists()


@pytest.mark.parametrize("failpoint", JOURNAL_FAILPOINTS)
def test_the_journal_is_completed_after_its_writer_died(houston, failpoint):
    make_customer(houston)
    run(JobCode.CONVERT)
    run(JobCode.UPLOAD)
    with dying_at(failpoint):
        run(JobCode.CONVERT)
    recover_lost_steps()

    run(JobCode.PIPELINE)

    assert set(journal_entries()) == set(issued_numbers())
    assert query(houston, "SELECT account_number FROM account_map") == [("005001",)]
    assert not Incident.objects.exists()


def test_a_number_is_not_distributed_before_it_is_journaled(houston, monkeypatch):
    make_customer(houston)

    with monkeypatch.context() as patch:
        patch.setattr(number_journal, "append_missing", lambda: None)
        pipeline = run(JobCode.PIPELINE)

    assert pipeline["counts"]["converted"] == 1
    assert query(houston, "SELECT 1 FROM account_map") == []

    run(JobCode.DOWNLOAD)
    assert query(houston, "SELECT account_number FROM account_map") == [("005001",)]
    assert journal_entries() == issued_numbers()


@pytest.mark.fault("F-36")  # HQ lost its last seconds
def test_numbers_in_the_journal_that_hq_has_lost_stop_conversion(houston):
    make_customer(houston, "Ann")
    run(JobCode.UPLOAD)
    run(JobCode.CONVERT)
    lose_last_customer()
    make_customer(houston, "Bo")
    run(JobCode.UPLOAD)

    first = run(JobCode.CONVERT)
    second = run(JobCode.CONVERT)

    assert (first["outcome"], second["outcome"]) == ("failed", "failed")
    assert "it was restored from an older backup" in first["message"]
    incident = Incident.objects.open().get()
    assert incident.kind == IncidentKind.HQ_BEHIND
    assert incident.detail == {"count": 1, "first": ["USRT 005001"]}
    assert not Customer.objects.filter(number__isnull=False).exists()
    assert NumberSequence.objects.get().next == 5001


def test_a_series_of_a_newer_release_is_named_as_it_is():
    message = number_journal.number_up_to("credit note", "CN-7", "USRT")

    assert str(Message.from_data(message.data)) == "credit note numbers up to CN-7 (USRT)"


def test_a_lost_journal_is_written_anew(houston):
    make_customer(houston, "Ann")
    run(JobCode.PIPELINE)
    number_journal.journal_path().unlink()
    make_customer(houston, "Bo")

    assert run(JobCode.PIPELINE)["outcome"] == "succeeded"

    assert journal_entries() == issued_numbers()
    assert NumberJournal.objects.count() == 2


def test_a_truncated_journal_is_completed(houston):
    make_customer(houston, "Ann")
    make_customer(houston, "Bo")
    run(JobCode.PIPELINE)
    content = number_journal.journal_path().read_bytes()
    number_journal.journal_path().write_bytes(content[:-30])

    run(JobCode.CONVERT)

    assert journal_entries()[-1] == issued_numbers()[-1]
    assert set(issued_numbers()) <= set(journal_entries())


def test_a_restored_journal_is_completed(houston):
    make_customer(houston, "Ann")
    run(JobCode.PIPELINE)
    backup = number_journal.journal_path().read_bytes()
    make_customer(houston, "Bo")
    run(JobCode.PIPELINE)
    number_journal.journal_path().write_bytes(backup)

    run(JobCode.CONVERT)

    assert journal_entries() == issued_numbers()


def test_lines_that_were_read_before_are_not_read_again(houston, monkeypatch):
    make_customer(houston)
    run(JobCode.PIPELINE)
    parse = Mock(wraps=number_journal.parse)
    monkeypatch.setattr(number_journal, "parse", parse)

    run(JobCode.CONVERT)

    parse.assert_not_called()


def test_the_journal_is_in_the_data_directory_by_default(hq):
    assert number_journal.journal_path().is_relative_to(settings.SYNCLINE_DATA_DIR)


def test_after_a_move_numbers_wait_for_every_channel(houston, popup):
    make_customer(houston)
    run(JobCode.CONVERT)
    other_server = {"database": 1}
    Headquarters.objects.update(identity=other_server)
    run(JobCode.UPLOAD)

    assert run(JobCode.CONVERT)["outcome"] == "failed"
    run(JobCode.UPLOAD, channels=["houston"])
    after_houston = run(JobCode.CONVERT)
    run(JobCode.UPLOAD)
    after_both = run(JobCode.CONVERT)

    assert after_houston["outcome"] == "failed"
    assert "Not visited since: popup." in after_houston["message"]
    assert after_both["outcome"] == "succeeded"
    assert Headquarters.objects.get().identity == number_journal.server_identity()
    incident = Incident.objects.get()
    assert (incident.kind, incident.detail["before"]) == (IncidentKind.HQ_MOVED, other_server)
    assert "agrees with headquarters" in incident.closing_reason


def test_a_person_may_confirm_a_move(houston):
    make_customer(houston)
    run(JobCode.PIPELINE)
    Headquarters.objects.update(identity={"database": 1})
    assert run(JobCode.CONVERT)["outcome"] == "failed"

    Incident.objects.get().close("Promoted the standby.")

    assert run(JobCode.CONVERT)["outcome"] == "nothing_to_do"
    assert Headquarters.objects.get().identity == number_journal.server_identity()


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow beyond the size of the journal."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal_size = number_journal.journal_path().stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal_size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.finding(id="V14a")
def test_issued_accounts_are_distributed_though_the_disk_is_full(houston):
    guid = make_customer(houston, "Ann")
    run(JobCode.PIPELINE)
    make_event("customer", houston, operation="update", async_account=guid, first_name="Eve")
    make_customer(houston, "Bo")

    with full_disk():
        pipeline = run(JobCode.PIPELINE)
        conversion = run(JobCode.CONVERT)

    assert pipeline["outcome"] == "partly"
    assert "The number journal cannot be written: File too large." in conversion["message"]
    assert Incident.objects.open().get().kind == IncidentKind.JOURNAL_UNUSABLE
    assert query(houston, "SELECT account_number, first_name FROM customer") == [("005001", "Eve")]


@pytest.mark.finding(id="V14a")
def test_the_journal_is_written_once_the_disk_has_room_again(houston):
    make_customer(houston, "Ann")
    run(JobCode.PIPELINE)
    make_customer(houston, "Bo")
    with full_disk():
        run(JobCode.PIPELINE)

    run(JobCode.PIPELINE)

    assert journal_entries() == issued_numbers()
    assert not Incident.objects.open()
    assert query(houston, "SELECT count(*) FROM account_map") == [(2,)]


@pytest.mark.finding(id="V14a")
@pytest.mark.parametrize("failpoint", failpoints.EDITS_POINTS)
def test_edits_continue_after_a_crash_on_a_full_disk(houston, failpoint):
    guid = make_customer(houston, "Ann")
    run(JobCode.PIPELINE)
    make_customer(houston, "Bo")
    with full_disk():
        run(JobCode.PIPELINE)
    make_event("customer", houston, operation="update", async_account=guid, first_name="Eve")
    make_customer(houston, "Cy")
    run(JobCode.UPLOAD)
    with full_disk(), dying_at(failpoint):
        run(JobCode.CONVERT)
    recover_lost_steps()

    with full_disk():
        run(JobCode.CONVERT)

    assert Customer.objects.get(number=5001).first_name == "Eve"
    assert SettledEvent.objects.count() == 1
    assert Customer.objects.filter(number__isnull=False).count() == 2
    run(JobCode.PIPELINE)
    assert journal_entries() == issued_numbers()
    assert broken_promises() == []


@pytest.mark.finding(id="V15")
def test_no_number_is_issued_without_a_journal_folder(houston, settings, tmp_path):
    settings.NUMBER_JOURNAL_DIR = tmp_path / "file"
    settings.NUMBER_JOURNAL_DIR.write_text("")
    make_customer(houston)

    pipeline = run(JobCode.PIPELINE)

    assert "The number journal cannot be written" in pipeline["message"]
    assert Customer.objects.filter(number__isnull=False).count() == 0


@pytest.mark.finding(id="V16")
def test_a_writer_that_was_paused_does_not_overwrite_another_writer(houston, monkeypatch):
    make_customer(houston, "Ann")
    run(JobCode.PIPELINE)
    make_customer(houston, "Bo")
    ends_a_line = number_journal.ends_a_line

    def check_and_let_other_write(file):
        result = ends_a_line(file)
        with number_journal.journal_path().open("ab") as other:
            other.write(b"# written meanwhile\n")
        return result

    monkeypatch.setattr(number_journal, "ends_a_line", check_and_let_other_write)

    run(JobCode.PIPELINE)

    assert b"# written meanwhile\n" in number_journal.journal_path().read_bytes()
    assert set(issued_numbers()) <= set(journal_entries())


def test_numbers_are_looked_up_one_by_one_where_the_statistics_expect_no_guids(hq):
    numbers = {"company": "USRT", "first": 5001, "following": 15001}
    statement = sql.SQL(number_journal.MISSING_NUMBERS).format(
        **{name: sql.Literal(value) for name, value in numbers.items()}
    )

    with never_analyzed():
        # As after all rows were deleted.
        run_sql("UPDATE pg_class SET reltuples = 0, relpages = 1 WHERE relname = 'guid_map'")
        run_sql("UPDATE pg_class SET reltuples = 5000, relpages = 1 WHERE relname = 'customer'")
        plan = plan_of(statement)

    assert "customer_id = customer.id" in plan
    assert "Join Filter" not in plan
