"""A till edits customers, adds addresses and issues loyalty cards, and says when it cannot yet.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite (its first account is
005001); `seattle` is another store; `houston` is a store on PostgreSQL, `popup` one on SQLite.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from stores.models import Customer
from stores.models.job import JobCode
from stores.till.customers import (
    LOYALTY_CARD,
    add_address,
    create_customer,
    edit_customer,
    issue_loyalty_card,
)
from stores.till.look_up import current_state, expectation, find, moment, search
from stores.till.refusals import InvalidValues, Refused, UnknownCustomer
from stores.till.saves import new_save_id
from tests.support.make import make_customer, query, run, write
from tests.support.tills import ann, events, set_up, till_at

pytestmark = pytest.mark.slow


def ref_of(database, text="Ann") -> str:
    """How the till names the only customer with this name."""
    with till_at(database).open() as opened:
        [found] = search(opened, text)
    return found.ref


@pytest.mark.scenario(id="T17")
def test_a_loyalty_card_is_issued_once_the_account_is_in_this_channel(store, seattle):
    till = till_at(store)
    with pytest.raises(Refused, match="a new customer cannot have one yet"):
        create_customer(till, ann(attributes={LOYALTY_CARD: "4711"}))
    create_customer(till, ann())
    ref = ref_of(store)
    refusals = []
    for job in ("", JobCode.UPLOAD, JobCode.CONVERT):
        if job:
            run(job)
        with pytest.raises(Refused) as refusal:
            issue_loyalty_card(till, ref)
        refusals.append(str(refusal.value))

    run(JobCode.DOWNLOAD)
    saved = issue_loyalty_card(till, ref, "4711")

    start = "A loyalty card needs an account in this channel, and this customer is Pending sync."
    assert all(text.startswith(start) for text in refusals)
    assert "has not fetched the customer yet." in refusals[0]
    assert (
        refusals[1:]
        == [
            f"{start} Headquarters has the customer, and job 1010 brings the account."
            " Expect the account after the next P-job, conversion and 1010."
        ]
        * 2
    )
    assert saved.card == "4711"
    run("pipeline")
    assert Customer.objects.get(first_name="Ann").attributes.get().attribute == LOYALTY_CARD
    with pytest.raises(Refused, match="has a loyalty card already: 4711"):
        issue_loyalty_card(till, "005001")
    create_customer(till_at(seattle), ann(values={"first_name": "Bo"}))
    run("pipeline")
    with pytest.raises(Refused, match="belongs to 005001 already"):
        issue_loyalty_card(till, "005002", "4711")


def expected(database, text="Ann") -> str:
    """When the till says to expect the account of the only customer with this name."""
    with till_at(database).open() as opened:
        [found] = search(opened, text)
        return expectation(opened, found)


def accounts_took(database, *minutes: float) -> None:
    """Let the accounts of the channel's customers have taken so long, in order."""
    rows = events(database, "async_customer", "async_account", "acknowledged_at")
    for (guid, fetched_at), wait in zip(rows, minutes, strict=False):
        received_at = moment(fetched_at) + timedelta(minutes=wait)
        update = "UPDATE account_map SET received_at = %s WHERE async_account = %s"
        query(database, update, received_at.isoformat(), str(guid))


def test_an_account_is_expected_to_take_as_long_as_the_last_ones_whatever_tills_wrote(store):
    for name, days in (("Bo", 1), ("Cem", 400), ("Dee", -400)):
        make_customer(store, name, occurred_at=timezone.now() - timedelta(days=days))
    run("pipeline")
    accounts_took(store, 2, 1500, 3)

    saved = create_customer(till_at(store), ann())
    run(JobCode.UPLOAD)

    assert saved.message.endswith(
        "Headquarters has not fetched the customer yet. Once it has, the account usually takes 3"
        " minutes."
    )
    assert "brings the account. That usually takes 3 minutes." in expected(store)
    accounts_took(store, 0, 0, 0)
    assert expected(store).endswith("That usually takes 1 second, so it is due.")


