"""The number journal: what was issued is kept beside the database, and tells when HQ forgets."""

import re
import resource

import pytest
from django.conf import settings
from django.db import connection

from stores import failpoints
from stores.models import (
    Customer,
    GuidMap,
    Headquarters,
    Incident,
    JobRun,
    NumberJournal,
    NumberSequence,
)
from stores.models.incident import IncidentKind
from stores.models.run import RunStatus
from stores.pipeline import number_journal
from tests.support.damage import check
from tests.support.make import make_customer, make_event, query, run
from tests.support.processes import Died, die

pytestmark = pytest.mark.slow

POINTS = [name for name in failpoints.CRASH_POINTS if name.startswith("journal:")]


def lines():
    """The journal without its first line and without times and hashes."""
    title, *rest = number_journal.place().read_text().splitlines()
    assert re.fullmatch(r"# syncline number journal [0-9a-f-]{36}", title)
    return ["\t".join(line.split("\t")[:5]) for line in rest]


def expected():
    """What the journal should hold, by the database."""
    found = GuidMap.objects.select_related("customer", "channel").order_by("customer__number")
    return [
        f"{one.company_id}\t{one.customer.number}\t{one.pk}\t{one.customer}\t{one.channel.code}"
        for one in found
    ]


def forget_last_customer():
    """Set HQ back to before its last conversion, as a restored backup does."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE number_sequence SET next = next - 1")
        cursor.execute("DELETE FROM number_journal")
        cursor.execute("DELETE FROM guid_map WHERE customer_id = (SELECT max(id) FROM customer)")
        cursor.execute("DELETE FROM delivery WHERE customer_id = (SELECT max(id) FROM customer)")
        cursor.execute("DELETE FROM customer WHERE id = (SELECT max(id) FROM customer)")
        cursor.execute("SET session_replication_role = DEFAULT")


def test_every_number_is_in_the_journal_once(houston, popup):
    make_customer(houston, "Ann")
    run("pipeline")
    make_customer(popup, "Bo")
    run("pipeline")

    assert lines() == expected()
    assert len(lines()) == 2


def test_verify_names_a_number_that_only_the_journal_still_knows(houston):
    make_customer(houston)
    run("P-0001")
    run("sync-customers")
    forget_last_customer()

    ahead = check("I31")

    assert not ahead.ok
    assert ahead.offending == [
        {"place": "number journal", "company": "USRT", "highest": 5001, "next": 5001}
    ]


def test_a_dry_run_writes_nothing_into_the_journal(houston):
    make_customer(houston)

    run("pipeline", dry_run=True)

    assert not number_journal.place().exists()


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_dies_while_it_writes_the_journal_leaves_it_complete_in_the_end(
    houston, monkeypatch, point
):
    make_customer(houston)
    run("sync-customers")
    run("P-0001")
    monkeypatch.setitem(failpoints.armed, point, die)
    with pytest.raises(Died):
        run("sync-customers")
    monkeypatch.delitem(failpoints.armed, point)
    JobRun.objects.filter(status=RunStatus.RUNNING).update(
        status=RunStatus.LOST, ended_at="2026-01-01T00:00Z"
    )

    run("pipeline")

    assert set(lines()) == set(expected())
    assert query(houston, "SELECT account_number FROM account_map") == [("005001",)]
    assert not Incident.objects.exists()


def test_a_number_that_is_not_in_the_journal_does_not_leave_hq(houston, monkeypatch):
    make_customer(houston)
    monkeypatch.setattr(number_journal, "keep", lambda: None)

    found = run("pipeline")

    assert found["counts"]["converted"] == 1
    assert query(houston, "SELECT 1 FROM account_map") == []
    monkeypatch.undo()
    run("1010")
    assert query(houston, "SELECT account_number FROM account_map") == [("005001",)]
    assert lines() == expected()


@pytest.mark.fault("F-36")
def test_numbers_that_the_database_does_not_know_stop_conversion(houston):
    make_customer(houston, "Ann")
    run("P-0001")
    run("sync-customers")
    forget_last_customer()
    make_customer(houston, "Bo")
    run("P-0001")

    found = run("sync-customers")
    again = run("sync-customers")

    assert found["outcome"] == again["outcome"] == "failed"
    assert "it was restored from an older backup" in found["message"]
    told = Incident.objects.open().get()
    assert told.kind == IncidentKind.HQ_BEHIND
    assert told.detail == {"count": 1, "first": ["USRT 005001"]}
    assert not Customer.objects.filter(number__isnull=False).exists()
    assert NumberSequence.objects.get().next == 5001


def test_a_journal_that_was_lost_is_written_anew(houston):
    make_customer(houston, "Ann")
    run("pipeline")
    number_journal.place().unlink()
    make_customer(houston, "Bo")

    assert run("pipeline")["outcome"] == "succeeded"

    assert lines() == expected()
    assert NumberJournal.objects.count() == 2


def test_a_journal_that_was_cut_is_completed(houston):
    make_customer(houston, "Ann")
    make_customer(houston, "Bo")
    run("pipeline")
    whole = number_journal.place().read_bytes()
    number_journal.place().write_bytes(whole[:-30])

    run("sync-customers")

    assert lines()[-1] == expected()[-1]
    assert set(expected()) <= set(lines())


def test_a_journal_from_an_older_copy_is_completed(houston):
    make_customer(houston, "Ann")
    run("pipeline")
    old = number_journal.place().read_bytes()
    make_customer(houston, "Bo")
    run("pipeline")
    number_journal.place().write_bytes(old)

    run("sync-customers")

    assert lines() == expected()


def test_a_start_reads_only_what_is_new(houston, monkeypatch):
    make_customer(houston)
    run("pipeline")
    read = []
    parse = number_journal.parse
    monkeypatch.setattr(number_journal, "parse", lambda line: read.append(line) or parse(line))

    run("sync-customers")

    assert read == []


def test_the_journal_lies_in_the_data_directory_unless_told_otherwise(hq):
    assert number_journal.place().is_relative_to(settings.SYNCLINE_DATA_DIR)


def test_on_another_server_no_number_is_issued_until_every_channel_was_visited(houston, popup):
    make_customer(houston)
    run("sync-customers")
    moved = {"database": 1}
    Headquarters.objects.update(identity=moved)
    run("P-0001")

    first = run("sync-customers")
    run("P-0001", channels=["houston"])
    second = run("sync-customers")
    run("P-0001")
    third = run("sync-customers")

    assert [one["outcome"] for one in (first, second, third)] == ["failed", "failed", "succeeded"]
    assert "Not visited since: popup." in second["message"]
    assert Headquarters.objects.get().identity == number_journal.identity()
    told = Incident.objects.get()
    assert (told.kind, told.detail["before"]) == (IncidentKind.HQ_MOVED, moved)
    assert "agrees with headquarters" in told.closing_reason


def test_a_person_may_release_a_move(houston):
    make_customer(houston)
    run("pipeline")
    Headquarters.objects.update(identity={"database": 1})
    assert run("sync-customers")["outcome"] == "failed"

    Incident.objects.get().close("Promoted the standby.")

    assert run("sync-customers")["outcome"] == "nothing_to_do"
    assert Headquarters.objects.get().identity == number_journal.identity()


@pytest.fixture
def no_room():
    """No file of this process may grow, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (number_journal.place().stat().st_size, before[1])
        )

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_v14a_a_full_disk_of_the_journal_is_told_and_what_has_its_number_goes_on(houston, no_room):
    guid = make_customer(houston, "Ann")
    run("pipeline")
    make_event("customer", houston, operation="update", async_account=guid, first_name="Eve")
    make_customer(houston, "Bo")
    no_room()

    found = run("pipeline")
    refused = run("sync-customers")

    [incident] = Incident.objects.open()
    assert incident.kind == IncidentKind.JOURNAL_UNUSABLE
    assert "The number journal cannot be written: File too large." in refused["message"]
    assert found["outcome"] == "partly"
    assert query(houston, "SELECT account_number, first_name FROM customer") == [("005001", "Eve")]


