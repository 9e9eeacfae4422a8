"""Customers with an invalid optional field get an account, and the field is listed to correct.

From conftest.py: `popup` is a store on SQLite; `store` is a store, once on PostgreSQL and once on
SQLite; `user_of` makes a client of a user with a role.
"""

from uuid import UUID

import pytest
from django.test import Client

from stores.models import (
    AsyncCustomer,
    Customer,
    FieldToCorrect,
    Quarantine,
    SalesOrder,
)
from stores.traffic.faults import RawText
from tests.support.make import engine_of, make_customer, make_event, run
from tests.support.orders import make_order
from tests.support.pages import text_of
from tests.support.promises import broken_promises

pytestmark = [pytest.mark.slow, pytest.mark.finding(id="P14")]

# An optional field, a value that no rule accepts, and the rule.
INVALID_FIELDS = [
    ("phone", "call me", "phone_format"),
    ("receipt_email", "ann@localhost", "email_format"),
    ("receipt_email", "ann@example.com\nbcc: all@example.com", "email_format"),
    ("language", "english", "unknown_word"),
    ("language", "xx", "unknown_word"),
    ("language", "en-u-x", "unknown_word"),
    ("currency", "usd", "unknown_word"),
    ("currency", "XXQ", "unknown_word"),
    ("birth_date", "1899-12-30", "date_range"),
    ("birth_date", "0001-01-01", "date_range"),
    ("birth_date", "2999-12-31", "date_range"),
]
INVALID_FIELDS_OF_ENGINE = {
    "sqlite": [
        ("birth_date", "0000-00-00", "date_format"),
        ("birth_date", "2025-02-29", "date_format"),
        ("birth_date", "1.3.1990", "date_format"),
        ("birth_date", 19900301, "date_format"),
    ],
    "postgresql": [
        ("birth_date", "10000-01-01", "date_range"),
        ("birth_date", "infinity", "date_range"),
        ("birth_date", "0044-03-15 BC", "date_range"),
    ],
}


@pytest.fixture
def manager(user_of) -> Client:
    """A client in which a manager is signed in."""
    return user_of("manager")


def open_fields() -> list[tuple[str, str]]:
    """The fields to be corrected, by first name."""
    rows = FieldToCorrect.objects.open().order_by("customer__first_name", "field")
    return list(rows.values_list("customer__first_name", "field"))


def change_customer(client: Client, first_name: str, /, **changes: str) -> str:
    """Submit the form of a customer with these fields changed. Returns the page that follows."""
    account = Customer.objects.get(first_name=first_name).account_number
    url = f"/customers/{account}/change/"
    forms = client.get(url).context["forms"]
    data = {"version": forms.version}
    for form in forms.every_form:
        for field in form:
            data[field.html_name] = "" if field.value() is None else field.value()
    data |= {f"customer-{name}": value for name, value in changes.items()}
    data["customer-is_active"] = "true"
    return text_of(client.post(url, data, follow=True))


def test_a_customer_with_an_invalid_optional_field_gets_an_account(store):
    invalid_fields = INVALID_FIELDS + INVALID_FIELDS_OF_ENGINE[engine_of(store)]
    expected = {
        make_customer(store, "Ann", **{field: value}): (field, rule, str(value))
        for field, value, rule in invalid_fields
    }
    make_customer(store, "Good", language="yue", currency="KWD", birth_date="1990-03-01")
    bad = make_customer(store, "Bo", phone="none", birth_date="1899-12-30", last_name="L" * 61)

    result = run("pipeline")

    assert result["counts"]["converted"] == len(invalid_fields) + 1
    listed = [
        (row.async_account, (row.field, row.rule, str(row.shown)))
        for row in FieldToCorrect.objects.select_related("customer")
    ]
    assert sorted(listed) == sorted(expected.items())
    assert Quarantine.objects.get().async_account == bad
    assert broken_promises() == []


def test_a_customer_with_an_invalid_optional_field_can_order(store):
    make_order(store, "WEB-1", async_account=make_customer(store, "Ann", phone="call me"))

    run("pipeline")
    run("sync-orders")

    assert SalesOrder.objects.count() == 1


