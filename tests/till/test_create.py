"""A till creates customers: at HQ, in its channel if HQ is away, or in its register if offline.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite, and `houston` one on
PostgreSQL (the first account is 005001); `till_1` is an offline register of the store; `service` is
the real-time service over HTTP for tills of Houston, whose profile says so.
"""

import re
from uuid import UUID

import pytest

from stores.models import AsyncCustomer, Customer, GuidMap
from stores.till import service as service_module
from stores.till.customers import NewCustomer, create_customer
from stores.till.refusals import InvalidValues, Refused
from stores.till.service import Answer, HttpService, TokenRefused
from tests.support.make import lookup, make_event, query, run
from tests.support.tills import SYNC, Away, ann, events, set_up, till_at

pytestmark = pytest.mark.slow

GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-", re.IGNORECASE)
# Triggers that run afterwards are the channel's own affair.
REFUSE_ADDRESSES = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'refused'; END $$;
    CREATE TRIGGER refuse_addresses AFTER INSERT ON async_address
    FOR EACH ROW EXECUTE FUNCTION refuse()"""
HIDE_CUSTOMERS = """
    CREATE FUNCTION hide() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN ALTER VIEW public.customer_lookup RENAME TO hidden; RETURN NULL; END $$;
    CREATE TRIGGER hide_customers AFTER INSERT ON async_customer
    FOR EACH ROW EXECUTE FUNCTION hide()"""
ALL_TABLES = ("customer", "address", "contact", "affiliation", "attribute")


def test_a_customer_is_saved_with_all_that_belongs_to_it(store):
    new = ann(
        address={"street": "Main Street", "country": "USA"},
        contacts=[("phone", "+1 281 555 0100")],
        has_consent=True,
        affiliations=["STAFF"],
        attributes={"SIZE": "M"},
    )

    saved = create_customer(till_at(store), new)

    assert saved.message.startswith("Saved. Account: Pending sync. Headquarters has not fetched")
    assert not GUID.search(str(saved.document))
    assert lookup(store) == [("Pending sync", "Ann")]
    counts = [len(events(store, f"async_{noun}", "event_id")) for noun in ALL_TABLES]
    assert counts == [1] * 5
    run("pipeline")
    customer = Customer.objects.get(account_number="005001")
    assert customer.addresses.get().purpose == "home"
    assert customer.contacts.get().marketing_opt_in
    assert customer.attributes.get().value == "M"


def test_the_same_form_saves_one_customer(store):
    new = ann()

    create_customer(till_at(store), new)
    again = create_customer(till_at(store), new)

    assert again.message.startswith("This customer is already saved.")
    with pytest.raises(Refused, match="This form has saved another customer already"):
        create_customer(till_at(store), ann(values={"first_name": "Bo"}, save_id=new.save_id))
    assert len(events(store)) == 1

    [(guid,)] = events(store, "async_customer", "async_account")
    make_event("customer", store, async_account=guid, operation="deactivate")
    again = create_customer(till_at(store), new)
    assert again.message == "This customer is already saved. It is no longer active here."


def test_two_people_with_one_name_stay_two_and_the_second_is_warned_of(store):
    values = {"phone": "+1 (281) 555-0100", "email": "Ann@Example.com"}
    address = {"postal_code": "1015 CN", "country": "NLD"}
    create_customer(till_at(store), ann(values=values, address=address))

    other = {"phone": "281 555 0100", "email": "ann@example.com"}
    saved = create_customer(
        till_at(store), ann(values=other, address=address | {"postal_code": "1015cn"})
    )

    assert [str(one) for one in saved.look_alikes] == [
        "Same phone and e-mail and name and postal code: Ann Lee (Pending sync)."
    ]
    assert len(events(store)) == 2


def test_headquarters_creates_the_customer_and_the_channel_keeps_a_copy(houston, service):
    saved = create_customer(till_at(houston, service=service), ann(attributes={"SIZE": "M"}))

    assert (saved.where, saved.account_number) == ("headquarters", "005001")
    assert "Account: 005001." in saved.message
    run("pipeline")
    assert lookup(houston) == [("005001", "Ann")]
    assert Customer.objects.get(first_name="Ann").attributes.get().value == "M"
    assert AsyncCustomer.objects.count() == 1


@pytest.mark.scenario(id="T18")
def test_a_customer_is_stored_in_the_channel_if_nothing_listens(houston, service):
    nothing = HttpService("http://127.0.0.1:9", service.token)

    saved = create_customer(till_at(houston, service=nothing), ann())

    assert saved.where == "channel"
    assert "could not be reached. Saved in this channel instead." in saved.message
    assert events(houston, "async_customer", "first_name", "created_offline") == [("Ann", False)]
    run("pipeline")
    assert lookup(houston) == [("005001", "Ann")]


@pytest.mark.scenario(id="T18")
def test_a_lost_answer_creates_nobody_twice(houston, service, monkeypatch):
    # HQ creates the customer, and the till does not wait for the answer.
    answered = HttpService.call

    def lose(self, path, body=None):
        answered(self, path, body)
        raise service_module.ServiceUnreachable("Headquarters did not answer in time.")

    monkeypatch.setattr(HttpService, "call", lose)

    saved = create_customer(till_at(houston, service=service), ann())

    assert "Pending sync" in saved.message
    [(guid,)] = events(houston, "async_customer", "async_account")
    assert GuidMap.objects.get().pk == UUID(str(guid))
    run("pipeline")
    assert lookup(houston) == [("005001", "Ann")]
    assert AsyncCustomer.objects.count() == 1


@pytest.mark.scenario(id="T18")
def test_a_refusal_of_headquarters_is_an_error_and_stores_nothing(houston, service):
    # The till checks the length by a setting that is older than HQ's.
    set_up(houston, max_lengths={"async_customer": {"last_name": 100}})

    with pytest.raises(InvalidValues) as refusal:
        create_customer(till_at(houston, service=service), ann(values={"last_name": "L" * 61}))

    assert refusal.value.fields == {"last_name": "Last name: too long: at most 60 characters."}
    assert events(houston) == []
    assert not AsyncCustomer.objects.exists()


def test_a_till_that_is_not_let_in_stores_nothing(houston, service):
    stranger = HttpService(service.address, service.token[:-1] + "x")

    with pytest.raises(TokenRefused, match="valid token"):
        create_customer(till_at(houston, service=stranger), ann())

    assert events(houston) == []


def test_a_channel_that_refuses_a_row_is_left_as_it_was(houston):
    query(houston, REFUSE_ADDRESSES)
    new = ann(address={"city": "Houston", "country": "USA"})

    with pytest.raises(Refused, match="database refuses it, and nothing was saved"):
        create_customer(till_at(houston), new)

    assert events(houston) == []


def test_a_till_says_if_headquarters_has_a_customer_and_the_channel_no_address(houston):
    set_up(houston, profile=SYNC)
    query(houston, REFUSE_ADDRESSES)
    new = ann(address={"city": "Houston", "country": "USA"})

    class Reached(Away):
        def create(self, event):
            return Answer("005001")

    saved = create_customer(till_at(houston, service=Reached()), new)

    assert saved.message.startswith("Saved at headquarters. Account: 005001. But the channel's")
    assert events(houston) == []


def test_a_form_that_is_sent_again_saves_what_the_channel_lacks(houston, service):
    till, new = till_at(houston, service=service), ann(address={"city": "Houston"})
    query(houston, REFUSE_ADDRESSES)

    lacking = create_customer(till, new)
    query(houston, "DROP FUNCTION refuse() CASCADE")
    again = create_customer(till, new)

    assert "database could not be written" in lacking.message
    assert again.message.startswith("Saved at headquarters. Account: 005001. This channel")
    assert events(houston, "async_address", "city") == [("Houston",)]


def test_a_customer_is_saved_though_reading_fails_afterwards(houston):
    query(houston, HIDE_CUSTOMERS)
    try:
        saved = create_customer(till_at(houston), ann())
    finally:
        query(houston, "ALTER VIEW hidden RENAME TO customer_lookup")

    assert (saved.message, saved.customer.ref) == ("Saved.", "")
    assert len(events(houston)) == 1


def test_an_offline_till_does_not_ask_headquarters(store, till_1):
    set_up(till_1, profile={"create_customer_async": False})
    away = Away()

    saved = create_customer(till_at(store, register=till_1, is_offline=True, service=away), ann())

    assert away.asked == []
    assert "once this register is online again" in saved.message
    assert events(till_1, "async_customer", "created_offline") == [(1,)]
    assert events(store) == []


@pytest.mark.scenario(id="T19")
def test_an_offline_register_without_customer_data_creates_nobody(store, till_1):
    set_up(till_1, filter_shared_customer_data=True)
    till = till_at(store, register=till_1, is_offline=True)

    with pytest.raises(Refused, match="works when the register is online again"):
        create_customer(till, ann())

    assert events(till_1) == events(store) == []


@pytest.mark.scenario(id="T19")
def test_an_offline_register_s_customer_is_in_the_channel_after_it_has_reconnected(store, till_1):
    set_up(till_1, filter_shared_customer_data=False)
    create_customer(till_at(store, register=till_1, is_offline=True), ann())

    counts = till_at(store, register=till_1).reconnect()

    assert counts.copied == 1
    assert lookup(store) == [("Pending sync", "Ann")]


OLD_WAYS = {
    "async_addresses": ({"address": {"city": "Houston"}}, "Asynchronous creation of customer"),
    "enhanced_creation": ({"affiliations": ["STAFF"]}, "Enhanced async customer creation"),
    "multiple_contacts": ({"contacts": [("email", "a@example.com")]}, "multiple e-mails"),
}


def test_what_a_feature_allows_is_refused_while_it_is_switched_off(houston, subtests):
    for feature, (parts, title) in OLD_WAYS.items():
        with subtests.test(feature):
            set_up(houston, features={feature: False})
            with pytest.raises(Refused, match=f"{title}.*jobs 1070 and 1110"):
                create_customer(till_at(houston), ann(**parts))

    assert events(houston) == []


def test_a_setting_has_no_effect_before_its_job_has_brought_it(houston):
    profile = houston.channel.company.feature_sets.create(async_addresses=False, async_edit=False)
    assert not profile.async_addresses
    new = {"address": {"city": "Houston", "country": "USA"}}

    create_customer(till_at(houston), ann(**new))
    run("1110")

    with pytest.raises(Refused, match="customer addresses"):
        create_customer(till_at(houston), ann(**new))


def test_wrong_values_are_refused_with_field_and_rule(houston):
    new = NewCustomer(
        values={"last_name": "L" * 61, "email": "nobody", "phone": "call me"},
        address={"city": "Houston", "country": "XXX"},
        attributes={"SIZE": "M"},
    )
    set_up(houston, parameters={"known_attributes_only": True})

    with pytest.raises(InvalidValues) as refusal:
        create_customer(till_at(houston), new)

    assert refusal.value.fields == {
        "last_name": "Last name: too long (at most 60 characters).",
        "email": "E-mail: not an e-mail address.",
        "phone": "Phone: not a phone number.",
        "country": "Country: not an ISO 3166-1 country code (three letters).",
        "attribute": "Attribute: no such attribute is defined (none).",
    }
    assert events(houston) == []
