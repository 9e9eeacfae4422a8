"""Customers in a channel are compared with HQ row by row, and repaired by reconcile.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `ring` has houston and popup after a run, with Ann, Bo and two quarantined addresses.
"""
# ruff: noqa: S608 - only constants of this file are put into SQL

from dataclasses import dataclass
from uuid import uuid4

import pytest

from stores.models import ChannelDatabase, Incident
from stores.models.job import JobCode
from tests.support.damage import kinds_of_differences, reconcile
from tests.support.invariants import Invariant
from tests.support.make import make_customer, make_event, query, run
from tests.support.promises import failed_checks

pytestmark = pytest.mark.slow

TRUE, FALSE = "(1 = 1)", "(1 = 0)"  # understood by both engines
# Statements that damage a channel's tables of customers, each run in both channels.
DAMAGES = {
    "values at the right version": [
        "UPDATE customer SET first_name = 'Wrong' WHERE account_number = '005001'",
        f"UPDATE customer SET title = '', birth_date = '1990-01-01', is_blocked = {TRUE}",
        "DELETE FROM customer_address",
        f"UPDATE customer_contact SET is_active = {FALSE}",
        "UPDATE customer_affiliation SET affiliation = 'VIP'",
        "UPDATE customer_attribute SET value = 'Wrong'",
    ],
    "values at a version far ahead": [
        "UPDATE customer SET hq_version = 900, last_name = 'Wrong'",
        "UPDATE customer_attribute SET value = 'Wrong', hq_version = 5000",
        f"UPDATE customer_contact SET hq_version = 7000, marketing_opt_in = {TRUE}",
    ],
    "keys": [
        "UPDATE customer SET async_account = NULL",
        "UPDATE customer_address SET account_number = '005002'",
        f"UPDATE customer_contact SET contact_id = '{uuid4()}' WHERE account_number = '005001'",
        "DELETE FROM account_map",
    ],
    "an added row": [
        """INSERT INTO customer_affiliation (company, account_number, affiliation, hq_version)
           VALUES ('USRT', '005001', 'VIP', 1)""",
    ],
}


@dataclass(frozen=True)
class Damaged:
    """Channels, and what HQ had written into each before it was damaged."""

    stores: list[ChannelDatabase]
    rows_before: list[dict[str, list[tuple]]]


@pytest.fixture
def full_ring(ring) -> list[ChannelDatabase]:
    """The ring, with a customer in each channel who has something of every kind."""
    for store in ring:
        guid = make_customer(store, "Cy")
        make_event("affiliation", store, async_account=guid)
        make_event("attribute", store, async_account=guid)
        make_event("contact", store, async_account=guid)
    run(JobCode.PIPELINE)
    return ring


def rows_of_hq(store: ChannelDatabase) -> dict[str, list[tuple]]:
    """The active rows of each table that HQ writes in a channel, without their versions."""
    columns = {
        "customer": "account_number, async_account, first_name, last_name, title, is_blocked,"
        " birth_date",
        "customer_address": "account_number, address_id, street, city",
        "customer_contact": "account_number, contact_id, locator, marketing_opt_in",
        "customer_affiliation": "account_number, affiliation",
        "customer_attribute": "account_number, attribute, value",
    }
    rows = {
        table: query(store, f"SELECT {names} FROM {table} WHERE is_active ORDER BY 1, 2")
        for table, names in columns.items()
    }
    account_map = "SELECT async_account, account_number FROM account_map ORDER BY 1"
    return rows | {"account_map": query(store, account_map)}


@pytest.fixture(params=DAMAGES.values(), ids=DAMAGES)
def damaged_ring(full_ring, capsys, request) -> Damaged:
    """The ring, healthy until a moment ago; then its channels were damaged in one way."""
    assert failed_checks(full=True) == {}
    status, _ = reconcile(capsys, "--fix")
    assert status == 0
    rows_before = [rows_of_hq(store) for store in full_ring]
    for store in full_ring:
        for statement in request.param:
            query(store, statement)
    return Damaged(full_ring, rows_before)


@pytest.mark.finding(id="A6")
def test_damaged_customers_of_a_channel_are_found(damaged_ring, capsys):
    # Which of the two finds it depends on what was damaged: the account map, or rows.
    checks = {Invariant.EVERY_CHANNEL_GETS_EVERY_ACCOUNT, Invariant.CHANNEL_HOLDS_WHAT_IT_SAYS}
    assert checks & failed_checks(full=True).keys()

    _, document = reconcile(capsys)

    assert kinds_of_differences(document).keys() == {"houston", "popup"}


@pytest.mark.finding(id="A6")
def test_damaged_customers_of_a_channel_are_repaired(damaged_ring, capsys):
    # What is sent to one channel again is sent to the other one too, which may repair it.
    for store in damaged_ring.stores:
        status, _ = reconcile(capsys, "--fix", "--channel", store.channel.code)
        assert status in (0, 1)
        run(JobCode.DOWNLOAD)

    assert [rows_of_hq(store) for store in damaged_ring.stores] == damaged_ring.rows_before
    assert failed_checks(full=True) == {}
    status, document = reconcile(capsys)
    assert (status, kinds_of_differences(document)) == (0, {})
    assert not Incident.objects.exists()


@pytest.mark.finding(id="A6")
def test_a_row_of_an_account_unknown_to_hq_is_reported(full_ring, capsys):
    for store in full_ring:
        query(
            store,
            """INSERT INTO customer (company, account_number, last_name, hq_version)
               VALUES ('USRT', 'X-9', 'Nobody', 1)""",
        )

    assert Invariant.CHANNEL_HOLDS_WHAT_IT_SAYS in failed_checks(full=True)
    _, document = reconcile(capsys, "--fix")

    assert kinds_of_differences(document) == {"houston": {"not_sent"}, "popup": {"not_sent"}}
    for store in full_ring:
        assert query(store, "SELECT is_active FROM customer WHERE account_number = 'X-9'")


@pytest.mark.finding(id="A6")
def test_an_account_with_another_guid_is_an_incident(full_ring, houston, capsys):
    query(
        houston,
        "UPDATE customer SET async_account = %s WHERE account_number = '005001'",
        str(uuid4()),
    )

    _, document = reconcile(capsys, "--fix")

    assert kinds_of_differences(document) == {"houston": {"foreign_account"}}
    assert Incident.objects.open().get().kind == "forgotten_account"


@pytest.mark.finding(id="A6")
def test_a_customer_with_a_pending_delivery_is_no_difference(full_ring, houston, popup, capsys):
    query(houston, "UPDATE customer SET first_name = 'Wrong' WHERE account_number = '005001'")
    update = {"account_number": "005001", "operation": "update", "first_name": "New"}
    make_event("customer", popup, **update)
    run(JobCode.UPLOAD)
    run(JobCode.CONVERT)

    _, before = reconcile(capsys)
    run(JobCode.DOWNLOAD)
    status, _ = reconcile(capsys)

    assert kinds_of_differences(before) == {}
    assert status == 0
