"""Verify: a clean ring is found clean, and every known damage is named by the right check."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from stores.channeldb.address import sqlite_path
from stores.models import ChannelDatabase, NumberSequence
from stores.pipeline.verify import Check, verify
from tests.conftest import empty_hq
from tests.make import make_customer, make_event, query, run

IDS = ["I1", "I2", "I3", "I4", "I5", "I7", "I11", "I13", "I15", "I17", "I18", "I28"]
NEED_CHANNELS = {"I5", "I7", "I15", "I17", "I18"}


def broken() -> dict[str, list[dict]]:
    return {check.id: check.offending for check in verify() if not check.ok}


def check(id: str) -> Check:
    return next(check for check in verify() if check.id == id)


def damage(statement: str) -> None:
    """Change HQ past all triggers and foreign keys, as a careless restore could."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement)


@contextmanager
def without(name: str) -> Iterator[None]:
    """HQ lacks a constraint or unique index; afterwards it is empty and has it again."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
                WHERE conname = %s""",
            [name],
        )
        if found := cursor.fetchone():
            drop = f"ALTER TABLE {found[0]} DROP CONSTRAINT {name} CASCADE"
            restore = f"ALTER TABLE {found[0]} ADD CONSTRAINT {name} {found[1]}"
        else:
            cursor.execute("SELECT pg_get_indexdef(%s::regclass)", [name])
            drop, restore = f"DROP INDEX {name}", cursor.fetchone()[0]
        cursor.execute(drop)
    try:
        yield
    finally:
        empty_hq()
        with connection.cursor() as cursor:
            cursor.execute(restore)


@pytest.fixture
def ring(houston: ChannelDatabase, popup: ChannelDatabase) -> list[ChannelDatabase]:
    """Two channels, one on each engine, with Ann and Bo everywhere and one row set aside."""
    for store, name in ((houston, "Ann"), (popup, "Bo")):
        guid = make_customer(store, first_name=name)
        make_event("address", store, async_account=guid, is_primary=True)
        make_event("contact", store, async_account=guid)
        make_event("address", store, async_account=guid, county="far too long for HQ")
    assert run("pipeline")["counts"]["quarantined"] == 2
    assert run("pipeline")["outcome"] == "nothing_to_do"
    return [houston, popup]


# ------------------------------------------------------------------ clean


def test_a_clean_ring_holds_every_promise(ring, command):
    found = json.loads(command("verify", "--json"))

    assert list(found) == ["ok", "checks"]
    assert found["ok"]
    assert [check["id"] for check in found["checks"]] == IDS
    assert {tuple(check) for check in found["checks"]} == {
        ("id", "title", "ok", "checked", "offending")
    }
    assert all(check["checked"] for check in found["checks"])


def test_an_empty_hq_holds_every_promise(hq):
    assert broken() == {}


def test_a_ring_in_motion_holds_every_promise(ring):
    houston, popup = ring
    for job in ("P-0001", "sync-customers", "1010"):
        guid = make_customer(houston)
        make_event("address", popup, async_account=uuid4())
        make_event("attribute", houston, async_account=guid)
        run(job)
        assert broken() == {}


def test_what_is_still_owed_is_told_and_no_breach(ring):
    make_customer(ring[0])
    run("P-0001")
    run("sync-customers")

    assert check("I18").ok
    assert "still owed (2)" in check("I18").title


def test_a_disabled_channel_is_neither_read_nor_missed(ring):
    ChannelDatabase.objects.filter(pk=ring[1].pk).update(is_enabled=False)
    query(ring[1], "DELETE FROM account_map")

    assert broken() == {}


def test_the_text_names_each_check_and_the_end(ring, command):
    lines = command("verify").splitlines()

    assert [line.split()[1] for line in lines[:-1]] == IDS
    assert lines[-1] == "All 12 hold."


def test_verifying_leaves_no_table_behind(ring):
    verify()

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'seen%'")
        assert cursor.fetchone() == (0,)


# ------------------------------------------------------------------ channels


def test_a_channel_that_cannot_be_read_breaks_the_checks_that_need_it(ring, command):
    path = sqlite_path(ring[1])
    path.rename(path.with_suffix(".away"))
    with pytest.raises(SystemExit) as end:
        call_command("verify", "--json")
    found = broken()
    path.with_suffix(".away").rename(path)

    assert end.value.code == 1
    assert set(found) == NEED_CHANNELS
    assert all(rows == [{"channel": "popup", "error": "unreachable"}] for rows in found.values())


