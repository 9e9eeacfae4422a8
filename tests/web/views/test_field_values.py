"""The field values that HQ accepts for customers, addresses and sales, and how pages show them.

From conftest.py: `houston` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite; `boss` is a client of an administrator.
"""

from typing import Any

import pytest
from django.test import Client

from stores.models import (
    AttributeDefinition,
    Customer,
    FieldToCorrect,
    Quarantine,
    RetailTransaction,
    TransactionError,
)
from stores.models.cards import mask_cards
from stores.models.channel import Channel
from stores.models.job import JobCode
from stores.values.country import is_country
from tests.support.make import article, make_customer, make_event, make_sale, run
from tests.support.pages import text_of

pytestmark = pytest.mark.slow

LANGUAGES = ["es-419", "es_419", "en-001", "zh-Hans", "sr_Latn", "en-us", "nl"]


@pytest.mark.finding(id="P13")
def test_a_language_may_have_a_numeric_region_or_a_script(store):
    for language in LANGUAGES:
        make_customer(store, language, language=language)

    run("pipeline")

    assert not FieldToCorrect.objects.open().exists()
    rows = Customer.objects.filter(number__isnull=False).values_list("first_name", "language")
    assert dict(rows) == {language: language for language in LANGUAGES}


@pytest.mark.finding(id="P13")
def test_a_language_too_long_for_its_column_is_quarantined(store):
    make_customer(store, "Ann", language="zh-Hant-TW")

    run("pipeline")

    row = Quarantine.objects.get()
    assert (row.reason, row.field) == ("too_long", "language")


@pytest.mark.finding(id="P44")
def test_a_state_too_long_for_its_column_is_not_cut(store):
    ann = make_customer(store, "Ann")
    for state in ("New South Wales", "NSW"):
        make_event("address", store, async_account=ann, state=state)

    run("pipeline")

    row = Quarantine.objects.get()
    assert (row.reason, row.field) == ("too_long", "state")
    assert b"New South Wales" in bytes(row.raw)
    assert Customer.objects.get(number__isnull=False).addresses.get().state == "NSW"


@pytest.mark.finding(id="P23")
@pytest.mark.parametrize("code", ["NLD", "XKX", "XAA", "QMA", "AAZ", "ZZA"])
def test_official_and_user_assigned_codes_are_countries(code):
    assert is_country(code)


@pytest.mark.finding(id="P23")
@pytest.mark.parametrize("code", ["XXX", "ZZZ", "QLA", "ABA", "WQZ", "xkx", "XK", ""])
def test_other_codes_are_no_countries(code):
    assert not is_country(code)


@pytest.mark.finding(id="P23")
def test_an_address_and_a_channel_may_be_in_kosovo(store):
    guid = make_customer(store, "Ann")
    make_event("address", store, async_account=guid, country="XKX")
    make_event("address", store, async_account=guid, country="WQZ")
    Channel.objects.update(country="XKX")
    for channel in Channel.objects.all():
        channel.full_clean()

    run("pipeline")

    customer = Customer.objects.get(number__isnull=False)
    assert customer.addresses.get().country == "XKX"
    assert Quarantine.objects.get().reason == "country_unknown"


@pytest.mark.finding(id="V15")
def test_a_sale_in_an_unknown_currency_is_quarantined(store):
    for currency in ("XXQ", "XXX", "usd", ""):
        make_sale(store, currency=currency)
    make_sale(store, currency="USD\u00a0")

    run(JobCode.UPLOAD)

    reasons = Quarantine.objects.values_list("reason", "field")
    assert list(reasons) == [("unknown_word", "currency")] * 4


def add_attribute_definition(client: Client, changes: dict[str, str]) -> Any:
    """Submit the form of the admin that defines the attribute HAT."""
    form = {
        "company": "USRT",
        "name": "HAT",
        "data_type": "text",
        "options": "",
        "smallest": "",
        "largest": "",
    }
    return client.post("/admin/stores/attributedefinition/add/", form | changes)


@pytest.mark.finding(id="P22")
@pytest.mark.parametrize(
    "changes",
    [
        {"options": ""},
        {"options": "S\r\n M\u200b\r\n\r\n"},
        {"options": "1, 2", "data_type": "integer"},
        {"smallest": "1", "largest": "1", "data_type": "decimal"},
    ],
)
def test_an_attribute_definition_that_some_value_fits_is_saved(boss, houston, changes):
    assert add_attribute_definition(boss, changes).status_code == 302


