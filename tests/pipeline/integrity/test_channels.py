"""Damage in a channel is named by the checks of verify, on both engines.

From conftest.py: `popup` is a store on SQLite; `ring` has houston and popup after a run, with Ann,
Bo and two quarantined addresses.
"""
# ruff: noqa: S608 - only constants of this file are put into SQL

from dataclasses import dataclass
from uuid import uuid4

import pytest
from django.core.management import call_command

from stores.models import ChannelDatabase
from tests.support.damage import damage_channel
from tests.support.invariants import Invariant
from tests.support.make import make_customer, make_event, out_of_reach, query
from tests.support.promises import failed_checks

pytestmark = pytest.mark.slow

MOMENT = "'2026-01-01T00:00:00+00:00'"
NOT_UPLOADED = "Cy"
CHECKS_OF_CHANNELS = {
    Invariant.GUID_KEEPS_ITS_ACCOUNT,
    Invariant.COMPANIES_STAY_APART,
    Invariant.ACKNOWLEDGED_IS_AT_HQ,
    Invariant.NO_EVENT_IS_SKIPPED,
    Invariant.HQ_INVENTS_NO_EVENT,
    Invariant.ADDRESS_HAS_ONE_OWNER,
    Invariant.CHANNEL_KNOWS_HQ_ACCOUNTS,
    Invariant.EVERY_CHANNEL_GETS_EVERY_ACCOUNT,
    Invariant.CHANNEL_HOLDS_WHAT_IT_SAYS,
    Invariant.LOOKUP_SHOWS_EACH_ONCE,
    Invariant.CHANNEL_IS_THE_REGISTERED_ONE,
    Invariant.NO_NUMBER_IS_AHEAD_OF_HQ,
    Invariant.EVENTS_NEVER_CHANGE,
}


@dataclass(frozen=True)
class Damage:
    """Statements that damage a channel, and the checks that must fail afterwards."""

    statements: list[str]
    checks: set[str]