CHANNEL_DAMAGE = {
    "a channel lost its map": ("DELETE FROM account_map", {"I18"}),
    "a channel gives a GUID another account": (
        "UPDATE account_map SET account_number = '005099'",
        {"I5", "I17"},
    ),
    "a channel gives a GUID an account of another company": (
        "UPDATE account_map SET company = 'NLRT'",
        {"I5", "I17", "I18"},
    ),
    "a channel knows a GUID that headquarters does not": (
        "INSERT INTO account_map (async_account, company, account_number)"
        " VALUES ('7c0e5a52-3a0b-4f0e-9d67-0f3f2c1a0001', 'USRT', '005001')",
        {"I17"},
    ),
    "a channel acknowledged a customer that headquarters has not": (
        "UPDATE async_customer SET acknowledged_at = '2026-01-01T00:00:00+00:00'"
        " WHERE first_name = 'Cy'",
        {"I7"},
    ),
    "a channel acknowledged an address that headquarters has not": (
        "UPDATE async_address SET acknowledged_at = '2026-01-01T00:00:00+00:00'"
        " WHERE city = 'Lost'",
        {"I7", "I15"},
    ),
    "a channel acknowledged a sale that nobody took": (
        "UPDATE retail_transaction SET acknowledged_at = '2026-01-01T00:00:00+00:00'",
        {"I7"},
    ),
}


@pytest.mark.parametrize("place", [0, 1], ids=["postgresql", "sqlite"])
@pytest.mark.parametrize("case", CHANNEL_DAMAGE)
def test_damage_in_a_channel_is_named(ring, place, case):
    statement, named = CHANNEL_DAMAGE[case]
    store = ring[place]
    make_customer(store, first_name="Cy")
    make_event("address", store, async_account=uuid4(), city="Lost")
    query(
        store,
        "INSERT INTO retail_transaction (event_id, occurred_at, transaction_id)"
        " VALUES (%s, '2026-01-01T00:00:00+00:00', 'T-1')",
        str(uuid4()),
    )
    assert broken() == {}

    query(store, statement)

    found = broken()
    assert set(found) == named
    assert all(row["channel"] == store.label for rows in found.values() for row in rows)


def test_a_guid_that_is_none_in_a_channel_is_named(ring):
    query(
        ring[1],
        "INSERT INTO account_map (async_account, company, account_number)"
        " VALUES (CAST(x'FF00' AS TEXT), CAST(x'FE' AS TEXT), 'a\tb')",
    )

    assert set(broken()) == {"I17", "I18"}


# ------------------------------------------------------------------ headquarters

