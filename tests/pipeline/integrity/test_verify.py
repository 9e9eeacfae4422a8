"""The command verify: an intact installation passes every check, also while jobs run.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `command` calls a
management command and returns its output; `ring` has houston and popup after a run, with Ann, Bo
and two quarantined addresses.
"""

import json
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from stores.models import ChannelDatabase, NumberSequence
from stores.models.job import JobCode
from stores.pipeline.integrity.verify import verify
from tests.support.damage import damage
from tests.support.invariants import Invariant
from tests.support.make import make_customer, make_event, query, run
from tests.support.promises import failed_checks, get_check

CHECKS_OF_SALES = [f"I{n}" for n in range(21, 28)]
CHECKS = [f"I{n}" for n in (*range(1, 35), 40)]


def test_an_intact_ring_passes_every_check(ring, command):
    document = json.loads(command("verify", "--json"))

    assert list(document) == ["ok", "checks"]
    assert document["ok"]
    assert [check["id"] for check in document["checks"]] == CHECKS
    for check in document["checks"]:
        assert list(check) == ["id", "title", "ok", "checked", "offending", "late"]
        # There are no sales in the ring.
        assert check["checked"] or check["id"] in CHECKS_OF_SALES


def test_an_empty_hq_passes_every_check(hq):
    assert failed_checks() == {}


@pytest.mark.slow
def test_every_check_passes_between_two_jobs(ring, houston, popup):
    for job in (JobCode.UPLOAD, JobCode.CONVERT, JobCode.DOWNLOAD):
        guid = make_customer(houston)
        make_event("address", popup, async_account=uuid4())
        make_event("attribute", houston, async_account=guid)
        run(job)
        assert failed_checks() == {}, job


@pytest.mark.slow
def test_pending_deliveries_are_counted_as_late_and_fail_no_check(ring, houston):
    make_customer(houston)
    run(JobCode.UPLOAD)
    run(JobCode.CONVERT)

    check = get_check(Invariant.EVERY_CHANNEL_GETS_EVERY_ACCOUNT)

    assert check.ok
    assert check.late == 2


def test_a_disabled_channel_is_not_checked(ring, popup):
    ChannelDatabase.objects.filter(pk=popup.pk).update(is_enabled=False)
    query(popup, "DELETE FROM account_map")

    assert failed_checks() == {}


def test_the_text_names_each_check_and_ends_with_a_summary(ring, command):
    *checks, summary = command("verify").splitlines()

    assert [line.split()[1] for line in checks] == CHECKS
    assert summary == "All 35 hold."


def test_verify_drops_its_temporary_tables(ring):
    verify()

    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()")
        assert cursor.fetchall() == []


def test_at_most_twenty_rows_of_a_check_are_named(ring):
    NumberSequence.objects.update(next=6000)
    damage(
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, origin)
           SELECT gen_random_uuid(), company_id, customer_id, channel_id, 'linked'
             FROM guid_map, generate_series(1, 20)"""
    )

    assert len(failed_checks()[Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER]) == 20


def test_the_command_fails_and_names_the_failed_check(ring, capsys):
    damage("UPDATE number_sequence SET next = next + 5")

    with pytest.raises(CommandError, match="1 of 35 broken: I3") as error:
        call_command("verify")

    assert error.value.returncode == 1
    assert "BROKEN  I3" in capsys.readouterr().out