DAMAGES = {
    "a channel lost its map": Damage(
        ["DELETE FROM account_map"], {Invariant.EVERY_CHANNEL_GETS_EVERY_ACCOUNT}
    ),
    "a channel has another account for a GUID": Damage(
        ["UPDATE account_map SET account_number = '005099'"],
        {
            Invariant.GUID_KEEPS_ITS_ACCOUNT,
            Invariant.CHANNEL_KNOWS_HQ_ACCOUNTS,
            Invariant.NO_NUMBER_IS_AHEAD_OF_HQ,
        },
    ),
    "a channel has an account of another company for a GUID": Damage(
        ["UPDATE account_map SET company = 'NLRT'"],
        {
            Invariant.GUID_KEEPS_ITS_ACCOUNT,
            Invariant.COMPANIES_STAY_APART,
            Invariant.CHANNEL_KNOWS_HQ_ACCOUNTS,
        },
    ),
    "a channel knows a GUID that HQ does not know": Damage(
        [
            """INSERT INTO account_map (async_account, company, account_number)
               VALUES ('7c0e5a52-3a0b-4f0e-9d67-0f3f2c1a0001', 'USRT', '005001')"""
        ],
        {Invariant.CHANNEL_KNOWS_HQ_ACCOUNTS},
    ),
    "a channel acknowledged a customer that HQ does not hold": Damage(
        [
            f"UPDATE async_customer SET acknowledged_at = {MOMENT}"
            f" WHERE first_name = '{NOT_UPLOADED}'"
        ],
        {Invariant.ACKNOWLEDGED_IS_AT_HQ},
    ),
    "a channel acknowledged an address that HQ does not hold": Damage(
        [f"UPDATE async_address SET acknowledged_at = {MOMENT} WHERE city = 'Lost'"],
        {Invariant.ACKNOWLEDGED_IS_AT_HQ, Invariant.ADDRESS_HAS_ONE_OWNER},
    ),
    "a channel acknowledged a sale that HQ does not hold": Damage(
        [f"UPDATE retail_transaction SET acknowledged_at = {MOMENT}"],
        {Invariant.ACKNOWLEDGED_IS_AT_HQ},
    ),
    "an upload skipped an event": Damage(
        [
            # Each channel has two uploaded addresses, of which the later one has a county.
            "UPDATE async_address SET acknowledged_at = NULL WHERE county IS NULL",
            f"UPDATE async_address SET acknowledged_at = {MOMENT} WHERE county IS NOT NULL",
        ],
        {Invariant.NO_EVENT_IS_SKIPPED},
    ),
    "an event vanished from a channel": Damage(
        ["DELETE FROM async_contact"], {Invariant.HQ_INVENTS_NO_EVENT}
    ),
    "an event was changed after it was written": Damage(
        [f"UPDATE async_customer SET phone = '1' WHERE first_name <> '{NOT_UPLOADED}'"],
        {Invariant.EVENTS_NEVER_CHANGE},
    ),
    "an event got another date": Damage(
        [f"UPDATE async_contact SET occurred_at = {MOMENT}"], {Invariant.EVENTS_NEVER_CHANGE}
    ),
    "a channel lost its customers": Damage(
        ["DELETE FROM customer"], {Invariant.CHANNEL_HOLDS_WHAT_IT_SAYS}
    ),
    "a channel holds older customers than it was given": Damage(
        ["UPDATE customer SET hq_version = 0"], {Invariant.CHANNEL_HOLDS_WHAT_IT_SAYS}
    ),
    "a channel is at the epoch of another visit": Damage(
        ["UPDATE exchange_state SET epoch = epoch + 7"], {Invariant.CHANNEL_IS_THE_REGISTERED_ONE}
    ),
    "a channel has the nonce of another HQ": Damage(
        ["UPDATE exchange_state SET nonce = '7c0e5a52-3a0b-4f0e-9d67-0f3f2c1a0002'"],
        {Invariant.CHANNEL_IS_THE_REGISTERED_ONE},
    ),
    "a channel is another database": Damage(
        ["UPDATE exchange_state SET database_id = '7c0e5a52-3a0b-4f0e-9d67-0f3f2c1a0003'"],
        {Invariant.CHANNEL_IS_THE_REGISTERED_ONE},
    ),
    "a channel was told numbers that HQ has not issued": Damage(
        ["""UPDATE exchange_state SET account_high = '{"USRT": 5003, "NLRT": 1}'"""],
        {Invariant.NO_NUMBER_IS_AHEAD_OF_HQ},
    ),
    "the lookup shows a GUID instead of an account": Damage(
        [
            "DROP VIEW customer_lookup",
            """CREATE VIEW customer_lookup AS
               SELECT CAST(async_account AS TEXT) AS display_account, company, account_number,
                      async_account, 1 = 0 AS is_pending
                 FROM customer""",
        ],
        {Invariant.LOOKUP_SHOWS_EACH_ONCE},
    ),
    "the lookup shows every customer twice": Damage(
        [
            "DROP VIEW customer_lookup",
            """CREATE VIEW customer_lookup AS
               SELECT account_number AS display_account, company, account_number, async_account,
                      1 = 0 AS is_pending
                 FROM customer
               UNION ALL
               SELECT account_number, company, account_number, async_account, 1 = 0
                 FROM customer""",
        ],
        {Invariant.LOOKUP_SHOWS_EACH_ONCE},
    ),
}


@pytest.fixture
def full_ring(ring) -> list[ChannelDatabase]:
    """The ring, with a customer, an address and a sale in each channel that are not uploaded."""
    for store in ring:
        make_customer(store, first_name=NOT_UPLOADED)
        make_event("address", store, async_account=uuid4(), city="Lost")
        query(
            store,
            f"""INSERT INTO retail_transaction (event_id, occurred_at, transaction_id)
                VALUES (%s, {MOMENT}, 'T-1')""",
            str(uuid4()),
        )
    assert failed_checks() == {}
    return ring


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_in_a_channel_fails_its_checks_on_either_engine(full_ring, damage):
    for store in full_ring:
        damage_channel(store, *damage.statements)

    failed = failed_checks()

    assert failed.keys() == damage.checks
    for rows in failed.values():
        assert {row["channel"] for row in rows} == {"houston", "popup"}


def test_an_unreadable_guid_in_a_channel_fails_its_checks(ring, popup):
    query(
        popup,
        """INSERT INTO account_map (async_account, company, account_number)
           VALUES (CAST(x'FF00' AS TEXT), CAST(x'FE' AS TEXT), 'a\tb')""",
    )

    assert failed_checks().keys() == {
        Invariant.COMPANIES_STAY_APART,
        Invariant.CHANNEL_KNOWS_HQ_ACCOUNTS,
    }


def test_an_unreachable_channel_fails_every_check_that_reads_channels(ring, popup):
    with out_of_reach(popup):
        failed = failed_checks()
        with pytest.raises(SystemExit) as exit_info:
            call_command("verify", "--json")

    assert exit_info.value.code == 1
    assert failed.keys() == CHECKS_OF_CHANNELS
    for rows in failed.values():
        assert rows == [{"channel": "popup", "error": "unreachable"}]