HQ_DAMAGE = {
    "a customer vanished": (
        "DELETE FROM customer WHERE number = 5002",
        {"I3", "I13", "I15", "I17"},
    ),
    "the next number jumped": ("UPDATE number_sequence SET next = next + 5", {"I3"}),
    "the next number fell": ("UPDATE number_sequence SET next = 5001", {"I3"}),
    "the number sequence vanished": ("DELETE FROM number_sequence", {"I3"}),
    "an imported account took a number to come": (
        "INSERT INTO customer (company_id, account_number) VALUES ('USRT', '005077')",
        {"I3"},
    ),
    "an account was renamed": (
        "UPDATE customer SET account_number = 'X-1' WHERE number = 5001",
        {"I4", "I5", "I17"},
    ),
    "two GUIDs were exchanged": (
        """UPDATE guid_map SET origin = 'linked', customer_id =
               (SELECT sum(customer_id) FROM guid_map) - customer_id""",
        {"I2", "I5", "I15", "I17"},
    ),
    "headquarters forgot a GUID": (
        "DELETE FROM guid_map WHERE customer_id = (SELECT id FROM customer WHERE number = 5001)",
        {"I2", "I13", "I17"},
    ),
    "staging lost its contacts": ("DELETE FROM async_contact", {"I7", "I11"}),
    "staging lost its addresses": ("DELETE FROM async_address", {"I7", "I11", "I15"}),
    "staging lost its customers": ("DELETE FROM async_customer", {"I7", "I11", "I13"}),
    "the quarantine was emptied": ("DELETE FROM quarantine", {"I7", "I11", "I15"}),
    "an upload session vanished": ("DELETE FROM upload_session", {"I11"}),
    "an upload counts rows it has not": (
        "UPDATE upload_session SET read = read + 1, staged = staged + 1",
        {"I11"},
    ),
    "a delivery vanished": (
        "DELETE FROM delivery WHERE database_id = (SELECT min(database_id) FROM delivery)",
        {"I13"},
    ),
    "a conversion was half done": (
        "UPDATE async_customer SET status = 'pending', applied_at = NULL",
        {"I13"},
    ),
    "a delivery was noted that never was": (
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, origin)
           SELECT gen_random_uuid(), company_id, customer_id, channel_id, 'linked' FROM guid_map""",
        {"I13", "I18"},
    ),
    "an address lost its owner": (
        "UPDATE customer_address SET customer_id = -customer_id",
        {"I15"},
    ),
    "an event went to a stranger": (
        """UPDATE async_address SET customer_id = (SELECT max(id) FROM customer) + 1
            WHERE status = 'applied'""",
        {"I15"},
    ),
    "two runs have one fencing number": ("UPDATE job_run SET fencing_no = 1", {"I28"}),
    "a fencing number is yet to come": (
        "UPDATE job_run SET fencing_no = fencing_no + 1000000",
        {"I28"},
    ),
}


@pytest.mark.parametrize("case", HQ_DAMAGE)
def test_damage_at_headquarters_is_named(ring, case):
    statement, named = HQ_DAMAGE[case]

    damage(statement)

    assert set(broken()) == named


UNCONSTRAINED_DAMAGE = {
    "guid_map_pkey": (
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, origin)
           SELECT async_account, company_id, customer_id, channel_id, 'linked' FROM guid_map""",
        "I1",
    ),
    "account_is_unique_in_its_company": (
        """INSERT INTO customer (company_id, account_number)
           SELECT company_id, account_number FROM customer WHERE number IS NULL""",
        "I2",
    ),
    "one_guid_creates_an_account": (
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id)
           SELECT gen_random_uuid(), company_id, customer_id, channel_id FROM guid_map""",
        "I2",
    ),
    "number_is_issued_once_in_its_company": (
        "UPDATE customer SET number = 5001 WHERE number = 5002",
        "I3",
    ),
    "every_row_read_is_accounted_for": ("UPDATE upload_session SET read = read + 1", "I11"),
    "one_primary_address_per_purpose": (
        """INSERT INTO customer_address (address_id, customer_id, purpose, is_primary)
           SELECT gen_random_uuid(), customer_id, purpose, true FROM customer_address""",
        "I15",
    ),
    "one_live_run_per_job_and_scope": (
        """INSERT INTO job_run (id, job, scope, status, channels, companies, started_by, attempt,
                                counts, message, error)
           SELECT gen_random_uuid(), '1010', '*', 'queued', '[]', '[]', 'command', 1, '{}', '', ''
             FROM generate_series(1, 2)""",
        "I28",
    ),
}


@pytest.mark.parametrize("name", UNCONSTRAINED_DAMAGE)
def test_a_missing_constraint_and_what_it_would_have_refused_are_named(ring, name):
    statement, id = UNCONSTRAINED_DAMAGE[name]

    with without(name):
        missing = broken()[id]
        damage(statement)
        damaged = broken()[id]

    assert [row["missing"].split()[-3] for row in missing] == [name]
    assert len(damaged) > 1


@pytest.mark.parametrize(
    ("table", "trigger", "id"),
    [
        ("guid_map", "the_map_never_changes", "I5"),
        ("customer", "accounts_fit_their_sequence", "I3"),
        ("customer", "a_customer_is_never_deleted", "I3"),
        ("customer", "an_account_never_changes", "I4"),
        ("number_sequence", "the_next_number_never_falls", "I3"),
        ("delivery", "deliveries_have_customer_and_database", "I13"),
        ("job_run", "fencing_numbers_only_grow", "I28"),
        ("customer_address", "ALL", "I15"),
    ],
)
def test_a_trigger_that_is_switched_off_is_named(hq, table, trigger, id):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        found = broken()
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")

    assert set(found) == {id}
    assert table in found[id][0]["missing"]


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

    with pytest.raises(CommandError, match="1 of 12 broken: I3") as error:
        call_command("verify")

    assert error.value.returncode == 1
    assert "BROKEN  I3" in capsys.readouterr().out
