"""Texts are normalized: spaces of every kind and invisible characters make no difference.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite.
"""

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
)
from stores.models.job import JobCode
from stores.values import characters
from tests.support.make import make_customer, make_event, make_sale, run, sale_rows, write_rows
from tests.support.orders import make_order
from tests.support.promises import broken_promises

# Every character of the Basic Multilingual Plane, and blocks of others that are treated specially.
CHARACTERS = [
    chr(code)
    for codes in (
        range(1, 0xD800),
        range(0xE000, 0x10000),
        range(0x1BC90, 0x1BCB0),
        range(0x1D165, 0x1D180),
        range(0xE0000, 0xE0200),
        (0x1F468, 0x20BB7),
    )
    for code in codes
]
INVISIBLE_NAMES = (
    *("\t", "\n", "\r\n", " \t ", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u200e", "\u2800"),
    *("\u3164", "\u00ad", "\u200d", "\u200c", "\ufe0f", "\u2060", "\u202e", "\u180e", "\x07"),
    *("\x85", "\u2028", "\u034f", "\u115f", "\uffa0", "\U000e0041", "\u00a0\u200b\t"),
)


def call_sql(function: str, texts: list[str]) -> list[str]:
    """The results of an SQL function for each of the texts."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT {function}(value)
                  FROM unnest(%s::text[]) WITH ORDINALITY AS given (value, position)
                 ORDER BY position""",  # noqa: S608
            [texts],
        )
        return [result for (result,) in cursor.fetchall()]


@pytest.mark.finding(id="P10")
@pytest.mark.finding(id="P11")
@pytest.mark.slow
@pytest.mark.parametrize(
    "function", ["normalize_text", "normalize_key", "normalize_email", "normalize_phone"]
)
def test_sql_and_python_normalize_every_character_alike(db, function):
    texts = [f"{character}a{character}b@X" for character in CHARACTERS]
    texts += ["\u0d28\u0d4d\u200d", "\u0d28\u0d4d\u200d\u200b", "tel: +31 20", "e\u200b\u0308"]
    normalize_in_python = getattr(characters, function)

    by_python = [normalize_in_python(text) for text in texts]
    by_sql = call_sql(function, texts)

    differences = [
        (ascii(text), in_python, in_sql)
        for text, in_python, in_sql in zip(texts, by_python, by_sql, strict=True)
        if in_python != in_sql
    ]
    assert differences == []


@pytest.mark.finding(id="P10")
@pytest.mark.finding(id="P11")
@pytest.mark.parametrize("function", ["normalize_text", "normalize_key"])
def test_normalizing_twice_is_the_same_as_once(db, function):
    texts = [f"{character}a{character}b{character}" for character in CHARACTERS]

    once = call_sql(function, texts)

    assert call_sql(function, once) == once


@pytest.mark.finding(id="P10")
@pytest.mark.parametrize(
    "name",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u8fbb\U000e0100",
        "\u0d28\u0d4d\u200d",
    ],
    ids=["joiner within a word", "variation selector at the end", "joiner after a virama"],
)
def test_an_invisible_character_that_belongs_to_a_name_is_kept(db, name):
    assert call_sql("normalize_text", [f"\u200b{name}\u00a0"]) == [name]


@pytest.mark.finding(id="P10")
@pytest.mark.finding(id="P14")
def test_a_customer_without_a_visible_name_is_quarantined(store):
    for name in INVISIBLE_NAMES:
        make_customer(store, name, last_name=name)
    make_customer(store, None, last_name=None, name="\n", customer_type="organization\u00a0")

    run(JobCode.PIPELINE)

    assert not Customer.objects.filter(number__isnull=False).exists()
    reasons = Quarantine.objects.values_list("reason", flat=True)
    assert list(reasons) == ["name_missing"] * (len(INVISIBLE_NAMES) + 1)


