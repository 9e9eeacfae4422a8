"""Generated edits name a customer as a till knows it, and carry the customer's complete data.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite.
"""
# ruff: noqa: S608 - the names put into SQL are those of the schema

import pytest

from stores.traffic import write_traffic
from tests.support.event_rows import deliver_accounts
from tests.support.make import query

SEED = 1010


def test_a_pending_customer_is_edited_by_guid_after_its_creation(store):
    write_traffic(store, customers=10, edits=40, seed=SEED)

    edits_after_creation = query(
        store,
        """SELECT edit.async_account, edit.account_number
             FROM async_customer edit
             JOIN async_customer creation
               ON creation.async_account = edit.async_account AND creation.operation = 'create'
            WHERE edit.operation <> 'create' AND edit.occurred_at > creation.occurred_at""",
    )
    assert edits_after_creation
    all_edits = query(store, "SELECT count(*) FROM async_customer WHERE operation <> 'create'")
    assert all_edits == [(len(edits_after_creation),)]
    for guid, account in edits_after_creation:
        assert guid is not None
        assert account is None


def test_customers_are_edited_by_guid_account_or_both(store):
    write_traffic(store, customers=60, seed=SEED)
    deliver_accounts(store)

    write_traffic(store, customers=0, edits=60, seed=SEED)

    edits = query(
        store,
        "SELECT async_account, account_number FROM async_customer WHERE operation = 'update'",
    )
    has_guid_and_account = {(guid is not None, account is not None) for guid, account in edits}
    assert has_guid_and_account == {(True, False), (True, True), (False, True)}


def test_an_edit_carries_unchanged_fields_too(store):
    write_traffic(store, customers=40, edits=40, seed=SEED)

    pairs = query(
        store,
        """SELECT creation.first_name, edit.first_name, creation.email, edit.email,
                  creation.phone || creation.name, edit.phone || edit.name
             FROM async_customer edit
             JOIN async_customer creation ON creation.async_account = edit.async_account
            WHERE creation.operation = 'create' AND edit.operation = 'update'""",
    )
    # Without a phone number or a name there is nothing to compare.
    comparable = [pair for pair in pairs if pair[4] is not None]
    assert comparable
    for first_name, edited_first_name, email, edited_email, contact, edited_contact in comparable:
        assert first_name == edited_first_name
        assert email == edited_email
        # Each edit changes the phone number or the name.
        assert contact != edited_contact


@pytest.mark.parametrize("table", ["async_customer", "async_address", "async_contact"])
def test_some_rows_are_deactivated(store, table):
    write_traffic(store, customers=200, edits=200, seed=SEED)

    [(count,)] = query(store, f"SELECT count(*) FROM {table} WHERE operation = 'deactivate'")
    assert count > 0


def test_a_deactivated_customer_is_not_edited_again(store):
    write_traffic(store, customers=30, edits=200, seed=SEED)

    removals = query(store, "SELECT count(*) FROM async_customer WHERE operation = 'deactivate'")
    later_edits = query(
        store,
        """SELECT count(*)
             FROM async_customer edit
             JOIN async_customer removal
               ON removal.async_account = edit.async_account AND removal.operation = 'deactivate'
            WHERE edit.replication_counter > removal.replication_counter""",
    )
    assert removals > [(0,)]
    assert later_edits == [(0,)]


def test_without_customers_there_are_no_edits(store):
    assert write_traffic(store, customers=0, edits=5).edits == 0


def test_a_faulty_customer_is_not_edited(store):
    write_traffic(store, customers=70, faulty=1, seed=SEED)

    assert write_traffic(store, customers=0, edits=5).edits == 0
