"""The page of a till: whoever may use it creates customers and sells as at a till of the store.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `user_of` signs a user of a group in.
"""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils.html import strip_tags

from stores.channeldb.connect.url import sqlite_path
from stores.models import Channel, Customer
from stores.web.views.till import MAX_OPEN
from tests.support.concurrency import other_session
from tests.support.make import lookup, out_of_reach, query, run
from tests.support.pages import text_of
from tests.support.registers import offline_register
from tests.support.tills import SYNC, events, set_up

pytestmark = pytest.mark.slow

URL = "/till/houston/"
ANN = {"action": "create-customer", "first_name": "Ann", "last_name": "Lee"}
SALE = {"action": "sell", "kind": "sale", "currency": "EUR"}
SALE |= {"item_1": "0004", "quantity_1": "2", "price_1": "10.00", "tax_percent": "21"}
GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture
def operator(user_of) -> Client:
    return user_of("operator")


def words_of(response: Any) -> str:
    """The words of a page, without tags and extra blanks."""
    return " ".join(unescape(strip_tags(text_of(response))).split())


def post(client: Client, url: str = URL, **data: str) -> Any:
    """Send a form of the page as it was opened there, and follow where it leads."""
    page = text_of(client.get(url))
    hidden = re.search(r'name="save_id" value="([^"]*)"', page)
    return client.post(url, {"save_id": hidden[1] if hidden else ""} | data, follow=True)


def test_a_customer_is_saved_found_and_never_shown_with_a_guid(operator, houston):
    saved = post(operator, **ANN)
    results = operator.get(URL, {"q": "ann"})
    customer = operator.get(URL, {"customer": "pending-1"})

    assert "Saved. Account: Pending sync. Headquarters has not fetched" in words_of(saved)
    assert saved.redirect_chain[0][0] == f"{URL}?customer=pending-1"
    [(guid,)] = events(houston, "async_customer", "async_account")
    for page in (saved, results, customer):
        assert "Pending sync" in text_of(page)
        assert str(guid) not in text_of(page)
        # Such as the id of a form that saves nobody twice.
        shown = re.sub(r'name="save_id" value="[^"]*"', "", text_of(page))
        assert not GUID.search(shown)
    run("pipeline")
    assert "005001" in words_of(operator.get(URL, {"customer": "pending-1"}))


def test_a_form_that_is_sent_twice_saves_one_customer(operator, houston):
    form = ANN | {"phone": "+1 281 555 0100"}
    form |= {"save_id": "0b8f5c52-6f0e-4d5d-8a64-2f9c6d1b7e10"}

    for _ in range(2):
        response = operator.post(URL, form, follow=True)

    assert "already saved" in words_of(response)
    assert len(events(houston)) == 1


def test_a_look_alike_is_saved_only_if_the_user_says_so(operator, houston):
    known = ANN | {"phone": "+1 281 555 0100"}
    post(operator, **known)

    typed = post(operator, **known | {"action": "look-alikes"})
    asked = post(operator, **known)
    count = len(events(houston))
    post(operator, **known, confirmed="on")

    for page in (typed, asked):
        assert "Same phone: Ann Lee (Pending sync)." in words_of(page)
    assert (count, len(events(houston))) == (1, 2)
    assert "<html" not in text_of(typed)


def test_wrong_values_are_named_at_their_fields_and_kept(operator, houston):
    response = post(operator, **ANN | {"email": "nobody", "country": "XXX"})

    page = text_of(response)
    assert "E-mail: not an e-mail address." in page
    assert "Country: not an ISO 3166-1 country code" in page
    assert 'value="nobody"' in page
    assert events(houston) == []


def test_headquarters_creates_the_customer_unless_it_is_said_to_be_away(operator, houston):
    set_up(houston, profile=SYNC)
    run("P-0001")

    away = post(operator, f"{URL}?hq=no", **ANN)
    reached = post(operator, **ANN | {"first_name": "Bo"})

    assert "could not be reached. Saved in this channel instead." in words_of(away)
    assert away.redirect_chain[0][0] == f"{URL}?hq=no&customer=pending-1"
    assert "Saved at headquarters. Account: 005001." in words_of(reached)
    run("pipeline")
    assert lookup(houston) == [("005001", "Bo"), ("005002", "Ann")]


