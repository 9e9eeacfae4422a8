"""A person changes a customer: by the rules of all events, never over what was not seen."""

from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from psycopg2 import connect

import stores.pipeline.corrections.customer
from stores.models import AsyncCustomer, Customer, CustomerAddress, CustomerAffiliation
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.integrity.verify import verify
from stores.roles import make_groups
from tests.support.make import make_customer, make_event, query, run
from tests.support.processes import hq_url

pytestmark = pytest.mark.slow

PAGE = "/customers/005001/change/?company=USRT"
EARLIER = timezone.now() - timedelta(hours=1)


@pytest.fixture
def guid(houston) -> UUID:
    """Ann's GUID; she has her account, an address, a contact, an affiliation and an attribute."""
    guid = make_customer(houston, " Ann ", occurred_at=EARLIER, phone="111 111")
    for kind in ("address", "contact", "affiliation", "attribute"):
        make_event(kind, houston, async_account=guid, occurred_at=EARLIER)
    run("pipeline")
    return guid


@pytest.fixture
def hq_user(hq) -> Client:
    """A client in which a manager is signed in."""
    make_groups()
    user = User.objects.create_user("robin")
    user.groups.add(Group.objects.get(name="manager"))
    client = Client()
    client.force_login(user)
    return client


def ann() -> Customer:
    return Customer.objects.get(account_number="005001")


def shown(client: Client) -> dict[str, str]:
    """The form as a browser would send it back unchanged."""
    forms = client.get(PAGE).context["forms"]
    fields = {"version": str(forms.version)}
    for form in forms.all:
        for field in form:
            value = field.value()
            fields |= {} if value in (None, False) else {field.html_name: str(value)}
    return fields


def save(client: Client, form: dict[str, str], **changed: str) -> Any:
    return client.post(PAGE, form | {name.replace("__", "-"): to for name, to in changed.items()})


def messages_of(answer: Any) -> str:
    return " ".join(str(message) for message in answer.context["messages"])


def test_a_form_sent_back_as_it_came_changes_nothing(hq_user, guid):
    answer = save(hq_user, shown(hq_user))

    assert answer.status_code == 302
    assert not AsyncCustomer.objects.filter(origin="hq").exists()
    assert ann().hq_version == 1


def test_a_changed_field_is_applied_at_once_and_goes_to_every_channel(
    hq_user, houston, popup, guid
):
    answer = save(hq_user, shown(hq_user), customer__phone=" 222 222 ")

    assert answer.status_code == 302
    assert (ann().phone, ann().first_name, ann().hq_version) == ("222 222", "Ann", 2)
    run("1010")
    for channel in (houston, popup):
        assert query(channel, "SELECT phone, hq_version FROM customer") == [("222 222", 2)]
    assert [check for check in verify() if not check.ok] == []


def test_who_when_and_both_values_stand_in_the_trace(hq_user, houston, guid, command):
    save(hq_user, shown(hq_user), customer__phone="222 222")

    told = " ".join(command("trace", "005001").split())

    assert "Customer edited: phone 111 111 -> 222 222." in told
    assert "headquarters Customer edited: phone, by robin." in told


def test_all_that_belongs_to_a_customer_is_changed_added_and_removed(hq_user, houston, guid):
    save(
        hq_user,
        shown(hq_user),
        address__0__city="Austin",
        contact__0__gone="on",
        affiliation__0__gone="on",
        affiliation__new__affiliation="VIP",
        attribute__0__value="L",
        address__new__street="Second Street",
        address__new__is_primary="true",
    )
    run("1010")

    assert query(houston, "SELECT city, street, is_active FROM customer_address ORDER BY 2") == [
        ("Austin", "Main Street", True),
        (None, "Second Street", True),
    ]
    assert query(houston, "SELECT is_active FROM customer_contact") == [(False,)]
    assert query(houston, "SELECT value FROM customer_attribute") == [("L",)]
    groups = "SELECT affiliation, is_active FROM customer_affiliation ORDER BY 1"
    assert query(houston, groups) == [("STAFF", False), ("VIP", True)]
    assert CustomerAddress.objects.get(street="Second Street").is_primary


def test_a_group_that_was_left_can_be_entered_again(hq_user, houston, guid):
    save(hq_user, shown(hq_user), affiliation__0__gone="on")
    assert not CustomerAffiliation.objects.get().is_active

    save(hq_user, shown(hq_user), affiliation__new__affiliation="STAFF")

    assert CustomerAffiliation.objects.get().is_active


def test_a_customer_is_deactivated_and_active_again(hq_user, houston, guid):
    save(hq_user, shown(hq_user), customer__is_active="false", customer__phone="222 222")
    run("1010")
    assert (ann().is_active, ann().phone) == (False, "222 222")
    assert query(houston, "SELECT count(*) FROM customer_lookup") == [(0,)]

    save(hq_user, shown(hq_user), customer__is_active="true")
    assert (ann().is_active, ann().phone) == (True, "222 222")


