"""Conflicting edits: of two that had not seen each other the later wins, and both are kept.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `popup` is one on SQLite; `command` calls a management command and
returns its output.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from stores.models import AsyncCustomer, ChannelDatabase, Company, EditConflict
from stores.models.job import JobCode
from stores.models.staging import StagingStatus
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.corrections.customer import Edit, complete_state, save_edits
from stores.pipeline.corrections.events import create_event
from stores.pipeline.events.kinds import CUSTOMER
from tests.support.conversion import convert, get_ann
from tests.support.make import make_customer, make_event, run
from tests.support.promises import broken_promises
from tests.support.registers import merge, offline_register, run_for

pytestmark = pytest.mark.slow


def ago(minutes: int) -> datetime:
    return timezone.now() - timedelta(minutes=minutes)


@pytest.fixture
def ann(houston, popup) -> UUID:
    """The GUID of Ann, whose account both stores know."""
    guid = make_customer(houston, "Ann", occurred_at=ago(120), phone="111 111")
    run(JobCode.PIPELINE)
    return guid


def edit(shop: ChannelDatabase, minutes: int = 0, **columns: Any) -> None:
    """Write an edit of Ann by a till that knows her account, so many minutes ago."""
    values = {"first_name": "Ann", "phone": "111 111", "account_number": "005001"}
    values |= {"operation": "update", "occurred_at": ago(minutes)}
    make_event("customer", shop, **(values | columns))


def edit_at_hq(**changes: Any) -> None:
    """Edit Ann on a page of HQ, now."""
    user, _ = User.objects.get_or_create(username="robin")
    values = {"operation": "update", **complete_state(CUSTOMER, get_ann(), changes)}
    save_edits(get_ann(), [Edit(CUSTOMER, values)], version=get_ann().hq_version, by=user)


def conflicts() -> list[tuple[str, ...]]:
    """Of each conflict the field, the value and place that lost, and those that were kept."""
    rows = EditConflict.objects.with_details().order_by("pk")
    return [
        (row.field, row.lost_value, row.lost_place, row.kept_value, row.kept_place) for row in rows
    ]


@pytest.mark.fault("F-50")  # HQ and a channel edit the same customer
@pytest.mark.parametrize("is_converted_between", [False, True])
def test_a_later_edit_of_a_till_replaces_one_of_hq(houston, ann, is_converted_between):
    edit_at_hq(phone="222 222")
    if is_converted_between:
        run(JobCode.CONVERT)
    edit(houston, phone="333 333")

    convert()

    assert get_ann().phone == "333 333"
    assert conflicts() == [("phone", "222 222", "headquarters", "333 333", houston.label)]
    assert EditConflict.objects.get().choice == "rule"


@pytest.mark.fault("F-50")  # HQ and a channel edit the same customer
@pytest.mark.parametrize("is_uploaded_first", [False, True])
def test_a_late_edit_of_a_till_yields_to_hq_s(houston, ann, is_uploaded_first):
    edit(houston, 60, phone="333 333")
    if is_uploaded_first:
        run(JobCode.UPLOAD)
        # The page would apply the pending edit first and be refused; a correction is not.
        with transaction.atomic():
            values = {"operation": "update", "account_number": "005001"}
            values |= complete_state(CUSTOMER, get_ann(), {"phone": "222 222"})
            create_event(get_ann().company, CUSTOMER, values)
    else:
        edit_at_hq(phone="222 222")

    convert()

    assert get_ann().phone == "222 222"
    assert conflicts() == [("phone", "333 333", houston.label, "222 222", "headquarters")]


def test_two_channels_that_change_the_same_field_keep_both_values(houston, popup, ann):
    edit(houston, 20, phone="222 222")
    edit(popup, 10, phone="333 333")

    convert()

    assert get_ann().phone == "333 333"
    assert conflicts() == [("phone", "222 222", houston.label, "333 333", "popup")]


@pytest.mark.parametrize("is_converted_between", [False, True])
def test_fields_changed_by_one_place_each_are_all_kept(houston, popup, ann, is_converted_between):
    edit(houston, 20, phone="222 222")
    if is_converted_between:
        convert()
    # The till states the old phone number, because it knows no other.
    edit(popup, 10, email="ann@example.com")

    convert()

    assert (get_ann().phone, get_ann().email) == ("222 222", "ann@example.com")
    assert conflicts() == []


def test_a_change_that_arrives_late_is_kept_and_counts_as_applied(houston, popup, ann):
    edit(popup, 10, email="ann@example.com")
    convert()
    edit(houston, 20, phone="222 222")

    convert()

    assert (get_ann().phone, get_ann().email) == ("222 222", "ann@example.com")
    late = AsyncCustomer.objects.get(phone="222 222")
    assert late.status == StagingStatus.APPLIED
    assert broken_promises() == []


@pytest.mark.parametrize(
    ("versions_ago", "phone"),
    # Its number is then: the old one, taken back knowingly; the new one, which it had not seen.
    [(0, "111 111"), (1, "222 222")],
)
def test_a_till_takes_back_what_the_version_shows(seattle, popup, versions_ago, phone):
    make_customer(seattle, "Ann", occurred_at=ago(120), phone="111 111")
    run(JobCode.PIPELINE)
    edit(seattle, phone="222 222")
    run(JobCode.PIPELINE)

    edit(popup, phone="111 111", based_on=get_ann().hq_version - versions_ago)
    convert()

    assert get_ann().phone == phone
    assert conflicts() == []


@pytest.mark.parametrize("version", [-1, 99])
def test_a_version_that_never_was_says_nothing(seattle, popup, version):
    make_customer(seattle, "Ann", occurred_at=ago(120), phone="111 111")
    run(JobCode.PIPELINE)
    edit(popup, phone="222 222", based_on=version)
    edit(seattle, email="ann@example.com", based_on=version)

    convert()

    assert (get_ann().phone, get_ann().email) == ("222 222", "ann@example.com")


def test_a_full_name_follows_the_names_that_it_consists_of(houston, popup):
    make_customer(houston, "Ann", name="Ann Lee", occurred_at=ago(120))
    run(JobCode.PIPELINE)
    edit(houston, 20, phone=None, first_name="Anna", name="Anna Lee")
    edit(popup, 10, phone=None, last_name="Li", name="Ann Li")

    convert()

    assert get_ann().name == "Anna Li"
    assert conflicts() == []
    assert broken_promises() == []


def test_a_full_name_that_is_left_out_follows_the_names_of_a_person(houston, popup):
    make_customer(houston, "Ann", name="Ann Lee", occurred_at=ago(120))
    run(JobCode.PIPELINE)
    edit(houston, 20, phone=None, first_name="Anna", name="Anna Lee")
    edit(popup, 10, phone=None, last_name="Li")

    convert()

    assert get_ann().name == "Anna Li"
    assert conflicts() == []


@pytest.mark.parametrize("is_edited_elsewhere", [False, True])
def test_a_till_that_shows_an_older_version_keeps_what_it_wrote_before(
    houston, popup, ann, is_edited_elsewhere
):
    first = get_ann().hq_version
    if is_edited_elsewhere:
        edit(popup, 30, receipt_email="lee@example.com", based_on=first)
        convert()
    shown = get_ann()
    edit(houston, 20, phone="222 222", based_on=first if is_edited_elsewhere else None)
    # HQ's row has replaced the till's own meanwhile.
    values = {"receipt_email": shown.receipt_email, "email": "ann@example.com"}
    edit(houston, 10, **values, based_on=shown.hq_version)

    convert()

    assert (get_ann().phone, get_ann().email) == ("222 222", "ann@example.com")
    assert get_ann().receipt_email == shown.receipt_email
    assert conflicts() == []
    assert broken_promises() == []


@pytest.mark.parametrize("is_merged_first", [False, True])
def test_an_edit_of_a_register_does_not_know_those_of_its_store(houston, ann, is_merged_first):
    with offline_register(houston) as register:
        run(JobCode.PIPELINE)
        seen = {"based_on": get_ann().hq_version}
        edit(register, 20, phone="222 222", created_offline=True, terminal_id="T1", **seen)
        edit(houston, 10, email="ann@example.com", **seen)
        merge(register, houston)
        run_for(houston if is_merged_first else register, JobCode.UPLOAD)

        convert()

        assert (get_ann().phone, get_ann().email) == ("222 222", "ann@example.com")
        assert conflicts() == []
        assert broken_promises() == []


def test_an_edit_of_an_imported_customer_does_not_take_another_back_silently(houston, popup):
    import_account(Company.objects.get(), "C-7", customer_type="person", phone="111 111")
    edit(houston, account_number="C-7", phone="222 222")
    edit(popup, account_number="C-7", email="ann@example.com")

    convert()

    assert conflicts() == [("phone", "222 222", houston.label, "111 111", "popup")]


def test_an_edit_of_an_address_does_not_make_it_primary_again(houston, popup, ann):
    first, second = uuid4(), uuid4()
    address = {"async_account": ann, "is_primary": True}
    make_event("address", houston, **address, address_id=first, occurred_at=ago(100))
    run(JobCode.PIPELINE)
    make_event("address", houston, **address, address_id=second, occurred_at=ago(20))
    update = {"operation": "update", "occurred_at": ago(10), "city": "Austin"}
    make_event("address", popup, **address, **update, address_id=first)

    run(JobCode.PIPELINE)

    cities = dict(get_ann().addresses.values_list("city", "is_primary"))
    assert cities == {"Austin": False, "Houston": True}
    assert broken_promises() == []


def test_an_edit_that_had_seen_the_other_does_not_conflict(houston, popup, ann):
    edit(houston, 0, phone="222 222")
    run(JobCode.PIPELINE)
    edit(popup, 0, phone="333 333")
    convert()
    edit_at_hq(phone="444 444")
    run(JobCode.DOWNLOAD)
    edit(houston, 0, phone="555 555")
    convert()

    assert get_ann().phone == "555 555"
    assert conflicts() == []


def test_each_part_of_a_customer_has_its_own_conflict(houston, popup, ann):
    address = {"address_id": uuid4(), "async_account": ann}
    make_event("address", houston, **address, occurred_at=ago(100))
    size = {"async_account": ann, "attribute": "SIZE"}
    make_event("attribute", houston, **size, value="M", occurred_at=ago(100))
    run(JobCode.PIPELINE)
    for shop, minutes, city, value in ((houston, 20, "Austin", "L"), (popup, 10, "Dallas", "XL")):
        update = {"operation": "update", "occurred_at": ago(minutes)}
        make_event("address", shop, **address, **update, city=city)
        make_event("attribute", shop, **size, **update, value=value)

    convert()

    assert conflicts() == [
        ("city", "Austin", houston.label, "Dallas", "popup"),
        ("value", "L", houston.label, "XL", "popup"),
    ]
    keys = EditConflict.objects.order_by("pk").values_list("key", flat=True)
    assert list(keys) == [str(address["address_id"]), "SIZE"]


def test_an_edit_and_a_later_removal_are_no_conflict(houston, popup, ann):
    edit(houston, 20, phone="222 222")
    edit(popup, 10, operation="deactivate")

    convert()

    assert (get_ann().phone, get_ann().is_active) == ("222 222", False)
    assert conflicts() == []


@pytest.mark.parametrize(
    ("clock_error", "is_open"),
    [
        (timedelta(days=-26 * 365), True),
        (timedelta(days=72 * 365), True),
        (timedelta(minutes=16), True),
        (timedelta(minutes=14), False),
        # The account was created 120 minutes ago, so an earlier edit of it cannot be right.
        (timedelta(minutes=-100), False),
        (timedelta(minutes=-140), True),
    ],
    ids=str,
)
def test_a_conflict_stays_open_if_a_clock_is_far_off(houston, seattle, clock_error, is_open):
    make_customer(houston, "Ann", occurred_at=ago(120), phone="111 111")
    run(JobCode.PIPELINE)
    edit_at_hq(phone="222 222")
    edit(
        seattle,
        phone="333 333",
        async_account=get_ann().guids.get().pk,
        account_number=None,
        occurred_at=timezone.now() + clock_error,
    )

    convert()

    conflict = EditConflict.objects.get()
    assert {conflict.lost_value, conflict.kept_value} == {"222 222", "333 333"}
    assert conflict.clock_skewed == is_open
    assert conflict.state == ("open" if is_open else "closed")


def test_a_conflict_is_open_if_a_clock_was_set_back(houston, popup, ann):
    edit(houston, 30, email="ann@example.com")
    edit(houston, 60, phone="222 222", email="ann@example.com")
    edit(popup, 20, phone="333 333")

    convert()

    assert {row.clock_skewed for row in EditConflict.objects.all()} == {True}


def test_running_again_finds_no_further_conflict(houston, popup, ann):
    edit(houston, 20, phone="222 222")
    edit(popup, 10, phone="333 333")
    convert()

    run(JobCode.PIPELINE)
    run(JobCode.CONVERT)

    assert EditConflict.objects.count() == 1
    assert broken_promises() == []


def test_new_customers_are_not_compared(houston, seattle):
    for name in ("Ann", "Bo"):
        guid = make_customer(houston, name)
        make_event("address", houston, async_account=guid)
    run(JobCode.UPLOAD)
    statements = []

    def record(execute, sql, params, many, context):
        statements.append(str(sql))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(record):
        conversion = run(JobCode.CONVERT)

    assert conversion["counts"]["converted"] == 2
    assert any("guid_map" in statement for statement in statements)
    assert not any("edit_conflict" in statement for statement in statements)


def test_the_trace_shows_both_values(houston, popup, ann, command):
    edit(houston, 20, phone="222 222")
    edit(popup, 10, phone="333 333")
    convert()

    output = " ".join(command("trace", "005001").split())

    expected = f"Customer phone: 222 222 of {houston.label} was replaced by 333 333 of popup"
    assert f"{expected}; neither side had seen the other change." in output


def test_a_trace_orders_simultaneous_edits_by_their_databases(seattle, popup, command):
    guid = make_customer(seattle, "Ann", occurred_at=ago(120), phone="111 111")
    run(JobCode.PIPELINE)
    moment = ago(10)
    for shop, phone in ((seattle, "222 222"), (popup, "333 333")):
        edit(shop, async_account=guid, phone=phone, occurred_at=moment)
    convert()

    output = " ".join(command("trace", "005001").split())

    # Popup was registered later, though its code comes first.
    assert get_ann().phone == "222 222"
    of_popup = output.index("Customer edited: phone 111 111 -> 333 333.")
    assert of_popup < output.index("Customer edited: phone 111 111 -> 222 222.")