@pytest.fixture
def unnormalized_customer(store):
    """The GUID of a customer, converted, with texts to normalize in every kind of field."""
    guid = make_customer(
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
        make_event("affiliation", store, async_account=guid, affiliation=affiliation)
    for attribute, value in (("Si\u200bze", " M\n"), ("\n", "M")):
        make_event("attribute", store, async_account=guid, attribute=attribute, value=value)
    for kind, locator in (
        ("url", "\t\n"),
        ("phone\n", "\uff10\uff19\uff10-1234-5678"),
        ("phone", "tel:+31205550102"),
        ("phone", "+1 555-010-0199 ext. 12345"),
        ("email\u00a0", "a\u200db@example.com\u2800"),
    ):
        make_event("contact", store, async_account=guid, kind=kind, locator=locator)
    run(JobCode.PIPELINE)
    return guid


@pytest.mark.finding(id="P10")
@pytest.mark.finding(id="P11")
@pytest.mark.slow
def test_texts_of_a_customer_are_normalized(unnormalized_customer):
    customer = Customer.objects.get(number__isnull=False)

    assert (customer.first_name, customer.last_name) == ("Real", "Name")
    assert (customer.email, customer.receipt_email) == ("real@example.com", "real@example.com")
    assert (customer.phone, customer.customer_group) == ("+31 20 555-0101", "STAFF")
    assert (customer.language, customer.currency) == ("nl", "EUR")
    affiliations = CustomerAffiliation.objects.values_list("affiliation", flat=True)
    assert list(affiliations) == ["STAFF"]
    attributes = CustomerAttribute.objects.values_list("attribute", "value")
    assert list(attributes) == [("Size", "M")]
    assert set(CustomerContact.objects.values_list("kind", "locator")) == {
        ("phone", "090-1234-5678"),
        ("phone", "+31205550102"),
        ("phone", "+1 555-010-0199 ext. 12345"),
        ("email", "ab@example.com"),
    }
    # A blank affiliation, attribute and URL.
    reasons = Quarantine.objects.values_list("reason", flat=True)
    assert list(reasons) == ["value_missing"] * 3
    assert broken_promises() == []


@pytest.mark.finding(id="P10")
def test_staging_keeps_a_text_as_its_till_wrote_it(unnormalized_customer):
    event = AsyncCustomer.objects.get(async_account=unnormalized_customer)

    assert event.email == "\ufeffreal\u200b@example.COM\r\n"


@pytest.mark.finding(id="P10")
@pytest.mark.finding(id="P14")
def test_an_invisible_name_replaces_no_name(store, unnormalized_customer):
    update = {"guid": unnormalized_customer, "operation": "update"}
    make_customer(store, "\r\n", last_name="\u3164", **update)
    unnormalized_update = {"operation": " update\n", "account_number": "005001\u00a0"}
    make_customer(store, "Real", last_name="Name", **(update | unnormalized_update))

    run(JobCode.PIPELINE)

    customer = Customer.objects.get(number__isnull=False)
    assert (customer.first_name, customer.last_name) == ("Real", "Name")
    assert Quarantine.objects.filter(reason="name_missing").count() == 1
    assert broken_promises() == []


@pytest.mark.finding(id="P10")
def test_numbers_and_tenders_of_a_sale_are_normalized(store):
    rows = sale_rows(store, receipt_number="R-1\u00a0", store_number=" houston\t")
    rows["retail_transaction_line"][0]["item_id"] = "00\u200b04 "
    rows["retail_transaction_payment"][0]["tender_type"] = "cash\u00a0"
    write_rows(store, rows)

    run(JobCode.UPLOAD)

    sale = RetailTransaction.objects.get()
    assert (sale.receipt_number, sale.store_number) == ("R-1", "houston")
    assert sale.lines.get().item_id == "0004"
    assert RetailTransactionPayment.objects.get(transaction=sale).tender_type == "cash"


@pytest.mark.finding(id="P10")
def test_numbers_that_look_alike_are_one_number(store):
    make_order(store, "WEB-77", transaction_id="T-77")
    make_order(store, "WEB-77\u200b", transaction_id="T-78")
    make_order(store, "WEB-79", transaction_id="T-77\n")

    run(JobCode.UPLOAD)

    assert RetailTransaction.objects.get().confirmation_number == "WEB-77"
    conflicts = Quarantine.objects.order_by("field").values_list("reason", "field")
    assert list(conflicts) == [
        ("document_conflict", "confirmation_number"),
        ("document_conflict", "transaction_id"),
    ]


@pytest.mark.finding(id="P10")
@pytest.mark.parametrize("blank", ["", "\t", "\u3000"])
def test_a_blank_number_or_tender_is_missing(store, blank):
    make_sale(store, payments=[{"tender_type": blank, "amount": "10.70", "currency": "USD"}])
    make_order(store, blank)
    make_sale(store, transaction_id=blank or "\u00ad")

    run(JobCode.UPLOAD)

    assert not RetailTransaction.objects.exists()
    missing = Quarantine.objects.order_by("reason", "field").values_list("reason", "field")
    assert list(missing) == [
        ("key_missing", "transaction_id"),
        ("value_missing", "confirmation_number"),
        ("value_missing", "tender_type"),
    ]


@pytest.mark.finding(id="P10")
def test_a_blank_account_number_is_none(store):
    make_customer(store, "Ann", account_number="\u00a0")

    run(JobCode.PIPELINE)

    assert Customer.objects.get(number__isnull=False).first_name == "Ann"