@pytest.mark.finding(id="P22")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": "S\r\nS\u00a0"}, "there twice"),
        ({"options": "S\r\n\u200b"}, "empty"),
        ({"options": "a", "data_type": "integer"}, "of the type"),
        ({"options": "7, 5", "data_type": "integer", "smallest": "6"}, "within the limits"),
        ({"options": "maybe", "data_type": "boolean"}, "of the type"),
        ({"smallest": "10", "largest": "1", "data_type": "integer"}, "smaller than the smallest"),
        ({"smallest": "10"}, "only numbers"),
        ({"name": "\u200b"}, "Name"),
    ],
)
def test_an_attribute_definition_that_no_value_fits_is_refused(boss, houston, changes, message):
    response = add_attribute_definition(boss, changes)

    assert response.status_code == 200
    assert message in text_of(response)


@pytest.mark.parametrize(
    ("typed", "options", "shown"),
    [
        ("S, M,L", ["S", "M", "L"], "S\nM\nL\n"),
        ("S\r\nM, tall", ["S", "M, tall"], "S\nM, tall\n"),
        ("S, M\r\n", ["S, M"], "S, M\n"),
    ],
)
def test_options_are_typed_one_per_line_or_with_commas_in_one(boss, houston, typed, options, shown):
    add_attribute_definition(boss, {"options": typed})

    definition = AttributeDefinition.objects.get()
    page = text_of(boss.get(f"/admin/stores/attributedefinition/{definition.pk}/change/"))
    assert definition.options == options
    assert f">\n{shown}</textarea>" in page


# Numbers of cards, and what pages show of each.
MASKED_NUMBERS = {
    "4111 1111 1111 1111": "•••• 1111",
    "5555555555554444": "•••• 4444",
    "3782-822463-10005": "•••• 0005",
    "6011111111111117": "•••• 1117",
}


@pytest.fixture
def sales_with_card_numbers(houston) -> None:
    """A sale with each card number in a description, and one with a card number as tender."""
    for number in MASKED_NUMBERS:
        make_sale(houston, lines=[article(description=f"Paid {number} 12/29")])
    payment = {"tender_type": "5555555555554444", "amount": "10.70", "currency": "USD"}
    make_sale(houston, payments=[payment])
    run(JobCode.UPLOAD)
    run("validate")


@pytest.mark.finding(id="V15")
def test_a_card_number_breaks_a_rule_that_repeats_no_digit(sales_with_card_numbers):
    errors = TransactionError.objects.order_by("transaction", "rule")

    assert [(error.rule, error.field) for error in errors] == [
        *[("card_number", "description")] * 4,
        ("card_number", "tender_type"),
    ]
    for error in errors:
        assert not any(character.isdigit() for character in error.found + error.expected)


@pytest.mark.finding(id="V15")
def test_a_card_number_is_masked_on_the_page(boss, sales_with_card_numbers):
    sales = RetailTransaction.objects.order_by("pk")

    for sale, number in zip(sales, [*MASKED_NUMBERS, "5555555555554444"], strict=True):
        page = text_of(boss.get(sale.get_absolute_url()))
        assert number not in page
        assert MASKED_NUMBERS[number] in page


@pytest.mark.finding(id="V15")
@pytest.mark.parametrize(
    "number",
    [
        "4006381333931",
        "4111 1111 1111 1112",
        "00340123450000000019",
        "1234567890123452",
        "352099001761481x",
    ],
)
def test_another_long_number_breaks_no_rule_and_is_not_masked(houston, number):
    make_sale(houston, lines=[article(description=f"Paid {number} 12/29")])

    run(JobCode.UPLOAD)
    run("validate")

    assert not TransactionError.objects.exists()
    assert mask_cards(number) == number


@pytest.mark.finding(id="V15")
def test_texts_with_another_writing_direction_are_isolated(boss, houston):
    name = "\u05d0\u05d1\u202eevil"
    guid = make_customer(houston, name, last_name="Lee")
    make_event("address", houston, async_account=guid, street=name)
    make_sale(houston, lines=[article(description=name)])
    run("pipeline")
    run(JobCode.UPLOAD)

    account = Customer.objects.get(number__isnull=False).account_number
    customer_page = text_of(boss.get(f"/customers/{account}/"))
    assert f"<bdi>{name} Lee</bdi>" in customer_page
    assert f"<bdi>{name}</bdi>" in customer_page
    sale = RetailTransaction.objects.get()
    assert f"<bdi>{name}</bdi>" in text_of(boss.get(f"/transactions/{sale.pk}/"))
    assert f'dir="auto">{name} Lee' in text_of(boss.get("/customers/"))
    assert 'dir="auto"' in text_of(boss.get(f"/customers/{account}/change/"))
