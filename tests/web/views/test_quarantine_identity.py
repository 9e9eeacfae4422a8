"""Settling quarantine keeps whom a row is about, unless a user may change that too (S2)."""

from typing import Any
from uuid import uuid4

import pytest

from stores.models import AsyncAddress, AsyncCustomer, Customer, Quarantine, RetailTransaction
from tests.support.make import make_customer, make_event, make_sale, run


def shown(client: Any, path: str) -> dict[str, str]:
    """What a browser would send back of the form: every field that can be typed in."""
    form = client.get(path).context["form"]
    return {
        field.html_name: "" if field.value() is None else str(field.value())
        for field in form
        if not field.field.disabled
    }


@pytest.fixture
def bo(houston) -> str:
    """Ann has account 005001, one of Bo's rows is in quarantine; the page to correct it."""
    make_customer(houston, "Ann", email="ann@example.com")
    run("pipeline")
    make_customer(houston, "Bo", email="nobody")
    run("P-0001")
    return f"/quarantine/{Quarantine.objects.get().pk}/correct/"


IDENTITIES = {
    "account": {"account_number": "005001"},
    "operation": {"operation": "update"},
    "another guid": {"async_account": str(uuid4())},
    "no guid": {"async_account": ""},
    "all": {"operation": "update", "account_number": "005001", "async_account": ""},
}


@pytest.mark.slow
@pytest.mark.parametrize("changed", IDENTITIES.values(), ids=IDENTITIES)
def test_s2_a_row_becomes_no_change_of_somebody_else(user_of, bo, changed):
    operator = user_of("operator")
    values = shown(operator, bo) | {"email": "bo@example.com"}

    answer = operator.post(bo, values | changed)

    assert answer.status_code == 403
    assert (
        "You do not have permission to change which customer a row is about"
        in answer.content.decode()
    )
    assert "It is granted to the group manager." in answer.content.decode()
    run("pipeline")
    assert Customer.objects.get(first_name="Ann").email == "ann@example.com"
    assert AsyncCustomer.objects.count() == 1


def test_s2_what_the_row_says_is_corrected_by_whoever_may_settle_it(user_of, bo):
    operator = user_of("operator")
    guid = Quarantine.objects.get().async_account
    page = operator.get(bo)
    assert "These fields keep their original values." in page.content.decode()
    values = shown(operator, bo)
    assert "async_account" not in values

    operator.post(bo, values | {"email": "bo@example.com"})

    made = AsyncCustomer.objects.get(corrects=str(Quarantine.objects.get().pk))
    assert (made.async_account, made.operation, made.email) == (guid, "create", "bo@example.com")


@pytest.mark.slow
def test_s2_whoever_may_change_customers_may_say_whom_a_row_is_about(user_of, bo):
    manager = user_of("manager")
    values = shown(manager, bo) | {"email": "bo@example.com", "operation": "update"}

    manager.post(bo, values | {"account_number": "005001", "async_account": ""})
    run("pipeline")

    assert Customer.objects.get(account_number="005001").email == "bo@example.com"


def test_s2_an_address_stays_the_address_that_it_was(user_of, houston):
    ann = make_customer(houston, "Ann")
    make_event("address", houston, async_account=ann)
    run("pipeline")
    make_event("address", houston, async_account=ann, country="nowhere")
    run("P-0001")
    path = f"/quarantine/{Quarantine.objects.get().pk}/correct/"
    operator = user_of("operator")
    taken = str(AsyncAddress.objects.get().address_id)

    values = shown(operator, path) | {"country": "USA"}

    assert operator.post(path, values | {"address_id": taken}).status_code == 403
    assert operator.post(path, values).status_code == 302


SALES = {
    "amount": {"header-gross_amount": "999999.00"},
    "payment": {"payment-1-amount": "999999.00"},
    "buyer": {"header-account_number": "005001"},
    "number": {"header-transaction_id": "T-2"},
    "status": {"header-entry_status": "voided"},
    "type": {"header-transaction_type": "return"},
    "one line more": {"line-2-item_id": "0099", "line-2-quantity": "1"},
}


@pytest.mark.slow
@pytest.mark.parametrize("changed", SALES.values(), ids=SALES)
def test_s2_a_quarantined_sale_stays_what_was_sold_and_to_whom(user_of, houston, changed):
    make_customer(houston, "Ann")
    run("pipeline")
    make_sale(houston, transaction_id="T-1", receipt_number="R" * 19)
    run("P-0001")
    path = f"/quarantine/{Quarantine.objects.get().pk}/correct/"
    operator, manager = user_of("operator"), user_of("manager")
    values = shown(operator, path) | {"header-receipt_number": "R-1"}

    assert operator.post(path, values | changed).status_code == 403
    assert not RetailTransaction.objects.exists()
    assert operator.post(path, values).status_code == 302
    assert RetailTransaction.objects.get().receipt_number == "R-1"
    assert manager.get(path).status_code == 302
