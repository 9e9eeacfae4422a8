"""Verify names what is wrong in a channel, on both engines."""

from uuid import uuid4

import pytest
from django.core.management import call_command

from stores.channeldb.connect.url import sqlite_path
from tests.support.damage import broken, damage_channel
from tests.support.make import make_customer, make_event, query

pytestmark = pytest.mark.slow

NEED_CHANNELS = {f"I{n}" for n in (5, 6, 7, 8, 9, 15, 17, 18, 19, 20, 30, 31, 40)}


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
        {"I5", "I17", "I31"},
    ),
    "a channel gives a GUID an account of another company": (
        "UPDATE account_map SET company = 'NLRT'",
        {"I5", "I6", "I17"},
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
    "an upload left an event behind": (
        "UPDATE async_address SET acknowledged_at = NULL WHERE county IS NULL",
        "UPDATE async_address SET acknowledged_at = '2026-01-01T00:00:00+00:00'"
        " WHERE county IS NOT NULL",
        {"I8"},
    ),
    "an event vanished from a channel": ("DELETE FROM async_contact", {"I9"}),
    "an event was changed after it was written": (
        "UPDATE async_customer SET phone = '1' WHERE first_name <> 'Cy'",
        {"I40"},
    ),
    "an event was dated anew": (
        "UPDATE async_contact SET occurred_at = '2026-01-01T00:00:00+00:00'",
        {"I40"},
    ),
    "a channel lost its customers": ("DELETE FROM customer", {"I19"}),
    "a channel holds older customers than it was given": (
        "UPDATE customer SET hq_version = 0",
        {"I19"},
    ),
    "a channel is at another visit": ("UPDATE exchange_state SET epoch = epoch + 7", {"I30"}),
    "a channel is at the visit of another HQ": (
        "UPDATE exchange_state SET nonce = '7c0e5a52-3a0b-4f0e-9d67-0f3f2c1a0002'",
        {"I30"},
    ),
    "a channel is another database": (
        "UPDATE exchange_state SET database_id = '7c0e5a52-3a0b-4f0e-9d67-0f3f2c1a0003'",
        {"I30"},
    ),
    "a channel heard of numbers that headquarters has still to issue": (
        """UPDATE exchange_state SET account_high = '{"USRT": 5003, "NLRT": 1}'""",
        {"I31"},
    ),
    "tills are shown a GUID for an account": (
        "DROP VIEW customer_lookup",
        "CREATE VIEW customer_lookup AS SELECT CAST(async_account AS TEXT) AS display_account,"
        " company, account_number, async_account, 1 = 0 AS is_pending FROM customer",
        {"I20"},
    ),
    "tills are shown everybody twice": (
        "DROP VIEW customer_lookup",
        "CREATE VIEW customer_lookup AS SELECT account_number AS display_account, company,"
        " account_number, async_account, 1 = 0 AS is_pending FROM customer UNION ALL"
        " SELECT account_number, company, account_number, async_account, 1 = 0 FROM customer",
        {"I20"},
    ),
}


@pytest.mark.parametrize("case", CHANNEL_DAMAGE)
def test_damage_in_a_channel_is_named_on_either_engine(ring, case):
    *statements, named = CHANNEL_DAMAGE[case]
    for store in ring:
        make_customer(store, first_name="Cy")
        make_event("address", store, async_account=uuid4(), city="Lost")
        query(
            store,
            "INSERT INTO retail_transaction (event_id, occurred_at, transaction_id)"
            " VALUES (%s, '2026-01-01T00:00:00+00:00', 'T-1')",
            str(uuid4()),
        )
    assert broken() == {}

    for store in ring:
        damage_channel(store, *statements)

    found = broken()
    assert set(found) == named
    for rows in found.values():
        assert {row["channel"] for row in rows} == {"houston", "popup"}


def test_a_guid_that_is_none_in_a_channel_is_named(ring):
    query(
        ring[1],
        "INSERT INTO account_map (async_account, company, account_number)"
        " VALUES (CAST(x'FF00' AS TEXT), CAST(x'FE' AS TEXT), 'a\tb')",
    )

    assert set(broken()) == {"I6", "I17"}