def test_an_edit_has_the_complete_new_state_before_and_after_the_account(store):
    till = till_at(store)
    create_customer(till, ann(values={"email": "ann@example.com"}))
    ref = ref_of(store)

    pending = edit_customer(till, ref, {"last_name": "Jansen"})
    run("pipeline")
    edit_customer(till, ref, {"phone": "+1 281 555 0100"})
    # HQ has not sent the first change back, and the second edit does not take it back.
    edit_customer(till, "005001", {"title": "Dr."})
    unchanged = edit_customer(till, "005001", {"title": "Dr."})
    run("pipeline")

    assert "The customer is Pending sync." in pending.message
    assert unchanged.message.startswith("Nothing to save")
    customer = Customer.objects.get(account_number="005001")
    assert (customer.display_name, customer.email) == ("Ann Jansen", "ann@example.com")
    assert (customer.phone, customer.title) == ("+1 281 555 0100", "Dr.")
    assert len(events(store)) == 4


def test_an_edit_of_what_a_page_has_shown_keeps_what_was_changed_meanwhile(store, seattle):
    create_customer(till_at(store), ann(values={"phone": "+1 281 555 0100"}))
    run("pipeline")
    with till_at(store).open() as opened:
        found = find(opened, "005001")
        shown, version = current_state(opened, found, ("last_name", "phone"))
    edit_customer(till_at(seattle), "005001", {"phone": "+1 281 555 0199"})
    run("pipeline")

    # The whole form comes back, with the phone number that it had shown.
    edit_customer(till_at(store), "005001", shown | {"last_name": "Jansen"}, based_on=version)
    run("pipeline")

    customer = Customer.objects.get(account_number="005001")
    assert (customer.last_name, customer.phone) == ("Jansen", "+1 281 555 0199")
    assert not customer.conflicts.exists()


def test_an_edit_after_one_that_headquarters_has_not_fetched_takes_nothing_back(store, seattle):
    create_customer(till_at(store), ann(values={"phone": "+1 281 555 0100"}))
    run("pipeline")
    edit_customer(till_at(store), "005001", {"title": "Dr."})
    edit_customer(till_at(seattle), "005001", {"phone": "+1 281 555 0199"})
    run(JobCode.UPLOAD, channels=["seattle"])
    run(JobCode.CONVERT)
    run(JobCode.DOWNLOAD)

    edit_customer(till_at(store), "005001", {"last_name": "Jansen"})
    run("pipeline")

    customer = Customer.objects.get(account_number="005001")
    assert (customer.title, customer.last_name) == ("Dr.", "Jansen")
    assert customer.phone == "+1 281 555 0199"


def test_edits_and_addresses_are_refused_while_their_features_are_off(houston):
    create_customer(till_at(houston), ann())
    set_up(houston, features={"async_edit": False, "async_addresses": False})

    with pytest.raises(Refused, match="Editing customers in asynchronous mode"):
        edit_customer(till_at(houston), ref_of(houston), {"last_name": "Jansen"})
    with pytest.raises(Refused, match="Asynchronous creation of customer addresses"):
        add_address(till_at(houston), ref_of(houston), {"city": "Houston"})

    assert len(events(houston)) == 1


def test_an_address_gets_the_purpose_and_country_that_are_usual(houston):
    set_up(houston, default_customer={"country": "NLD"})
    till = till_at(houston)
    firm = {"customer_type": "organization", "name": "Lee Ltd"}
    create_customer(till, ann(values=firm))

    add_address(till, ref_of(houston, "Lee Ltd"), {"street": " Main Street "})

    columns = ("purpose", "country", "street")
    assert events(houston, "async_address", *columns) == [("business", "NLD", "Main Street")]
    with pytest.raises(InvalidValues, match="Street: must not be empty"):
        add_address(till, ref_of(houston, "Lee Ltd"), {"description": "Nowhere"})


def test_a_customer_is_found_by_account_e_mail_phone_and_part_of_the_name(store):
    values = {"email": "Ann@Example.com", "phone": "+1 281 555 0100", "last_name": "100%_Lee"}
    create_customer(till_at(store), ann(values=values))
    create_customer(till_at(store), ann(values={"first_name": "Bo", "last_name": "Kim"}))
    run("pipeline")
    account = Customer.objects.get(first_name="Ann").account_number

    with till_at(store).open() as opened:
        for text in (account, "ann@example.com", "281-555-0100", "100%_l", "nn 1"):
            assert [one.display_account for one in search(opened, text)] == [account], text
        assert len(search(opened, "%")) == 1
        assert search(opened, "x%e") == search(opened, " ") == []


