"""What people see is what counts: blanks of every kind and invisible letters make no difference."""

from typing import Any

import pytest
from django.db import connection

from stores.models import (
    AsyncCustomer,
    Customer,
    CustomerAffiliation,
    CustomerAttribute,
    CustomerContact,
    Quarantine,
    RetailTransaction,
    RetailTransactionPayment,
    characters,
)
from stores.pipeline.integrity.verify import verify
from tests.support.make import make_customer, make_event, make_sale, run, sale_rows, write_rows

EVERY_LETTER = [*range(1, 0xD800), *range(0xE000, 0x10000), *range(0x1BC90, 0x1BCB0)]
EVERY_LETTER += [*range(0x1D165, 0x1D180), *range(0xE0000, 0xE0200), 0x1F468, 0x20BB7]
# Each was taken for a name.
UNSEEN = (
    *("\t", "\n", "\r\n", " \t ", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u200e", "\u2800"),
    *("\u3164", "\u00ad", "\u200d", "\u200c", "\ufe0f", "\u2060", "\u202e", "\u180e", "\x07"),
    *("\x85", "\u2028", "\u034f", "\u115f", "\uffa0", "\U000e0041", "\u00a0\u200b\t"),
)


def asked(function: str, texts: list[str]) -> list[str]:
    """What an SQL function makes of texts."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {function}(t) FROM unnest(%s::text[]) WITH ORDINALITY u (t, n)"  # noqa: S608
            " ORDER BY n",
            [texts],
        )
        return [value for (value,) in cursor.fetchall()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "function", ["normalize_text", "normalize_key", "normalize_email", "normalize_phone"]
)
def test_p10_p11_the_database_and_the_pages_normalize_every_letter_alike(db, function):
    texts = [f"{chr(n)}a{chr(n)}b@X" for n in EVERY_LETTER]
    texts += ["\u0d28\u0d4d\u200d", "\u0d28\u0d4d\u200d\u200b", "tel: +31 20", "e\u200b\u0308"]

    by_python = [getattr(characters, function)(text) for text in texts]

    wrong = [
        ascii(text)
        for text, mine, theirs in zip(texts, by_python, asked(function, texts), strict=True)
        if mine != theirs
    ]
    assert wrong == []


@pytest.mark.parametrize("function", ["normalize_text", "normalize_key"])
def test_p10_p11_what_is_tidied_stays_as_it_is(db, function):
    once = asked(function, [f"{chr(n)}a{chr(n)}b{chr(n)}" for n in EVERY_LETTER])

    assert asked(function, once) == once


def test_p10_joiners_stay_within_a_name_and_selectors_at_its_end(db):
    kept = [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u8fbb\U000e0100",
        "\u0d28\u0d4d\u200d",
    ]

    assert asked("normalize_text", [f"\u200b{name}\u00a0" for name in kept]) == kept


@pytest.mark.slow
def test_p10_p11_p14_rules_judge_what_people_see(store):
    for unseen in UNSEEN:
        make_customer(store, unseen, last_name=unseen)
    make_customer(store, None, last_name=None, name="\n", customer_type="organization\u00a0")
    real = make_customer(
        store,
        "\u00a0Real\u200b",
        last_name="Name" + " " * 80,
        email="\ufeffreal\u200b@example.COM\r\n",
        phone="\u202a+31\u00a020 555\u20130101\u202c",
        receipt_email="\uff52eal@\uff45xample.com",
        customer_group="STAFF\u00a0",
        language="nl\n",
        currency="\u200bEUR",
    )
    for affiliation in ("STAFF", "STAFF\u00a0", "ST\u00adAFF", "\t"):
        make_event("affiliation", store, async_account=real, affiliation=affiliation)
    for attribute, value in (("Si\u200bze", " M\n"), ("\n", "M")):
        make_event("attribute", store, async_account=real, attribute=attribute, value=value)
    for kind, locator in (
        ("url", "\t\n"),
        ("phone\n", "\uff10\uff19\uff10-1234-5678"),
        ("phone", "tel:+31205550102"),
        ("phone", "+1 555-010-0199 ext. 12345"),
        ("email\u00a0", "a\u200db@example.com\u2800"),
    ):
        make_event("contact", store, async_account=real, kind=kind, locator=locator)

    run("pipeline")
    found = Customer.objects.get(number__isnull=False)
    assert (found.email, found.receipt_email) == ("real@example.com", "real@example.com")
    assert (found.phone, found.customer_group) == ("+31 20 555-0101", "STAFF")
    assert (found.language, found.currency) == ("nl", "EUR")
    make_customer(store, "\r\n", last_name="\u3164", guid=real, operation="update")
    make_customer(
        store,
        "Real",
        guid=real,
        last_name="Name",
        operation=" update\n",
        account_number="005001\u00a0",
    )
    run("pipeline")

    customer = Customer.objects.get(number__isnull=False)
    assert (customer.first_name, customer.last_name) == ("Real", "Name")
    reasons = Quarantine.objects.values_list("reason", flat=True)
    assert sorted(reasons) == ["name_missing"] * (len(UNSEEN) + 2) + ["value_missing"] * 3
    event = AsyncCustomer.objects.get(async_account=real, operation="create")
    assert event.email == "\ufeffreal\u200b@example.COM\r\n", "staging keeps it as it came"
    assert list(CustomerAffiliation.objects.values_list("affiliation", flat=True)) == ["STAFF"]
    attributes = CustomerAttribute.objects.values_list("attribute", "value")
    assert list(attributes) == [("Size", "M")]
    assert set(CustomerContact.objects.values_list("kind", "locator")) == {
        ("phone", "090-1234-5678"),
        ("phone", "+31205550102"),
        ("phone", "+1 555-010-0199 ext. 12345"),
        ("email", "ab@example.com"),
    }
    assert [check.id for check in verify() if not check.ok] == []


def test_p10_numbers_and_tenders_of_sales_are_kept_as_people_see_them(store):
    order: dict[str, Any] = {"transaction_type": "customer_order", "payments": []}
    order["payment_amount"] = "0"
    rows = sale_rows(store, receipt_number="R-1\u00a0", store_number=" houston\t")
    rows["retail_transaction_line"][0]["item_id"] = "00\u200b04 "
    rows["retail_transaction_payment"][0]["tender_type"] = "cash\u00a0"
    write_rows(store, rows)
    make_sale(store, transaction_id="T-77", **order, confirmation_number="WEB-77")
    make_sale(store, transaction_id="T-78", **order, confirmation_number="WEB-77\u200b")
    make_sale(store, transaction_id="T-77\n", **order, confirmation_number="WEB-79")
    for empty in ("", "\t", "\u3000"):
        paid = [{"tender_type": empty, "amount": "10.70", "currency": "USD"}]
        make_sale(store, payments=paid)
        make_sale(store, **order, confirmation_number=empty)
        make_sale(store, transaction_id=empty or "\u00ad")

    run("P-0001")

    sale = RetailTransaction.objects.get(transaction_type="sale")
    assert (sale.receipt_number, sale.store_number) == ("R-1", "houston")
    assert sale.lines.get().item_id == "0004"
    assert RetailTransactionPayment.objects.get(transaction=sale).tender_type == "cash"
    found = Quarantine.objects.order_by("reason", "field").values_list("reason", "field")
    assert list(found) == [
        ("document_conflict", "confirmation_number"),
        ("document_conflict", "transaction_id"),
        *[("key_missing", "transaction_id")] * 3,
        *[("value_missing", "confirmation_number")] * 3,
        *[("value_missing", "tender_type")] * 3,
    ]
    assert RetailTransaction.objects.filter(transaction_type="customer_order").count() == 1


def test_p10_an_account_of_blanks_is_none(store):
    make_customer(store, "Ann", account_number="\u00a0")

    run("pipeline")

    assert Customer.objects.get(number__isnull=False).first_name == "Ann"
