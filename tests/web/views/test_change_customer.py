"""Changing a customer at HQ: the form follows the rules of events and overwrites no unseen edit.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `command` calls a management command and returns its output; `boss` is a client of an
administrator; `user_of` makes a client of a user with a role.
"""

from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone
from psycopg2 import connect

from stores.models import AsyncCustomer, Customer, CustomerAddress, CustomerAffiliation
from stores.models.job import JobCode
from stores.pipeline.convert.accounts import import_account
from tests.support.make import make_customer, make_event, query, run
from tests.support.pages import text_of
from tests.support.processes import hq_url
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

URL = "/customers/005001/change/?company=USRT"
CHANGED_MEANWHILE = "Changed meanwhile: nothing was saved."


@pytest.fixture
def guid(houston) -> UUID:
    """Ann, who has an account, an address, a contact, an affiliation and an attribute."""
    an_hour_ago = timezone.now() - timedelta(hours=1)
    guid = make_customer(houston, " Ann ", occurred_at=an_hour_ago, phone="111 111")
    for kind in ("address", "contact", "affiliation", "attribute"):
        make_event(kind, houston, async_account=guid, occurred_at=an_hour_ago)
    run("pipeline")
    return guid


@pytest.fixture
def manager(user_of) -> Client:
    """A client in which a manager is signed in."""
    return user_of("manager")


def get_ann() -> Customer:
    return Customer.objects.get(account_number="005001")


def form_data(client: Client) -> dict[str, str]:
    """The data that a browser sends when the form is submitted unchanged."""
    forms = client.get(URL).context["forms"]
    data = {"version": str(forms.version)}
    for form in forms.every_form:
        for field in form:
            if field.value() not in (None, False):
                data[field.html_name] = str(field.value())
    return data


def save(client: Client, changes: dict[str, str]) -> Any:
    """Open the form and submit it with these fields changed."""
    return client.post(URL, form_data(client) | changes)


