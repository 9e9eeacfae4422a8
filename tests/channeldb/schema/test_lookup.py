"""customer_lookup shows each active person once, under the account or as "Pending sync"."""

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
    """Rows of the view as dictionaries, uuids as text."""
    # S608: the condition stands in this file.
    rows = till.sql(f"SELECT * FROM customer_lookup WHERE {condition}", *values)  # noqa: S608
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    return [
        {**row, "async_account": row["async_account"] and str(row["async_account"])}
        for row in found
    ]


def create(till, account, **columns):
    till.insert("async_customer", **event(async_account=account, **columns))


def know(till, account, number, *, made=None, **columns):
    """What HQ sends: the customer and the GUID that leads to it."""
    till.insert("customer", company="USMF", account_number=number, async_account=made, **columns)
    link(till, account, number)


def link(till, account, number):
    till.insert("account_map", async_account=account, company="USMF", account_number=number)


def test_view_has_the_columns_of_the_contract(till):
    with connections[till.alias].cursor() as cursor:
        cursor.execute("SELECT * FROM customer_lookup")

        assert tuple(column[0] for column in cursor.description) == COLUMNS


def test_new_customer_is_pending(till):
    ann = guid()
    create(till, ann, first_name="Ann", last_name="Lee", email="ann@example.com", phone="0612")

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


def test_customer_with_account_is_shown_under_it(till):
    ann = guid()
    create(till, ann, first_name="Ann", last_name="Lee")
    know(till, ann, "C-000001", made=ann, first_name="Ann", last_name="Lee", name="Ann Lee")

    [row] = lookup(till)
    assert (row["display_account"], row["account_number"]) == ("C-000001", "C-000001")
    assert (row["company"], row["async_account"], row["is_pending"]) == ("USMF", ann, False)


def test_company_of_a_pending_customer_is_the_channel_s_once_hq_told(till):
    till.insert("channel_setting", key="company", value='"USMF"')
    create(till, guid(), first_name="Ann")

    assert lookup(till)[0]["company"] == "USMF"


def test_newest_event_of_a_pending_customer_counts(till):
    ann = guid()
    create(till, ann, first_name="Ann")
    create(till, ann, operation="update", first_name="Anna")

    assert [row["first_name"] for row in lookup(till)] == ["Anna"]


def test_deactivated_pending_customer_is_gone(till):
    ann = guid()
    create(till, ann, first_name="Ann")
    create(till, ann, operation="deactivate", first_name="Ann")

    assert lookup(till) == []


def test_pending_customer_who_comes_back_is_shown(till):
    ann = guid()
    for operation in ("create", "deactivate", "update"):
        create(till, ann, operation=operation, first_name="Ann")

    assert len(lookup(till)) == 1


def test_inactive_account_is_not_shown(till):
    ann = guid()
    create(till, ann, first_name="Ann")
    know(till, ann, "C-000001", made=ann, is_active=False)

    assert lookup(till) == []


def test_edit_of_an_account_makes_no_second_row(till):
    ann = guid()
    know(till, ann, "C-000001", made=ann, first_name="Ann")
    create(till, ann, operation="update", first_name="Anna")
    create(till, None, operation="update", account_number="C-000001", first_name="Anna")

    assert [row["first_name"] for row in lookup(till)] == ["Ann"]


def test_acknowledged_customer_is_pending_until_the_account_arrives(till):
    ann = guid()
    create(till, ann, first_name="Ann")
    till.sql("UPDATE async_customer SET acknowledged_at = occurred_at")

    assert [row["display_account"] for row in lookup(till)] == ["Pending sync"]


def test_person_with_several_guids_is_shown_once_under_the_one_made_here(till):
    elsewhere, here = guid(), guid()
    create(till, here, first_name="Ann")
    know(till, elsewhere, "C-000001", made=elsewhere, first_name="Ann")
    link(till, here, "C-000001")

    assert [row["async_account"] for row in lookup(till)] == [here]


def test_editing_a_person_made_elsewhere_does_not_make_the_guid_ours(till):
    elsewhere, other = guid(), guid()
    know(till, elsewhere, "C-000001", made=elsewhere, first_name="Ann")
    link(till, other, "C-000001")
    create(till, other, operation="update", first_name="Ann")

    assert [row["async_account"] for row in lookup(till)] == [elsewhere]


def test_person_made_twice_here_is_shown_once(till):
    first, second = guid(), guid()
    create(till, first, first_name="Ann")
    create(till, second, first_name="Ann")
    know(till, second, "C-000001", made=second, first_name="Ann")
    link(till, first, "C-000001")

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
def test_name_is_put_together_where_none_was_given(till, columns, name):
    create(till, guid(), **columns)
    till.insert("customer", company="USMF", account_number="C-000001", **columns)

    assert [row["name"] for row in lookup(till)] == [name, name]


def test_look_up_by_account_mail_and_guid_finds_the_same_person(till):
    ann, bo = guid(), guid()
    for person, number, mail in ((ann, "C-000001", "ann@x.nl"), (bo, "C-000002", "bo@x.nl")):
        know(till, person, number, made=person, email=mail)

    for condition, value in (
        ("display_account = %s", "C-000002"),
        ("email = %s", "bo@x.nl"),
        ("async_account = %s", bo),
    ):
        assert [row["email"] for row in lookup(till, condition, value)] == ["bo@x.nl"]


def test_view_stays_quick_with_many_customers(till):
    """No quadratic plan: a few thousand rows, also before the server has counted them."""
    series = {
        "postgresql": "SELECT i, gen_random_uuid() AS g FROM generate_series(1, 4000) i",
        "sqlite": "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 4000)"
        " SELECT i, lower(hex(randomblob(16))) AS g FROM s",
    }[till.vendor]
    till.sql(f"CREATE TEMPORARY TABLE made AS {series}")
    till.sql(
        "INSERT INTO async_customer (event_id, occurred_at, operation, async_account)"
        " SELECT g, '2026-03-01T10:00:00+00:00', 'create', g FROM made"
    )
    till.sql(
        "INSERT INTO account_map (async_account, company, account_number)"
        " SELECT g, 'USMF', 'C-' || i FROM made WHERE i <= 3000"
    )
    till.sql(
        "INSERT INTO customer (company, account_number, async_account)"
        " SELECT 'USMF', 'C-' || i, g FROM made WHERE i <= 3000"
    )
    # One look-up takes some milliseconds; comparing each row with each takes seconds.
    if till.vendor == "postgresql":
        till.sql("SET LOCAL statement_timeout = '2s'")

    counts = till.sql("SELECT is_pending, count(*) FROM customer_lookup GROUP BY 1 ORDER BY 1")

    assert counts == [(False, 3000), (True, 1000)]