def test_a_text_names_a_customer_only_if_it_is_whole(store):
    create_customer(till_at(store), ann(values={"email": "a@example.com", "phone": "+1 281 5550"}))

    with till_at(store).open() as opened:
        for text in ("A@example.com", "1 (281) 5550"):
            assert find(opened, text).name == "Ann Lee"
        # The end of the phone number may be an account that this channel lacks.
        for text in ("2815550", "281 5550", "Ann", "example.com"):
            with pytest.raises(UnknownCustomer, match="comes with job 1010"):
                find(opened, text)
        assert [one.name for one in search(opened, "2815550")] == ["Ann Lee"]


def test_a_pending_customer_of_a_register_is_nobody_elsewhere(store, till_1):
    offline = till_at(store, register=till_1, is_offline=True)
    create_customer(till_at(store), ann(values={"first_name": "Bo"}))
    saved = create_customer(offline, ann())

    assert saved.customer.ref == "till-1/pending-1"
    with pytest.raises(UnknownCustomer, match="in the database of register till-1"):
        edit_customer(till_at(store), saved.customer.ref, {"last_name": "Jansen"})
    with pytest.raises(UnknownCustomer, match="in the database of the channel itself"):
        edit_customer(offline, "pending-1", {"last_name": "Jansen"})
    edited = edit_customer(offline, saved.customer.ref, {"last_name": "Kim"})
    assert edited.customer.name == "Ann Lee"


def test_the_same_form_changes_a_customer_once(houston):
    till, save_id = till_at(houston), new_save_id()
    make_customer(houston, "Ann")
    run("pipeline")
    calls = [
        lambda: edit_customer(till, "005001", {"phone": "+1 281 555 0100"}, save_id=save_id),
        lambda: add_address(till, "005001", {"city": "Houston"}, save_id=save_id),
        lambda: issue_loyalty_card(till, "005001", save_id=save_id),
    ]

    messages = [[call().message for _ in range(2)] for call in calls]

    assert messages[0][1].startswith("The change is already saved.")
    assert messages[1][1].startswith("The address is already saved.")
    assert messages[2][0] == messages[2][1]
    tables = ("async_customer", "async_address", "async_attribute")
    assert [len(events(houston, table, "event_id")) for table in tables] == [2, 1, 1]
    with pytest.raises(Refused, match="This form has saved another address already"):
        add_address(till, "005001", {"city": "Austin"}, save_id=save_id)


def test_names_are_found_in_capitals_of_any_language(store):
    create_customer(till_at(store), ann(values={"last_name": "ÉMILE ØST"}))

    with till_at(store).open() as opened:
        assert [one.name for one in search(opened, "émile øst")] == ["Ann ÉMILE ØST"]


def test_dates_that_the_till_cannot_hold_are_named(houston):
    make_customer(houston, "Odd", birth_date="10000-01-01", occurred_at="9999-12-31 23:59:59+00")
    make_customer(houston, "Bo")
    run("pipeline")
    make_customer(houston, "Late", occurred_at="9999-12-31 23:59:59+00")

    with pytest.raises(InvalidValues, match="Birth date: not a date"):
        edit_customer(till_at(houston), ref_of(houston, "Odd"), {"last_name": "Even"})
    edited = edit_customer(till_at(houston), ref_of(houston, "Late"), {"phone": "+1 281 555 0100"})
    assert "the account usually takes" in edited.message


def test_an_unknown_customer_is_refused(houston):
    for ref in ("nobody", "pending-7", "", "pending-99999999999999999999"):
        with pytest.raises(UnknownCustomer, match="comes with job 1010"):
            edit_customer(till_at(houston), ref, {"last_name": "Jansen"})


def test_rows_of_another_till_with_broken_values_do_not_stop_the_till(popup):
    row = {"event_id": "x", "occurred_at": "yesterday", "operation": "create", "last_name": "Odd"}
    write(popup, "async_customer", row | {"async_account": "no guid"})

    with till_at(popup).open() as opened:
        [found] = search(opened, "Odd")

    assert found.display_account == "Pending sync"
    with pytest.raises(Refused, match="Another till"):
        edit_customer(till_at(popup), found.ref, {"last_name": "Even"})
