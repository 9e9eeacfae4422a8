"""Correcting a quarantined row may change whom it is about only for users who may do that.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `user_of` makes
a client of a user with a role.
"""

from uuid import uuid4

import pytest
from django.test import Client

from stores.models import AsyncAddress, AsyncCustomer, Customer, Quarantine, RetailTransaction
from stores.models.job import JobCode
from tests.support.make import make_customer, make_event, make_sale, run

pytestmark = pytest.mark.finding(id="S2")


def form_data(client: Client, url: str) -> dict[str, str]:
    """The data that a browser sends when the form is submitted unchanged."""
    form = client.get(url).context["form"]
    return {
        field.html_name: "" if field.value() is None else str(field.value())
        for field in form
        if not field.field.disabled
    }


def correction_url() -> str:
    """The URL of the form that corrects the only quarantined row."""
    return f"/quarantine/{Quarantine.objects.get().pk}/correct/"


@pytest.fixture
def bo_url(houston) -> str:
    """The correction of Bo, who is quarantined for an e-mail address; Ann has account 005001."""
    make_customer(houston, "Ann", email="ann@example.com")
    run("pipeline")
    make_customer(houston, "Bo", email="nobody")
    run(JobCode.UPLOAD)
    return correction_url()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"account_number": "005001"},
        {"operation": "update"},
        {"async_account": str(uuid4())},
        {"async_account": ""},
        {"operation": "update", "account_number": "005001", "async_account": ""},
    ],
    ids=["account", "operation", "another guid", "no guid", "all"],
)
def test_an_operator_cannot_give_a_row_to_another_customer(user_of, bo_url, change):
    operator = user_of("operator")
    data = form_data(operator, bo_url) | {"email": "bo@example.com"}

    response = operator.post(bo_url, data | change)

    page = response.content.decode()
    assert response.status_code == 403
    assert "You do not have permission to change which customer a row is about" in page
    assert "It is granted to the group manager." in page
    run("pipeline")
    assert Customer.objects.get(first_name="Ann").email == "ann@example.com"
    assert AsyncCustomer.objects.count() == 1


def test_an_operator_can_correct_the_other_fields(user_of, bo_url):
    operator = user_of("operator")
    row = Quarantine.objects.get()
    page = operator.get(bo_url).content.decode()
    data = form_data(operator, bo_url)

    operator.post(bo_url, data | {"email": "bo@example.com"})

    assert "These fields keep their original values." in page
    assert "async_account" not in data
    event = AsyncCustomer.objects.get(corrects=str(row.pk))
    assert event.async_account == row.async_account
    assert (event.operation, event.email) == ("create", "bo@example.com")


@pytest.mark.slow
def test_a_manager_can_give_a_row_to_another_customer(user_of, bo_url):
    manager = user_of("manager")
    data = form_data(manager, bo_url) | {"email": "bo@example.com", "operation": "update"}

    manager.post(bo_url, data | {"account_number": "005001", "async_account": ""})
    run("pipeline")

    assert Customer.objects.get(account_number="005001").email == "bo@example.com"


def test_an_operator_cannot_turn_an_address_into_another_address(user_of, houston):
    ann = make_customer(houston, "Ann")
    make_event("address", houston, async_account=ann)
    run("pipeline")
    make_event("address", houston, async_account=ann, country="nowhere")
    run(JobCode.UPLOAD)
    other_address = {"address_id": str(AsyncAddress.objects.get().address_id)}
    operator = user_of("operator")
    data = form_data(operator, correction_url()) | {"country": "USA"}

    refused = operator.post(correction_url(), data | other_address)
    accepted = operator.post(correction_url(), data)

    assert refused.status_code == 403
    assert accepted.status_code == 302


@pytest.fixture
def invalid_sale_url(houston) -> str:
    """The correction of a sale, quarantined for its receipt number; Ann has account 005001."""
    make_customer(houston, "Ann")
    run("pipeline")
    make_sale(houston, transaction_id="T-1", receipt_number="R" * 19)
    run(JobCode.UPLOAD)
    return correction_url()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"header-gross_amount": "999999.00"},
        {"payment-1-amount": "999999.00"},
        {"header-account_number": "005001"},
        {"header-transaction_id": "T-2"},
        {"header-entry_status": "voided"},
        {"header-transaction_type": "return"},
        {"line-2-item_id": "0099", "line-2-quantity": "1"},
    ],
    ids=["amount", "payment", "buyer", "number", "status", "type", "another line"],
)
def test_an_operator_cannot_change_what_was_sold_or_to_whom(user_of, invalid_sale_url, change):
    operator = user_of("operator")
    data = form_data(operator, invalid_sale_url) | {"header-receipt_number": "R-1"}

    response = operator.post(invalid_sale_url, data | change)

    assert response.status_code == 403
    assert not RetailTransaction.objects.exists()


def test_an_operator_can_correct_the_other_fields_of_a_sale(user_of, invalid_sale_url):
    operator = user_of("operator")
    data = form_data(operator, invalid_sale_url) | {"header-receipt_number": "R-1"}

    response = operator.post(invalid_sale_url, data)

    assert response.status_code == 302
    assert RetailTransaction.objects.get().receipt_number == "R-1"
    # The row is settled now: not even a manager gets its form.
    assert user_of("manager").get(invalid_sale_url).status_code == 302
