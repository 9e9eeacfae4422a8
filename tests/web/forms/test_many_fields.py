"""Forms of many fields: what is corrected on one page may have hundreds of rows."""

from uuid import uuid4

import pytest
from django.utils import timezone

from stores.models import Customer, Quarantine, RetailTransaction
from tests.support.make import OWN, article, make_customer, make_sale, run, write_rows


def shown(*forms):
    """What a browser would send back of forms: every field as it is shown."""
    return {
        field.html_name: "" if field.value() is None else str(field.value())
        for form in forms
        for field in form
        if field.value() is not False
    }


@pytest.mark.slow
def test_a_sale_of_200_lines_is_corrected_on_its_page(clerk, houston):
    make_sale(houston, transaction_id="T-1", lines=[article()] * 200, gross_amount="99.00")
    run("P-0001")
    sale = RetailTransaction.objects.get()
    path = f"/transactions/{sale.pk}/correct/"
    form = clerk.post(path, {"open": "1"}).context["form"]
    values = shown(form) | {"header-gross_amount": "2140.00", "why": "Typo."}
    assert len(values) > 1_200

    answer = clerk.post(path, values, follow=True)

    assert "1 value corrected. It now passes all rules." in answer.content.decode()
    assert sale.lines.count() == 200


@pytest.mark.slow
def test_a_quarantined_sale_of_200_lines_is_corrected_there(boss, houston):
    make_sale(houston, transaction_id="T-1", lines=[article()] * 200, currency="usd")
    run("P-0001")
    path = f"/quarantine/{Quarantine.objects.get().pk}/correct/"
    values = shown(boss.get(path).context["form"]) | {"header-currency": "USD"}
    assert len(values) > 2_000

    boss.post(path, values)

    assert RetailTransaction.objects.get().lines.count() == 200


@pytest.mark.slow
def test_a_customer_with_90_addresses_is_changed_on_its_page(boss, houston):
    guid = make_customer(houston, "Ann")
    own = OWN["address"] | {"operation": "create", "async_account": guid}
    rows = [
        own
        | {"event_id": uuid4(), "address_id": uuid4(), "occurred_at": timezone.now()}
        | {"street_number": str(number), "is_primary": number == 0}
        for number in range(90)
    ]
    write_rows(houston, {"async_address": rows})
    run("pipeline")
    forms = boss.get("/customers/005001/change/").context["forms"]
    values = shown(*forms.all) | {"version": str(forms.version)}
    assert len(values) > 1_000

    boss.post("/customers/005001/change/", values | {"customer-first_name": "Anna"})

    customer = Customer.objects.get(account_number="005001")
    assert (customer.first_name, customer.addresses.count()) == ("Anna", 90)


def test_a_form_beyond_the_limit_is_refused_and_not_half_read(boss, hq):
    assert (
        boss.post("/quarantine/release/", {f"f{n}": "" for n in range(20_100)}).status_code == 400
    )
