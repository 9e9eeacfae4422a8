"""Optional fields that nobody understands keep nobody from an account: they are listed."""

from typing import Any

import pytest

from stores.models import (
    AsyncCustomer,
    Customer,
    FieldToCorrect,
    Quarantine,
    RetailTransaction,
    SalesOrder,
    TransactionError,
)
from stores.models.cards import mask_cards
from stores.models.channel import Channel
from stores.models.country import is_country
from stores.pipeline.integrity.verify import verify
from stores.traffic.faults import RawText
from tests.support.make import article, engine_of, make_customer, make_event, make_sale, run

pytestmark = pytest.mark.slow

BOTH = (
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
)
OF_ENGINE = {
    "sqlite": (
        ("birth_date", "0000-00-00", "date_format"),
        ("birth_date", "2025-02-29", "date_format"),
        ("birth_date", "1.3.1990", "date_format"),
        ("birth_date", 19900301, "date_format"),
    ),
    "postgresql": (
        ("birth_date", "10000-01-01", "date_range"),
        ("birth_date", "infinity", "date_range"),
        ("birth_date", "0044-03-15 BC", "date_range"),
    ),
}


def open_fields() -> list[tuple[str, str]]:
    """What is to be corrected, by customer."""
    rows = FieldToCorrect.objects.open().order_by("customer__first_name", "field")
    return list(rows.values_list("customer__first_name", "field"))


def test_p14_an_optional_field_that_is_not_understood_keeps_nobody_from_an_account(store):
    wrong = (*BOTH, *OF_ENGINE[engine_of(store)])
    guids = [make_customer(store, "Ann", **{field: value}) for field, value, _ in wrong]
    make_customer(store, "Good", language="yue", currency="KWD", birth_date="1990-03-01")
    make_sale(
        store,
        transaction_type="customer_order",
        async_account=guids[0],
        confirmation_number="WEB-1",
        payments=[],
        payment_amount="0",
    )
    bad = make_customer(store, "Bo", phone="none", birth_date="1899-12-30", last_name="L" * 61)

    found = run("pipeline")
    run("sync-orders")

    assert found["counts"]["converted"] == len(wrong) + 1
    assert SalesOrder.objects.count() == 1
    marks = FieldToCorrect.objects.order_by("pk").select_related("customer")
    assert {(m.async_account, m.field, m.rule) for m in marks} == {
        (guid, field, rule) for guid, (field, _, rule) in zip(guids, wrong, strict=True)
    }
    for mark in marks:
        came = next(v for g, (_, v, _) in zip(guids, wrong, strict=True) if g == mark.async_account)
        assert str(mark.shown) == str(came), "kept as it came"
    assert [row.async_account for row in Quarantine.objects.all()] == [bad]
    assert [check.id for check in verify() if not check.ok] == []

    # What comes again is marked once.
    FieldToCorrect.objects.filter(field="phone").delete()
    run("pipeline")
    assert FieldToCorrect.objects.filter(settled_at=None).count() == len(wrong) - 1


def test_p14_a_field_out_of_form_is_set_aside_as_it_came_where_another_rule_is_broken(popup):
    make_customer(popup, "A" * 61, birth_date="1.3.1990")
    make_customer(popup, "Ann", birth_date="", last_name=RawText(b"\xff"))
    make_customer(popup, "Bo", birth_date="")

    run("pipeline")

    raws = [bytes(row.raw) for row in Quarantine.objects.order_by("pk")]
    assert any(b"1.3.1990" in raw for raw in raws)
    assert Customer.objects.get(number__isnull=False).first_name == "Bo"
    assert not FieldToCorrect.objects.exists(), "an empty text is no date to be corrected"


@pytest.fixture
def desk(user_of) -> Any:
    return user_of("manager")