def test_a_refusal_of_headquarters_is_shown(operator, houston):
    set_up(houston, profile=SYNC, max_lengths={"async_customer": {"last_name": 100}})
    run("P-0001")

    response = post(operator, **ANN | {"last_name": "L" * 61})

    assert "Last name: too long: at most 60 characters." in text_of(response)
    assert events(houston) == []


def test_an_offline_register_saves_for_itself_and_brings_it_when_it_is_back(operator, houston):
    with offline_register(houston) as register:
        place = f"{URL}?register=till-1"
        post(operator, f"{place}&offline=on", **ANN)
        shown = [words_of(operator.get(place)) for _ in range(2)]
        before = lookup(houston)
        merged = words_of(operator.post(place, {"action": "reconnect"}, follow=True))
        later = words_of(operator.get(place))

        # Looking changes nothing.
        assert (before, lookup(houston)) == ([], [("Pending sync", "Ann")])
        assert all(
            "Register till-1 has 1 event that the channel's database lacks." in s for s in shown
        )
        assert "Register till-1: 1 event copied." in merged
        assert "lacks" not in later
        elsewhere = operator.get(place, {"register": "till-1", "customer": "till-1/pending-1"})
        assert "is a customer in the database of register till-1" in words_of(elsewhere)
        set_up(register, filter_shared_customer_data=True)
        refused = post(operator, f"{place}&offline=on", **ANN | {"first_name": "Bo"})
        assert "works when the register is online again" in words_of(refused)


def test_the_next_save_at_a_register_brings_first_what_it_saved_offline(operator, houston):
    with offline_register(houston):
        place = f"{URL}?register=till-1"
        post(operator, f"{place}&offline=on", **ANN)

        saved = words_of(post(operator, place, **ANN | {"first_name": "Bo"}))

    assert "Register till-1: 1 event copied." in saved
    assert [first for _, first, _ in events(houston)] == ["Ann", "Bo"]


def test_a_customer_is_edited_and_served(operator, houston):
    post(operator, **ANN)
    url = f"{URL}?customer=pending-1"

    refused = post(operator, url, action="issue-loyalty-card")
    post(operator, url, **ANN | {"action": "edit-customer", "based_on": str(10**20)})
    post(operator, url, **ANN | {"action": "edit-customer", "phone": "+1 281 555 0100"})
    post(operator, url, action="add-address", city="Houston", country="USA")
    post(operator, url, **SALE)
    post(operator, url, **SALE | {"action": "order", "prepaid": "5", "delivers": "on"})
    run("pipeline")
    issued = post(operator, f"{URL}?customer=005001", action="issue-loyalty-card", card="4711")

    assert "A loyalty card needs an account in this channel" in words_of(refused)
    assert "Loyalty card 4711 is issued" in words_of(issued)
    assert "Houston USA" in words_of(issued)
    assert Customer.objects.get(first_name="Ann").phone == "+1 281 555 0100"
    kinds = query(houston, "SELECT transaction_type FROM retail_transaction ORDER BY 1")
    assert kinds == [("customer_order",), ("sale",)]


def test_the_attributes_and_affiliations_of_the_channel_are_offered(operator, houston):
    sizes = {"data_type": "text", "options": ["M", "L"], "smallest": None, "largest": None}
    set_up(
        houston,
        attributes=[{"name": "SIZE"} | sizes],
        affiliations=[{"name": "STAFF", "description": "Works here"}],
    )
    chosen = {"affiliations": "STAFF", "attribute_0": "L"}

    wrong = post(operator, **ANN | {"attribute_0": "XL"})
    post(operator, **ANN | chosen)

    assert "not a valid value for the attribute (M or L)" in text_of(wrong)
    assert "Works here" in text_of(wrong)
    assert events(houston, "async_affiliation", "affiliation") == [("STAFF",)]
    assert events(houston, "async_attribute", "value") == [("L",)]


def test_what_the_till_would_refuse_is_not_offered_and_a_sentence_says_why(operator, houston):
    post(operator, **ANN)
    offered = words_of(operator.get(f"{URL}?customer=pending-1"))
    set_up(houston, features={"async_edit": False, "async_addresses": False})

    customer = words_of(operator.get(f"{URL}?customer=pending-1"))
    new = words_of(operator.get(URL))
    saved = words_of(post(operator, f"{URL}?customer=pending-1", action="add-address", city="Ede"))

    for button in ("Save changes", "Save address"):
        assert (button in offered, button in customer) == (True, False)
    assert "Issue a card" not in offered
    assert "A loyalty card needs an account in this channel." in offered
    assert "“Editing customers in asynchronous mode” is switched off here. It works" in customer
    assert "“Asynchronous creation of customer addresses” is switched off here." in new
    assert "Street" not in new
    assert "is switched off here. Nothing was saved." in saved
    with offline_register(houston) as register:
        set_up(register, filter_shared_customer_data=True)
        filtered = words_of(operator.get(f"{URL}?register=till-1&offline=on"))
    assert "Customers cannot be created while this register is offline" in filtered
    assert "Save customer" not in filtered