def messages_of(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def test_an_unchanged_form_changes_nothing(manager, guid):
    response = save(manager, {})

    assert response.status_code == 302
    assert not AsyncCustomer.objects.filter(origin="hq").exists()
    assert get_ann().hq_version == 1


def test_a_changed_field_is_applied_and_delivered_to_every_channel(manager, houston, popup, guid):
    response = save(manager, {"customer-phone": " 222 222 "})

    assert response.status_code == 302
    ann = get_ann()
    assert (ann.phone, ann.first_name, ann.hq_version) == ("222 222", "Ann", 2)
    run(JobCode.DOWNLOAD)
    for channel in (houston, popup):
        assert query(channel, "SELECT phone, hq_version FROM customer") == [("222 222", 2)]
    assert broken_promises() == []


def test_the_trace_shows_who_changed_a_field_and_both_values(manager, houston, guid, command):
    save(manager, {"customer-phone": "222 222"})

    trace = " ".join(command("trace", "005001").split())

    assert "Customer edited: phone 111 111 -> 222 222." in trace
    assert "headquarters Customer edited: phone, by manager." in trace


def test_an_address_is_changed_and_another_one_added(manager, houston, guid):
    new_address = {"address-new-street": "Second Street", "address-new-is_primary": "true"}

    save(manager, {"address-0-city": "Austin"} | new_address)
    run(JobCode.DOWNLOAD)

    addresses = "SELECT street, city, is_active FROM customer_address ORDER BY street"
    assert query(houston, addresses) == [
        ("Main Street", "Austin", True),
        ("Second Street", None, True),
    ]
    assert CustomerAddress.objects.get(street="Second Street").is_primary


def test_an_affiliation_is_removed_and_another_one_added(manager, houston, guid):
    save(manager, {"affiliation-0-gone": "on", "affiliation-new-affiliation": "VIP"})
    run(JobCode.DOWNLOAD)

    affiliations = "SELECT affiliation, is_active FROM customer_affiliation ORDER BY affiliation"
    assert query(houston, affiliations) == [("STAFF", False), ("VIP", True)]


def test_a_contact_is_removed_and_an_attribute_changed(manager, houston, guid):
    save(manager, {"contact-0-gone": "on", "attribute-0-value": "L"})
    run(JobCode.DOWNLOAD)

    assert query(houston, "SELECT is_active FROM customer_contact") == [(False,)]
    assert query(houston, "SELECT value FROM customer_attribute") == [("L",)]


def test_a_removed_affiliation_can_be_added_again(manager, houston, guid):
    save(manager, {"affiliation-0-gone": "on"})
    assert not CustomerAffiliation.objects.get().is_active

    save(manager, {"affiliation-new-affiliation": "STAFF"})

    assert CustomerAffiliation.objects.get().is_active


def test_a_customer_is_deactivated_and_activated_again(manager, houston, guid):
    save(manager, {"customer-is_active": "false", "customer-phone": "222 222"})
    run(JobCode.DOWNLOAD)

    assert (get_ann().is_active, get_ann().phone) == (False, "222 222")
    assert query(houston, "SELECT count(*) FROM customer_lookup") == [(0,)]

    save(manager, {"customer-is_active": "true"})

    assert (get_ann().is_active, get_ann().phone) == (True, "222 222")


def test_a_form_with_invalid_fields_names_them_and_saves_nothing(manager, guid):
    page = text_of(
        save(
            manager,
            {
                "customer-email": "nobody",
                "customer-first_name": "A" * 61,
                "address-0-country": "ZZZ",
                "attribute-new-value": "L",
            },
        )
    )

    assert "E-mail: not an e-mail address." in page
    assert "First name: too long. Allowed: at most 60 characters." in page
    assert "Country: not an ISO 3166-1 country code (three letters)." in page
    assert "Attribute: must not be empty." in page
    assert not AsyncCustomer.objects.filter(origin="hq").exists()


def test_a_form_with_an_invalid_date_saves_nothing(manager, guid):
    page = text_of(save(manager, {"customer-birth_date": "31.02.2000", "customer-phone": "222"}))

    assert "Birth date: not a date." in page
    assert "Nothing was saved: some values are invalid; see the fields." in page
    assert not AsyncCustomer.objects.filter(origin="hq").exists()


def test_an_inherited_field_can_be_changed_but_not_cleared(manager, houston, guid):
    Customer.objects.filter(pk=get_ann().pk).update(language="en-us")

    page = text_of(save(manager, {"customer-language": ""}))
    save(manager, {"customer-language": "nl"})

    assert "Language: can be changed but not cleared." in page
    assert get_ann().language == "nl"


def test_an_edit_is_refused_if_another_user_has_saved_meanwhile(manager, houston, guid):
    form = form_data(manager)
    save(manager, {"customer-phone": "222 222"})

    response = manager.post(URL, form | {"customer-phone": "333 333"}, follow=True)

    assert CHANGED_MEANWHILE in messages_of(response)
    assert get_ann().phone == "222 222"
    assert response.context["forms"].customer_form["phone"].value() == "222 222"


@pytest.mark.parametrize("is_converted", [True, False], ids=["converted", "pending"])
def test_an_edit_is_refused_if_a_channel_changed_the_customer(manager, houston, guid, is_converted):
    form = form_data(manager)
    edit = {"operation": "update", "first_name": "Ann", "phone": "444 444"}
    make_event("customer", houston, async_account=guid, **edit)
    run(JobCode.UPLOAD)
    if is_converted:
        run("sync-customers")

    response = manager.post(URL, form | {"customer-phone": "333 333"}, follow=True)

    assert CHANGED_MEANWHILE in messages_of(response)
    assert get_ann().phone == "444 444"


def test_an_edit_during_a_long_conversion_must_be_repeated(manager, guid, monkeypatch):
    monkeypatch.setattr("stores.pipeline.corrections.customer.MAX_WAIT_S", 1)
    with closing(connect(hq_url())) as conversion, conversion.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('accounts:USRT', 0))")

        response = save(manager, {"customer-phone": "222 222"})

    assert "nothing was saved. Save again in a moment." in messages_of(response)
    assert response.context["forms"].customer_form["phone"].value() == "222 222"
    assert get_ann().phone == "111 111"


@pytest.mark.parametrize("version", ["", "0", "x", "9" * 30])
def test_a_form_without_a_valid_version_is_refused(manager, guid, version):
    response = save(manager, {"version": version, "customer-phone": "222 222"})

    assert response.status_code == 302
    assert get_ann().phone == "111 111"


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_a_role_without_the_permission_cannot_change_customers(user_of, houston, role):
    import_account(houston.channel.company, "005001X", last_name="Lee")
    client = user_of(role)

    assert client.get("/customers/005001X/change/").status_code == 403
    assert client.post("/customers/005001X/change/", {}).status_code == 403
    assert "/change/" not in text_of(client.get("/customers/005001X/"))