def test_p14_a_field_is_settled_by_a_later_event_or_on_the_customers_page(store, desk):
    odd = "infinity" if engine_of(store) == "postgresql" else "0000-00-00"
    ann = make_customer(store, "Ann", phone="none", birth_date="1899-12-30")
    bo = make_customer(store, "Bo", phone="none", birth_date=odd)
    run("pipeline")
    assert open_fields() == [
        ("Ann", "birth_date"),
        ("Ann", "phone"),
        ("Bo", "birth_date"),
        ("Bo", "phone"),
    ]
    page = desk.get("/").content.decode()
    assert "customer fields to correct" in page
    assert "/fields-to-correct/?status=open" in page
    listed = desk.get("/fields-to-correct/", {"status": "open", "field": "phone"}).content.decode()
    assert listed.count("not a phone number") == 2

    # A deactivation says nothing of it; a later event says it anew, or rightly.
    make_event("customer", store, async_account=ann, operation="deactivate")
    make_customer(store, "Bo", guid=bo, operation="update", phone="nothing")
    run("pipeline")
    assert open_fields() == [("Ann", "birth_date"), ("Ann", "phone"), ("Bo", "phone")]
    make_customer(store, "Bo", guid=bo, operation="update", phone="+31 20 555 0101")
    run("pipeline")
    assert open_fields() == [("Ann", "birth_date"), ("Ann", "phone")]

    # A person may change another field, not type a wrong one, and correct this one.
    page = f"/customers/{Customer.objects.get(first_name='Ann').account_number}/change/"

    def save(**typed: str) -> str:
        form = desk.get(page).context["forms"]
        data = {"version": form.version}
        for one in form.all:
            for name in one.fields:
                value = one[name].value()
                data[one.add_prefix(name)] = "" if value is None else value
        data |= {f"customer-{name}": value for name, value in typed.items()}
        data["customer-is_active"] = "true"
        return str(desk.post(page, data, follow=True).content.decode())

    save(first_name="Anna")
    assert open_fields() == [("Anna", "birth_date"), ("Anna", "phone")]
    assert "not a phone number" in save(phone="nobody")
    save(phone="+31 20 555 0102", birth_date="")
    assert open_fields() == []
    assert AsyncCustomer.objects.filter(origin="hq").count() == 2


LANGUAGES = ("es-419", "es_419", "en-001", "zh-Hans", "sr_Latn", "en-us", "nl")


def test_p13_a_language_may_name_its_region_by_a_number(store):
    for language in LANGUAGES:
        make_customer(store, language, language=language)
    make_customer(store, "too long for its column", language="zh-Hant-TW")

    run("pipeline")

    assert open_fields() == []
    kept = Customer.objects.filter(number__isnull=False).values_list("first_name", "language")
    assert dict(kept) == {language: language for language in LANGUAGES}
    assert (Quarantine.objects.get().reason, Quarantine.objects.get().field) == (
        "too_long",
        "language",
    )


def test_p44_a_state_that_is_written_in_full_is_set_aside_and_never_cut(store):
    ann = make_customer(store, "Ann")
    for state in ("New South Wales", "NSW"):
        make_event("address", store, async_account=ann, state=state)

    run("pipeline")

    aside = Quarantine.objects.get()
    assert (aside.reason, aside.field) == ("too_long", "state")
    assert b"New South Wales" in bytes(aside.raw)
    assert Customer.objects.get(number__isnull=False).addresses.get().state == "NSW"


@pytest.mark.parametrize(
    ("code", "is_known"),
    [("NLD", True), ("XKX", True), ("XAA", True), ("QMA", True), ("AAZ", True), ("ZZA", True)]
    + [(code, False) for code in ("XXX", "ZZZ", "QLA", "ABA", "WQZ", "xkx", "XK", "")],
)
def test_p23_codes_that_users_assign_are_countries(code, is_known):
    assert is_country(code) == is_known


def test_p23_an_address_and_a_channel_may_be_in_kosovo(store):
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


def test_v15_a_sale_in_a_currency_that_does_not_exist_is_set_aside(store):
    for currency in ("XXQ", "XXX", "usd", ""):
        make_sale(store, currency=currency)
    make_sale(store, currency="USD\u00a0")

    run("P-0001")

    found = Quarantine.objects.values_list("reason", "field")
    assert list(found) == [("unknown_word", "currency")] * 4


