"""Forms with hundreds of rows and thousands of fields can be submitted.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `boss` is a
client of an administrator; `clerk` is a client of a user who may correct sales.
"""

from uuid import uuid4

import pytest
from django.utils import timezone

from stores.models import Customer, Quarantine, RetailTransaction
from stores.models.job import JobCode
from tests.support.make import DEFAULTS, article, make_customer, make_sale, run, write_rows


def form_data(*forms):
    """The data that a browser sends when the forms are submitted unchanged."""
    return {
        field.html_name: "" if field.value() is None else str(field.value())
        for form in forms
        for field in form
        if field.value() is not False
    }


@pytest.mark.slow
def test_a_sale_of_200_lines_can_be_corrected(clerk, houston):
    make_sale(houston, transaction_id="T-1", lines=[article()] * 200, gross_amount="99.00")
    run(JobCode.UPLOAD)
    sale = RetailTransaction.objects.get()
    url = f"/transactions/{sale.pk}/correct/"
    form = clerk.post(url, {"open": "1"}).context["form"]
    data = form_data(form) | {"header-gross_amount": "2140.00", "why": "Typo."}
    assert len(data) > 1_200

    response = clerk.post(url, data, follow=True)

    assert "1 value corrected. It now passes all rules." in response.content.decode()
    assert sale.lines.count() == 200


@pytest.mark.slow
def test_a_quarantined_sale_of_200_lines_can_be_corrected(boss, houston):
    make_sale(houston, transaction_id="T-1", lines=[article()] * 200, currency="usd")
    run(JobCode.UPLOAD)
    url = f"/quarantine/{Quarantine.objects.get().pk}/correct/"
    data = form_data(boss.get(url).context["form"]) | {"header-currency": "USD"}
    assert len(data) > 2_000

    boss.post(url, data)

    assert RetailTransaction.objects.get().lines.count() == 200


@pytest.mark.slow
def test_a_customer_with_90_addresses_can_be_changed(boss, houston):
    guid = make_customer(houston, "Ann")
    write_rows(houston, {"async_address": [address_event(guid, n) for n in range(90)]})
    run("pipeline")
    forms = boss.get("/customers/005001/change/").context["forms"]
    data = form_data(*forms.every_form) | {"version": str(forms.version)}
    assert len(data) > 1_000

    boss.post("/customers/005001/change/", data | {"customer-first_name": "Anna"})

    customer = Customer.objects.get(account_number="005001")
    assert (customer.first_name, customer.addresses.count()) == ("Anna", 90)


def address_event(guid, number):
    return DEFAULTS["address"] | {
        "event_id": uuid4(),
        "occurred_at": timezone.now(),
        "operation": "create",
        "async_account": guid,
        "address_id": uuid4(),
        "street_number": str(number),
        "is_primary": number == 0,
    }


def test_a_form_with_more_fields_than_the_limit_is_refused(boss, hq):
    data = {f"field{number}": "" for number in range(20_100)}

    response = boss.post("/quarantine/release/", data)

    assert response.status_code == 400