def test_what_breaks_a_rule_is_refused_with_field_and_rule_and_nothing_is_saved(hq_user, guid):
    answer = save(
        hq_user,
        shown(hq_user),
        customer__email="nobody",
        customer__birth_date="31.02.2000",
        customer__first_name="A" * 61,
        address__0__country="ZZZ",
        attribute__new__value="L",
    )
    rules_of_dates = answer.content.decode()
    answer = save(
        hq_user,
        shown(hq_user),
        customer__email="nobody",
        customer__first_name="A" * 61,
        address__0__country="ZZZ",
        attribute__new__value="L",
    )

    page = answer.content.decode()
    assert "Birth date: not a date." in rules_of_dates
    assert "E-mail: not an e-mail address." in page
    assert "First name: too long. Allowed: at most 60 characters." in page
    assert "Country: not an ISO 3166-1 country code (three letters)." in page
    assert "Attribute: must not be empty." in page
    assert not AsyncCustomer.objects.filter(origin="hq").exists()


def test_what_a_customer_inherits_is_changed_and_never_emptied(hq_user, houston, guid):
    Customer.objects.filter(pk=ann().pk).update(language="en-us")

    page = save(hq_user, shown(hq_user), customer__language="").content.decode()
    save(hq_user, shown(hq_user), customer__language="nl")

    assert "Language: can be changed but not cleared." in page
    assert ann().language == "nl"


def test_an_edit_of_what_somebody_changed_meanwhile_is_refused(hq_user, houston, guid):
    first, second = shown(hq_user), shown(hq_user)
    save(hq_user, first, customer__phone="222 222")

    answer = hq_user.post(PAGE, second | {"customer-phone": "333 333"}, follow=True)

    assert "Changed meanwhile: nothing was saved." in messages_of(answer)
    assert ann().phone == "222 222"
    assert answer.context["forms"].own["phone"].value() == "222 222"


@pytest.mark.parametrize("is_converted", [True, False])
def test_an_edit_of_what_a_channel_changed_meanwhile_is_refused(
    hq_user, houston, guid, is_converted
):
    form = shown(hq_user)
    edit = {"operation": "update", "first_name": "Ann", "phone": "444 444"}
    make_event("customer", houston, async_account=guid, **edit)
    run("P-0001")
    if is_converted:
        run("sync-customers")

    answer = hq_user.post(PAGE, form | {"customer-phone": "333 333"}, follow=True)

    assert "Changed meanwhile: nothing was saved." in messages_of(answer)
    assert ann().phone == "444 444"


def test_who_saves_during_a_long_conversion_is_told_to_do_it_again(hq_user, guid, monkeypatch):
    form = shown(hq_user)
    monkeypatch.setattr(stores.pipeline.corrections.customer, "MAX_WAIT_S", 1)
    with closing(connect(hq_url())) as conversion, conversion.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('accounts:USRT', 0))")

        answer = save(hq_user, form, customer__phone="222 222")

    assert "nothing was saved. Save again in a moment." in messages_of(answer)
    assert answer.context["forms"].own["phone"].value() == "222 222"
    assert ann().phone == "111 111"


@pytest.mark.parametrize("version", ["", "0", "x", "9" * 30])
def test_a_form_without_the_version_it_showed_is_refused(hq_user, guid, version):
    answer = save(hq_user, shown(hq_user) | {"version": version}, customer__phone="222 222")

    assert answer.status_code == 302
    assert ann().phone == "111 111"


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("operator", 403), ("manager", 200)])
def test_only_those_who_may_change_customers_do(client, houston, role, status):
    import_account(houston.channel.company, "005001X", last_name="Lee")
    make_groups()
    user = User.objects.create_user(role)
    user.groups.add(*Group.objects.filter(name=role))
    client.force_login(user)

    page = "/customers/005001X/change/"
    assert client.get(page).status_code == status
    assert client.post(page, {}).status_code == (status if status == 403 else 302)
    offered = "/change/" in client.get("/customers/005001X/").content.decode()
    assert offered == (status == 200)


def test_an_account_that_is_not_active_any_more_is_not_changed(hq_user, houston):
    customer = import_account(houston.channel.company, "VIP-1", last_name="Lee")
    Customer.objects.filter(pk=customer.pk).update(state="erased")

    answer = hq_user.get("/customers/VIP-1/change/", follow=True)

    assert "Account VIP-1 is erased." in messages_of(answer)


def test_the_admin_leads_to_the_form(boss, houston):
    customer = import_account(houston.channel.company, "A/1", last_name="Lee")

    page = boss.get(f"/admin/stores/customer/{customer.pk}/change/").content.decode()

    assert "/customers/A/1/change/?company=USRT" in page
    assert boss.get("/customers/A/1/change/?company=USRT").status_code == 200