def test_a_manager_can_change_customers(manager, houston):
    import_account(houston.channel.company, "005001X", last_name="Lee")

    assert manager.get("/customers/005001X/change/").status_code == 200
    assert manager.post("/customers/005001X/change/", {}).status_code == 302
    assert "/change/" in text_of(manager.get("/customers/005001X/"))


def test_an_erased_account_cannot_be_changed(manager, houston):
    customer = import_account(houston.channel.company, "VIP-1", last_name="Lee")
    Customer.objects.filter(pk=customer.pk).update(state="erased")

    response = manager.get("/customers/VIP-1/change/", follow=True)

    assert "Account VIP-1 is erased." in messages_of(response)


def test_the_admin_links_to_the_form(boss, houston):
    customer = import_account(houston.channel.company, "A/1", last_name="Lee")

    page = text_of(boss.get(f"/admin/stores/customer/{customer.pk}/change/"))

    assert "/customers/A/1/change/?company=USRT" in page
    assert boss.get("/customers/A/1/change/?company=USRT").status_code == 200


@pytest.fixture
def named(houston, popup) -> None:
    """Ann, whose till has sent a full name that is composed of the others."""
    make_customer(houston, "Ann", middle_name="van", last_name="Lee", name="Ann van Lee")
    run("pipeline")


def test_a_composed_name_follows_the_names_it_is_composed_of(manager, houston, popup, named):
    save(manager, {"customer-first_name": "Zora"})
    run(JobCode.DOWNLOAD)

    assert get_ann().name == "Zora van Lee"
    for channel in (houston, popup):
        assert query(channel, "SELECT name FROM customer_lookup") == [("Zora van Lee",)]
    assert "Zora van Lee" in text_of(manager.get("/customers/"))
    assert broken_promises() == []


def test_the_command_composes_the_name_as_the_page_does(named, command, boss):
    change = ["--set", "customer-middle_name=", "--set", "customer-last_name=Banks"]

    command("customers", "change", "005001", *change, "--user", "boss")

    assert get_ann().name == "Ann Banks"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"first_name": "Zora", "name": "Zora L."}, "Zora L."),
        ({"first_name": "Zora", "name": ""}, None),
        ({"name": "Dr Lee"}, "Dr Lee"),
        ({"phone": "222 222"}, "Ann van Lee"),
        ({"first_name": "", "middle_name": "", "last_name": ""}, "Ann van Lee"),
        ({"first_name": "Zora", "customer_type": "organization"}, "Ann van Lee"),
    ],
    ids=["typed", "emptied", "only the name", "no name", "all other names emptied", "organization"],
)
def test_a_name_is_composed_only_if_nobody_chose_one(manager, named, changes, name):
    save(manager, {f"customer-{field}": value for field, value in changes.items()})

    assert get_ann().name == name


def test_a_name_that_was_not_composed_stays(manager, houston):
    make_customer(houston, "Ann", last_name="Lee", name="Lee family")
    run("pipeline")

    save(manager, {"customer-first_name": "Zora"})

    assert (get_ann().first_name, get_ann().name) == ("Zora", "Lee family")


def test_a_name_that_the_till_left_out_is_still_left_out(manager, houston, guid):
    save(manager, {"customer-first_name": "Zora"})

    assert (get_ann().name, get_ann().display_name) == (None, "Zora Lee")


def test_the_form_says_when_a_name_is_composed(manager, guid):
    assert "Follows the other names of a person" in text_of(manager.get(URL))


def test_words_are_chosen_from_those_that_the_rules_allow(manager, houston, guid):
    forms = manager.get(URL).context["forms"]
    address, contact = forms.sections[0][1][0], forms.sections[1][1][0]

    for field, words in (
        (forms.customer_form["customer_type"], ("person", "organization")),
        (address["purpose"], ("home", "business", "delivery", "invoice", "other")),
        (contact["kind"], ("email", "phone", "url")),
    ):
        assert [option.data["value"] for option in field.subwidgets] == ["", *words]
    assert 'type="date"' in str(forms.customer_form["birth_date"])
