"""customer_lookup shows each active person once, under the account or as "Pending sync".

From conftest.py: `till` writes into a channel, once on PostgreSQL and once on SQLite.
"""

import pytest
from django.db import connections

from tests.support.channels import event, guid

COLUMNS = (
    "display_account",
    "company",
    "account_number",
    "async_account",
    "name",
    "first_name",
    "last_name",
    "email",
    "phone",
    "is_pending",
)


def lookup(till, condition="1 = 1", *values):
    """The rows of the view as dictionaries, with GUIDs as texts."""
    statement = f"SELECT * FROM customer_lookup WHERE {condition}"  # noqa: S608 - our own text
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in till.sql(statement, *values)]
    for row in rows:
        if row["async_account"]:
            row["async_account"] = str(row["async_account"])
    return rows


def write_event(till, guid, **columns):
    till.insert("async_customer", **event(async_account=guid, **columns))


def receive_customer(till, guid, account, **columns):
    """Write what HQ sends: the customer, with the GUID that created it, and its account."""
    till.insert("customer", company="USMF", account_number=account, async_account=guid, **columns)
    receive_account(till, guid, account)


def receive_account(till, guid, account):
    """Write what HQ sends of a further GUID of the customer."""
    till.insert("account_map", async_account=guid, company="USMF", account_number=account)


def test_the_view_has_the_columns_of_the_contract(till):
    with connections[till.alias].cursor() as cursor:
        cursor.execute("SELECT * FROM customer_lookup")

        assert tuple(column[0] for column in cursor.description) == COLUMNS


def test_a_new_customer_is_pending(till):
    ann = guid()
    write_event(till, ann, first_name="Ann", last_name="Lee", email="ann@example.com", phone="0612")

    assert lookup(till) == [
        {
            "display_account": "Pending sync",
            "company": None,
            "account_number": None,
            "async_account": ann,
            "name": "Ann Lee",
            "first_name": "Ann",
            "last_name": "Lee",
            "email": "ann@example.com",
            "phone": "0612",
            "is_pending": True,
        }
    ]


def test_a_customer_with_an_account_is_shown_under_it(till):
    ann = guid()
    write_event(till, ann, first_name="Ann", last_name="Lee")
    receive_customer(till, ann, "C-000001", first_name="Ann", last_name="Lee", name="Ann Lee")

    [row] = lookup(till)
    assert (row["display_account"], row["account_number"]) == ("C-000001", "C-000001")
    assert (row["company"], row["async_account"], row["is_pending"]) == ("USMF", ann, False)


def test_a_pending_customer_has_the_company_that_hq_has_written(till):
    till.insert("channel_setting", key="company", value='"USMF"')
    write_event(till, guid(), first_name="Ann")

    assert lookup(till)[0]["company"] == "USMF"


def test_a_pending_customer_is_shown_by_the_newest_event(till):
    ann = guid()
    write_event(till, ann, first_name="Ann")
    write_event(till, ann, operation="update", first_name="Anna")

    assert [row["first_name"] for row in lookup(till)] == ["Anna"]


def test_a_deactivated_pending_customer_is_not_shown(till):
    ann = guid()
    write_event(till, ann, first_name="Ann")
    write_event(till, ann, operation="deactivate", first_name="Ann")

    assert lookup(till) == []


def test_a_pending_customer_who_is_active_again_is_shown(till):
    ann = guid()
    for operation in ("create", "deactivate", "update"):
        write_event(till, ann, operation=operation, first_name="Ann")

    assert len(lookup(till)) == 1


def test_an_inactive_account_is_not_shown(till):
    ann = guid()
    write_event(till, ann, first_name="Ann")
    receive_customer(till, ann, "C-000001", is_active=False)

    assert lookup(till) == []


def test_an_edit_of_an_account_adds_no_row(till):
    ann = guid()
    receive_customer(till, ann, "C-000001", first_name="Ann")
    write_event(till, ann, operation="update", first_name="Anna")
    write_event(till, None, operation="update", account_number="C-000001", first_name="Anna")

    assert [row["first_name"] for row in lookup(till)] == ["Ann"]