def test_v14a_a_journal_goes_on_once_there_is_room_again(houston, no_room):
    make_customer(houston, "Ann")
    run("pipeline")
    make_customer(houston, "Bo")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    no_room()
    run("pipeline")
    resource.setrlimit(resource.RLIMIT_FSIZE, before)

    run("pipeline")

    assert lines() == expected()
    assert not Incident.objects.open()
    assert query(houston, "SELECT count(*) FROM account_map") == [(2,)]


def test_v15_a_journal_folder_that_is_a_file_is_told(houston, settings, tmp_path):
    settings.NUMBER_JOURNAL_DIR = tmp_path / "file"
    settings.NUMBER_JOURNAL_DIR.write_text("")
    make_customer(houston)

    found = run("pipeline")

    assert "The number journal cannot be written" in found["message"]
    assert Customer.objects.filter(number__isnull=False).count() == 0


def test_v16_a_writer_that_was_stopped_for_a_while_overwrites_nobody(houston, monkeypatch):
    make_customer(houston, "Ann")
    run("pipeline")
    make_customer(houston, "Bo")
    looked = number_journal.ends_a_line

    def stopped_after_looking(file):
        found = looked(file)
        with number_journal.place().open("ab") as other:
            other.write(b"# written meanwhile\n")
        return found

    monkeypatch.setattr(number_journal, "ends_a_line", stopped_after_looking)
    run("pipeline")

    assert b"# written meanwhile\n" in number_journal.place().read_bytes()
    assert set(expected()) <= set(lines())
