"""What a channel holds of customers is compared with HQ row by row, and mended."""

from uuid import uuid4

import pytest

from stores.models import Incident
from stores.pipeline.integrity.verify import verify
from tests.support.damage import named, reconciled
from tests.support.make import make_customer, make_event, query, run

pytestmark = pytest.mark.slow

# In each of the tables that HQ writes, on both engines.
DAMAGES = {
    "a6_at_the_right_version": (
        "UPDATE customer SET first_name = 'Wrong' WHERE account_number = '005001'",
        "UPDATE customer SET title = '', birth_date = '1990-01-01', is_blocked = {true}",
        "DELETE FROM customer_address",
        "UPDATE customer_contact SET is_active = {false}",
        "UPDATE customer_affiliation SET affiliation = 'VIP'",
        "UPDATE customer_attribute SET value = 'Wrong'",
    ),
    "a6_at_a_version_far_ahead": (
        "UPDATE customer SET hq_version = 900, last_name = 'Wrong'",
        "UPDATE customer_attribute SET value = 'Wrong', hq_version = 5000",
        "UPDATE customer_contact SET hq_version = 7000, marketing_opt_in = {true}",
    ),
    "a6_under_another_key": (
        "UPDATE customer SET async_account = NULL",
        "UPDATE customer_address SET account_number = '005002'",
        "UPDATE customer_contact SET contact_id = '{id}' WHERE account_number = '005001'",
        "DELETE FROM account_map",
    ),
    "a6_only_an_added_row": (
        "INSERT INTO customer_affiliation (company, account_number, affiliation, hq_version)"
        " VALUES ('USRT', '005001', 'VIP', 1)",
    ),
}


@pytest.fixture
def full_ring(ring):
    """The ring, with an affiliation and an attribute each."""
    for store in ring:
        guid = make_customer(store, "Cy")
        make_event("affiliation", store, async_account=guid)
        make_event("attribute", store, async_account=guid)
        make_event("contact", store, async_account=guid)
    run("pipeline")
    return ring


def whole(store) -> list[list[tuple]]:
    """Everything that HQ wrote, but for versions: those of active rows."""
    tables = {
        "customer": "account_number, async_account, first_name, last_name, title, is_blocked,"
        " birth_date",
        "customer_address": "account_number, address_id, street, city",
        "customer_contact": "account_number, contact_id, locator, marketing_opt_in",
        "customer_affiliation": "account_number, affiliation",
        "customer_attribute": "account_number, attribute, value",
    }
    found = [
        query(store, f"SELECT {columns} FROM {table} WHERE is_active ORDER BY 1, 2")  # noqa: S608
        for table, columns in tables.items()
    ]
    return [
        *found,
        query(store, "SELECT async_account, account_number FROM account_map ORDER BY 1"),
    ]


def wrong() -> list[str]:
    return [check.id for check in verify(full=True) if not check.ok]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a6_what_somebody_changed_in_a_channel_is_found_and_mended(full_ring, capsys, damage):
    before = [whole(store) for store in full_ring]
    assert wrong() == []
    assert reconciled(capsys, "--fix")[0] == 0
    for store, true, false in zip(full_ring, ("true", 1), ("false", 0), strict=True):
        for statement in damage:
            query(store, statement.format(id=uuid4(), true=true, false=false))

    assert {"I18", "I19"} & set(wrong())
    assert set(named(reconciled(capsys)[1])) == {"houston", "popup"}
    # What the first channel's customers are owed anew is owed to the other one as well.
    for store in full_ring:
        assert reconciled(capsys, "--fix", "--channel", store.channel.code)[0] in (0, 1)
        run("1010")

    assert [whole(store) for store in full_ring] == before
    assert wrong() == []
    status, found = reconciled(capsys)
    assert (status, named(found)) == (0, {})
    assert not Incident.objects.exists()


def test_a6_a_row_of_an_account_that_hq_does_not_know_is_told(full_ring, capsys):
    for store in full_ring:
        query(
            store,
            "INSERT INTO customer (company, account_number, last_name, hq_version)"
            " VALUES ('USRT', 'X-9', 'Nobody', 1)",
        )

    assert "I19" in wrong()
    assert named(reconciled(capsys, "--fix")[1]) == {"houston": {"not_sent"}, "popup": {"not_sent"}}
    assert query(full_ring[0], "SELECT is_active FROM customer WHERE account_number = 'X-9'")


def test_a6_another_guid_of_an_account_is_an_incident(full_ring, capsys):
    query(
        full_ring[0],
        "UPDATE customer SET async_account = %s WHERE account_number = '005001'",
        str(uuid4()),
    )

    assert named(reconciled(capsys, "--fix")[1]) == {"houston": {"foreign_account"}}
    assert Incident.objects.open().get().kind == "forgotten_account"


def test_a6_who_is_owed_something_newer_is_left_to_the_next_download(full_ring, capsys):
    query(full_ring[0], "UPDATE customer SET first_name = 'Wrong' WHERE account_number = '005001'")
    make_event(
        "customer", full_ring[1], account_number="005001", operation="update", first_name="New"
    )
    run("P-0001")
    run("sync-customers")

    assert named(reconciled(capsys)[1]) == {}
    run("1010")
    assert reconciled(capsys)[0] == 0