@pytest.mark.parametrize(
    ("typed", "refused"),
    [
        ({"options": ""}, ""),
        ({"options": "null"}, ""),
        ({"options": '["S", " M\u200b"]'}, ""),
        ({"options": "[1, 2]", "data_type": "integer"}, ""),
        ({"smallest": "1", "largest": "1", "data_type": "decimal"}, ""),
        ({"options": '"S,M,L"'}, "a list of texts"),
        ({"options": '{"S": "small"}'}, "a list of texts"),
        ({"options": '[["S"]]'}, "a list of texts"),
        ({"options": '["S", "S\\u00a0"]'}, "there twice"),
        ({"options": '["S", "\\u200b"]'}, "empty"),
        ({"options": "[null]"}, "empty"),
        ({"options": '["a"]', "data_type": "integer"}, "of the type"),
        ({"options": "[5]", "data_type": "integer", "smallest": "6"}, "within the limits"),
        ({"options": '["maybe"]', "data_type": "boolean"}, "of the type"),
        ({"smallest": "10", "largest": "1", "data_type": "integer"}, "smaller than the smallest"),
        ({"smallest": "10"}, "only numbers"),
        ({"name": "\u200b"}, "Name"),
    ],
)
def test_p22_an_attribute_is_defined_so_that_some_value_fits(boss, houston, typed, refused):
    form = {"company": "USRT", "name": "HAT", "data_type": "text", "options": "[]"}
    form |= {"smallest": "", "largest": ""} | typed

    answer = boss.post("/admin/stores/attributedefinition/add/", form)

    assert answer.status_code == (200 if refused else 302)
    assert refused in answer.content.decode()


CARDS = ("4111 1111 1111 1111", "5555555555554444", "3782-822463-10005", "6011111111111117")
NO_CARDS = (
    "4006381333931",
    "4111 1111 1111 1112",
    "00340123450000000019",
    "1234567890123452",
    "352099001761481x",
)


def test_v15_numbers_of_cards_are_named_by_a_rule_and_never_shown(boss, houston):
    for text in (*CARDS, *NO_CARDS):
        make_sale(houston, lines=[article(description=f"Paid {text} 12/29")])
    paid = [{"tender_type": CARDS[1], "amount": "10.70", "currency": "USD"}]
    make_sale(houston, payments=paid)

    run("P-0001")
    run("validate")

    errors = TransactionError.objects.order_by("transaction", "rule")
    assert [(error.rule, error.field) for error in errors] == [
        *[("card_number", "description")] * len(CARDS),
        ("card_number", "tender_type"),
    ]
    assert not any(
        any(digit in error.found + error.expected for digit in "0123456789") for error in errors
    )
    for error, number in zip(errors, (*CARDS, CARDS[1]), strict=True):
        page = boss.get(f"/transactions/{error.transaction_id}/").content.decode()
        assert number not in page
        assert f"\u2022\u2022\u2022\u2022 {number.replace(' ', '').replace('-', '')[-4:]}" in page
    for text in NO_CARDS:
        assert mask_cards(text) == text


def test_v15_texts_of_people_are_shown_apart_from_the_page(boss, houston):
    name = "\u05d0\u05d1\u202eevil"
    guid = make_customer(houston, name, last_name="Lee")
    make_event("address", houston, async_account=guid, street=name)
    make_sale(houston, lines=[article(description=name)])
    run("pipeline")
    run("P-0001")

    account = Customer.objects.get(number__isnull=False).account_number
    sale = RetailTransaction.objects.get()
    for path, part in (
        (f"/customers/{account}/", f"<bdi>{name} Lee</bdi>"),
        (f"/customers/{account}/", f"<bdi>{name}</bdi>"),
        (f"/transactions/{sale.pk}/", f"<bdi>{name}</bdi>"),
        ("/customers/", f'dir="auto">{name} Lee'),
        (f"/customers/{account}/change/", 'dir="auto"'),
    ):
        assert part in boss.get(path).content.decode(), path
