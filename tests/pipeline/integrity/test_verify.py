"""Verify: a clean ring is found clean, also in motion, and the command says what it found."""

import json
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from stores.models import ChannelDatabase, NumberSequence
from stores.pipeline.integrity.verify import verify
from tests.support.damage import broken, check, damage
from tests.support.make import make_customer, make_event, query, run

OF_SALES = [f"I{n}" for n in range(21, 28)]
IDS = [f"I{n}" for n in (*range(1, 35), 40)]


def test_a_clean_ring_holds_every_promise(ring, command):
    found = json.loads(command("verify", "--json"))

    assert list(found) == ["ok", "checks"]
    assert found["ok"]
    assert [check["id"] for check in found["checks"]] == IDS
    assert {tuple(check) for check in found["checks"]} == {
        ("id", "title", "ok", "checked", "offending", "late")
    }
    of_customers = [check for check in found["checks"] if check["id"] not in OF_SALES]
    assert all(check["checked"] for check in of_customers)


def test_an_empty_hq_holds_every_promise(hq):
    assert broken() == {}


@pytest.mark.slow
def test_a_ring_in_motion_holds_every_promise(ring):
    houston, popup = ring
    for job in ("P-0001", "sync-customers", "1010"):
        guid = make_customer(houston)
        make_event("address", popup, async_account=uuid4())
        make_event("attribute", houston, async_account=guid)
        run(job)
        assert broken() == {}


@pytest.mark.slow
def test_what_is_still_owed_is_told_and_no_breach(ring):
    make_customer(ring[0])
    run("P-0001")
    run("sync-customers")

    assert check("I18").ok
    assert check("I18").late == 2


def test_a_disabled_channel_is_neither_read_nor_missed(ring):
    ChannelDatabase.objects.filter(pk=ring[1].pk).update(is_enabled=False)
    query(ring[1], "DELETE FROM account_map")

    assert broken() == {}


def test_the_text_names_each_check_and_the_end(ring, command):
    lines = command("verify").splitlines()

    assert [line.split()[1] for line in lines[:-1]] == IDS
    assert lines[-1] == "All 35 hold."


def test_verifying_leaves_no_table_behind(ring):
    verify()

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'seen%'")
        assert cursor.fetchone() == (0,)


def test_of_many_breaches_twenty_are_named(ring):
    NumberSequence.objects.update(next=6000)
    damage(
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, origin)
           SELECT gen_random_uuid(), company_id, customer_id, channel_id, 'linked'
             FROM guid_map, generate_series(1, 20)"""
    )

    assert len(broken()["I13"]) == 20


def test_a_broken_promise_ends_with_status_1_and_its_name(ring, capsys):
    damage("UPDATE number_sequence SET next = next + 5")

    with pytest.raises(CommandError, match="1 of 35 broken: I3") as error:
        call_command("verify")

    assert error.value.returncode == 1
    assert "BROKEN  I3" in capsys.readouterr().out