def test_an_acknowledged_customer_is_pending_until_the_account_arrives(till):
    ann = guid()
    write_event(till, ann, first_name="Ann")
    till.sql("UPDATE async_customer SET acknowledged_at = occurred_at")

    assert [row["display_account"] for row in lookup(till)] == ["Pending sync"]


def test_a_customer_with_several_guids_is_shown_once(till):
    elsewhere, here = guid(), guid()
    write_event(till, here, first_name="Ann")
    receive_customer(till, elsewhere, "C-000001", first_name="Ann")
    receive_account(till, here, "C-000001")

    assert [row["async_account"] for row in lookup(till)] == [here]


def test_a_customer_of_another_channel_edited_here_has_its_guid(till):
    elsewhere, other = guid(), guid()
    receive_customer(till, elsewhere, "C-000001", first_name="Ann")
    receive_account(till, other, "C-000001")
    write_event(till, other, operation="update", first_name="Ann")

    assert [row["async_account"] for row in lookup(till)] == [elsewhere]


def test_a_customer_who_was_created_twice_is_shown_once(till):
    first, second = guid(), guid()
    write_event(till, first, first_name="Ann")
    write_event(till, second, first_name="Ann")
    receive_customer(till, second, "C-000001", first_name="Ann")
    receive_account(till, first, "C-000001")

    assert [row["async_account"] for row in lookup(till)] == [first]


def test_one_number_in_two_companies_is_two_accounts(till):
    for company in ("DEMF", "USMF"):
        till.insert("customer", company=company, account_number="C-000001", name=company)

    assert sorted(row["company"] for row in lookup(till)) == ["DEMF", "USMF"]


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"name": "Lee BV"}, "Lee BV"),
        ({"name": "Ann Lee", "first_name": "Anna"}, "Ann Lee"),
        ({"first_name": "Ann", "middle_name": "van", "last_name": "Lee"}, "Ann van Lee"),
        ({"last_name": "Lee"}, "Lee"),
        ({"first_name": "Ann", "name": ""}, "Ann"),
        ({}, ""),
    ],
)
def test_a_missing_name_is_composed_of_its_parts(till, columns, name):
    write_event(till, guid(), **columns)
    till.insert("customer", company="USMF", account_number="C-000001", **columns)

    assert [row["name"] for row in lookup(till)] == [name, name]


def test_account_email_and_guid_find_the_same_customer(till):
    ann, bo = guid(), guid()
    receive_customer(till, ann, "C-000001", email="ann@x.nl")
    receive_customer(till, bo, "C-000002", email="bo@x.nl")

    for condition, value in (
        ("display_account = %s", "C-000002"),
        ("email = %s", "bo@x.nl"),
        ("async_account = %s", bo),
    ):
        assert [row["email"] for row in lookup(till, condition, value)] == ["bo@x.nl"]


def test_the_view_has_no_quadratic_plan(till):
    numbered = {
        "postgresql": """
            SELECT number, gen_random_uuid() AS guid FROM generate_series(1, 4000) AS number""",
        "sqlite": """
            WITH RECURSIVE series (number) AS (
                SELECT 1 UNION ALL SELECT number + 1 FROM series WHERE number < 4000)
            SELECT number, lower(hex(randomblob(16))) AS guid FROM series""",
    }[till.vendor]
    till.sql(f"CREATE TEMPORARY TABLE numbered AS {numbered}")
    till.sql(
        """INSERT INTO async_customer (event_id, occurred_at, operation, async_account)
           SELECT guid, '2026-03-01T10:00:00+00:00', 'create', guid FROM numbered"""
    )
    till.sql(
        """INSERT INTO account_map (async_account, company, account_number)
           SELECT guid, 'USMF', 'C-' || number FROM numbered WHERE number <= 3000"""
    )
    till.sql(
        """INSERT INTO customer (company, account_number, async_account)
           SELECT 'USMF', 'C-' || number, guid FROM numbered WHERE number <= 3000"""
    )
    # A good plan takes milliseconds, also without statistics; a quadratic one takes seconds.
    if till.vendor == "postgresql":
        till.sql("SET LOCAL statement_timeout = '2s'")

    counts = till.sql("SELECT is_pending, count(*) FROM customer_lookup GROUP BY 1 ORDER BY 1")

    assert counts == [(False, 3000), (True, 1000)]