def test_a_run_with_nothing_new_lists_no_field_again(store):
    make_customer(store, "Ann", phone="call me")
    make_customer(store, "Bo", language="english")
    run("pipeline")
    FieldToCorrect.objects.filter(field="phone").delete()

    run("pipeline")

    assert open_fields() == [("Bo", "language")]


def test_a_row_that_breaks_another_rule_is_quarantined_unchanged(popup):
    make_customer(popup, "A" * 61, birth_date="1.3.1990")
    make_customer(popup, "Ann", birth_date="", last_name=RawText(b"\xff"))
    make_customer(popup, "Bo", birth_date="")

    run("pipeline")

    rows = [bytes(row.raw) for row in Quarantine.objects.order_by("pk")]
    assert any(b"1.3.1990" in row for row in rows)
    assert Customer.objects.get(number__isnull=False).first_name == "Bo"
    assert not FieldToCorrect.objects.exists(), "an empty text is no date to be corrected"


def test_fields_to_correct_are_counted_and_listed(store, manager):
    make_customer(store, "Ann", phone="none", birth_date="1899-12-30")
    make_customer(store, "Bo", phone="none")
    run("pipeline")

    overview = text_of(manager.get("/"))
    phones = text_of(manager.get("/fields-to-correct/", {"status": "open", "field": "phone"}))

    assert "customer fields to correct" in overview
    assert "/fields-to-correct/?status=open" in overview
    assert phones.count("not a phone number") == 2


@pytest.fixture
def invalid_fields(store) -> dict[str, UUID]:
    """Ann and Bo, each with an invalid phone number and birth date. Their GUIDs."""
    no_date = "infinity" if engine_of(store) == "postgresql" else "0000-00-00"
    guids = {
        "Ann": make_customer(store, "Ann", phone="none", birth_date="1899-12-30"),
        "Bo": make_customer(store, "Bo", phone="none", birth_date=no_date),
    }
    run("pipeline")
    assert open_fields() == [*FIELDS_OF_ANN, *FIELDS_OF_BO]
    return guids


FIELDS_OF_ANN = [("Ann", "birth_date"), ("Ann", "phone")]
FIELDS_OF_BO = [("Bo", "birth_date"), ("Bo", "phone")]


def test_an_event_without_a_field_does_not_settle_it(store, invalid_fields):
    guid = invalid_fields["Ann"]
    make_event("customer", store, async_account=guid, operation="deactivate")

    run("pipeline")

    assert open_fields() == [*FIELDS_OF_ANN, *FIELDS_OF_BO]


def test_an_event_with_another_invalid_value_leaves_the_field_open(store, invalid_fields):
    make_customer(store, "Bo", guid=invalid_fields["Bo"], operation="update", phone="nothing")

    run("pipeline")

    # The edit has no birth date any more, which settles it.
    assert open_fields() == [*FIELDS_OF_ANN, ("Bo", "phone")]


def test_an_event_with_a_valid_value_settles_the_field(store, invalid_fields):
    phone = "+31 20 555 0101"
    make_customer(store, "Bo", guid=invalid_fields["Bo"], operation="update", phone=phone)

    run("pipeline")

    assert open_fields() == FIELDS_OF_ANN


def test_a_manager_may_change_other_fields_of_the_customer(invalid_fields, manager):
    change_customer(manager, "Ann", first_name="Anna")

    assert open_fields() == [("Anna", "birth_date"), ("Anna", "phone"), *FIELDS_OF_BO]


def test_a_manager_cannot_enter_another_invalid_value(invalid_fields, manager):
    page = change_customer(manager, "Ann", phone="nobody")

    assert "not a phone number" in page
    assert open_fields() == [*FIELDS_OF_ANN, *FIELDS_OF_BO]


def test_a_manager_settles_a_field_by_correcting_it(invalid_fields, manager):
    change_customer(manager, "Ann", phone="+31 20 555 0102", birth_date="")

    assert open_fields() == FIELDS_OF_BO
    assert AsyncCustomer.objects.filter(origin="hq").count() == 1