MORE = {"title": "Dr.", "receipt_email": "r@example.com", "vat_number": "NL001"}


def test_a_new_customer_gets_all_that_the_command_can_give(operator, houston):
    further = {"further_email": "b@example.com", "further_phone": "+1 281 555 0100"}

    wrong = words_of(post(operator, **ANN | MORE | {"receipt_email": "nobody"}))
    wrong_contact = words_of(post(operator, **ANN | {"further_email": "nobody"}))
    post(operator, **ANN | MORE | further, has_consent="on")
    url = f"{URL}?customer=pending-1"
    post(operator, url, **ANN | MORE | {"action": "edit-customer", "title": "Prof."})

    assert "Receipt e-mail: not an e-mail address." in wrong
    assert "not an e-mail address" in wrong_contact
    assert events(houston, "async_customer", *MORE) == [
        tuple(MORE.values()),
        tuple((MORE | {"title": "Prof."}).values()),
    ]
    contacts = events(houston, "async_contact", "kind", "locator", "marketing_opt_in")
    assert sorted(contacts) == [
        ("email", further["further_email"], True),
        ("phone", further["further_phone"], True),
    ]
    set_up(houston, features={"enhanced_creation": False})
    page = text_of(operator.get(URL))
    assert "“Enhanced async customer creation” is switched off here." in page
    assert 'name="title"' not in page


def test_the_currency_of_most_sales_is_chosen_at_first(operator, houston):
    euros = 'name="currency" value="EUR"'
    before = text_of(operator.get(URL))
    for currency in ("EUR", "USD", "EUR"):
        post(operator, **SALE | {"currency": currency})

    assert (euros in before, euros in text_of(operator.get(URL))) == (False, True)


ODD = [
    "register=till-9",
    "hq=perhaps",
    "customer=nobody",
    "customer=281 555 0100",
    "customer=%00",
    "q=%00",
    "q=" + "x" * 999,
]


def test_an_odd_query_gets_a_page_or_is_not_found(operator, houston, subtests):
    for query_string in ODD:
        with subtests.test(query_string[:20]):
            assert operator.get(f"{URL}?{query_string}").status_code in (200, 400, 404)


def test_a_store_whose_database_is_away_says_so(operator, popup):
    with out_of_reach(popup):
        url = "/till/popup/"
        answers = [operator.get(url), operator.post(url, ANN)]

    assert not sqlite_path(popup).with_name("away.sqlite3").exists()
    pages = [words_of(response) for response in answers]
    assert all("It works when the database can be used again." in page for page in pages)
    assert not any("Nothing was saved" in page for page in pages)
    assert "Look whether it was saved before you enter it again." in pages[1]


def test_a_slow_channel_keeps_only_some_requests_waiting(operator, houston):
    with other_session() as session:
        for place in range(MAX_OPEN):
            session.execute("SELECT pg_advisory_lock(hashtextextended('till', %s))", [place])

        response = operator.post(URL, ANN)
        typed = operator.post(URL, ANN | {"action": "look-alikes"})

    assert "Too many tills are in use here. Nothing was saved." in words_of(response)
    assert (typed.status_code, typed.content) == (204, b"")
    assert events(houston) == []
    assert "New customer" in words_of(operator.get(URL))


def test_nobody_uses_a_till_of_a_channel_that_is_switched_off(operator, houston):
    Channel.objects.update(is_enabled=False)

    response = operator.post(URL, ANN, follow=True)

    assert "Channel houston is switched off" in words_of(response)
    assert URL not in text_of(response)
    assert events(houston) == []


def test_whoever_may_not_use_the_till_sees_no_link_to_it(user_of, houston):
    shown = {
        role: URL in text_of(user_of(role).get("/channels/houston/"))
        for role in ("viewer", "operator", "administrator")
    }

    assert shown == {"viewer": False, "operator": True, "administrator": True}
