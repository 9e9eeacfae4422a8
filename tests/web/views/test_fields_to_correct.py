"""Customers with an invalid optional field get an account, and the field is listed to correct.

From conftest.py: `popup` is a store on SQLite; `store` is a store, once on PostgreSQL and once on
SQLite; `user_of` makes a client of a user with a role.
"""

from typing import Any

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
from tests.support.make import engine_of, make_customer, make_event, make_sale, run
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


def text(response: Any) -> str:
    return response.content.decode()


def change_customer(client: Client, first_name: str, /, **changes: str) -> str:
    """Submit the form of a customer with these fields changed. Returns the page that follows."""
    account = Customer.objects.get(first_name=first_name).account_number
    url = f"/customers/{account}/change/"
    forms = client.get(url).context["forms"]
    data = {"version": forms.version}
    for form in forms.all:
        for field in form:
            data[field.html_name] = "" if field.value() is None else field.value()
    data |= {f"customer-{name}": value for name, value in changes.items()}
    data["customer-is_active"] = "true"
    return text(client.post(url, data, follow=True))


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
    found = {
        row.async_account: (row.field, row.rule, str(row.shown))
        for row in FieldToCorrect.objects.select_related("customer")
    }
    assert found == expected
    assert FieldToCorrect.objects.count() == len(expected)
    assert Quarantine.objects.get().async_account == bad
    assert broken_promises() == []


def test_a_customer_with_an_invalid_optional_field_can_order(store):
    order = {"transaction_type": "customer_order", "confirmation_number": "WEB-1"}
    unpaid = {"payments": [], "payment_amount": "0"}
    make_sale(store, async_account=make_customer(store, "Ann", phone="call me"), **order, **unpaid)

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

    overview = text(manager.get("/"))
    phones = text(manager.get("/fields-to-correct/", {"status": "open", "field": "phone"}))

    assert "customer fields to correct" in overview
    assert "/fields-to-correct/?status=open" in overview
    assert phones.count("not a phone number") == 2


def test_a_later_event_settles_the_fields_that_it_contains(store):
    invalid_date = "infinity" if engine_of(store) == "postgresql" else "0000-00-00"
    ann = make_customer(store, "Ann", phone="none", birth_date="1899-12-30")
    bo = make_customer(store, "Bo", phone="none", birth_date=invalid_date)
    run("pipeline")
    fields_of_ann = [("Ann", "birth_date"), ("Ann", "phone")]
    assert open_fields() == [*fields_of_ann, ("Bo", "birth_date"), ("Bo", "phone")]

    make_event("customer", store, async_account=ann, operation="deactivate")
    make_customer(store, "Bo", guid=bo, operation="update", phone="nothing")
    run("pipeline")

    assert open_fields() == [*fields_of_ann, ("Bo", "phone")]

    make_customer(store, "Bo", guid=bo, operation="update", phone="+31 20 555 0101")
    run("pipeline")

    assert open_fields() == fields_of_ann


def test_a_manager_settles_a_field_by_correcting_it(store, manager):
    make_customer(store, "Ann", phone="none", birth_date="1899-12-30")
    run("pipeline")

    change_customer(manager, "Ann", first_name="Anna")
    assert open_fields() == [("Anna", "birth_date"), ("Anna", "phone")]

    page = change_customer(manager, "Anna", phone="nobody")
    assert "not a phone number" in page

    change_customer(manager, "Anna", phone="+31 20 555 0102", birth_date="")
    assert open_fields() == []
    assert AsyncCustomer.objects.filter(origin="hq").count() == 2
