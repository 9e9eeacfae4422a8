"""Uploads, conversions and calls for the same customer at the same moment, on real connections.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `popup` is one on SQLite; `store` is a store, once on PostgreSQL and
once on SQLite; `register` registers a channel by its code.
"""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from stores.hqdb.sql import fetch_one
from stores.jobs.stages import move_on
from stores.models import (
    AsyncCustomer,
    ChannelDatabase,
    Company,
    Customer,
    GuidMap,
    JobRun,
    Quarantine,
    RetailTransaction,
    RunStep,
    SalesOrder,
)
from stores.models.job import JobCode
from stores.models.run import RunStatus
from stores.pipeline.convert.apply import convert_guids
from stores.pipeline.convert.convert import convert_customers
from stores.pipeline.corrections.customer import Edit, Stale, complete_state, save_edits
from stores.pipeline.events.kinds import CUSTOMER
from tests.support.concurrency import (
    background,
    count_blocked_sessions,
    other_session,
    run_together,
)
from tests.support.convergence import assert_converges
from tests.support.make import make_customer, make_event, make_sale, query, run
from tests.support.orders import make_order
from tests.support.processes import until
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow


def make_customers(database: ChannelDatabase, count: int) -> list[UUID]:
    return [make_customer(database, f"Ann {number}") for number in range(count)]


def outcomes_of(results: list[dict[str, Any]]) -> set[str]:
    return {result["outcome"] for result in results}


def count_in(results: list[dict[str, Any]], count: str) -> int:
    """The sum of one count of several runs."""
    return sum(result["counts"].get(count, 0) for result in results)


def running_step() -> RunStep:
    """A conversion step of a run in progress."""
    job_run = JobRun.objects.create(
        job="sync-customers", scope=str(uuid4()), status=RunStatus.RUNNING
    )
    return RunStep.objects.create(
        run=job_run,
        position=1,
        step="convert",
        company=Company.objects.get(),
        status=RunStatus.RUNNING,
        fencing_no=fetch_one("SELECT nextval('run_step_fencing')")[0],
    )


def end(step: RunStep) -> None:
    step.finish(RunStatus.SUCCEEDED)
    with transaction.atomic():
        move_on(JobRun.objects.locked(step.run_id))


def request_account(guid: UUID) -> str:
    """Create or find the account of a GUID at once, as the real-time service will."""
    step = running_step()
    with transaction.atomic():
        convert_guids(Company.objects.get(), [guid], run_key=step.run_key)
    end(step)
    return GuidMap.objects.get(async_account=guid).customer.account_number


def make_order_of_new_customer(store: ChannelDatabase, number: int) -> UUID:
    """An order of a new customer, to an address of the customer. Returns the GUID."""
    guid, address_id = make_customer(store, f"Ann {number}"), uuid4()
    make_event("address", store, async_account=guid, address_id=address_id)
    make_order(store, f"SO-W{number}", async_account=guid, delivery_address_id=address_id)
    return guid


def guids_of_orders() -> set[UUID]:
    """The GUIDs of the customers that customer orders are for."""
    orders = SalesOrder.objects.filter(confirmation_number__isnull=False)
    guids = GuidMap.objects.filter(customer__in=orders.values("customer"))
    return set(guids.values_list("async_account", flat=True))


def transaction_ids() -> list[str]:
    return sorted(RetailTransaction.objects.values_list("transaction_id", flat=True))


def quarantine_reasons() -> list[tuple[str, str]]:
    return list(Quarantine.objects.values_list("reason", "field"))


def test_two_uploads_of_one_channel_stage_each_event_once(store):
    make_customers(store, 40)

    results = run_together(
        lambda: run(JobCode.UPLOAD),
        lambda: run(JobCode.UPLOAD, channels=[store.channel.code]),
    )

    assert outcomes_of(results) <= {"succeeded", "busy", "nothing_to_do"}
    assert count_in(results, "staged") == 40
    assert AsyncCustomer.objects.count() == 40
    assert_converges(store)


@pytest.mark.fault("F-32")  # a channel database was copied
def test_a_sale_sent_by_two_channels_at_once_is_staged_once(store, seattle):
    event_id, moment = uuid4(), timezone.now()
    codes = [store.channel.code, seattle.channel.code]
    for database in (store, seattle):
        make_sale(database, transaction_id=f"T-{database.channel.code}")
        # T-1 differs, T-2 names no store, T-3 is the same event.
        make_sale(database, transaction_id="T-1", store_number="007")
        make_sale(database, transaction_id="T-2", store_number=None, occurred_at=moment)
        same_event = {"event_id": event_id, "store_number": "7", "occurred_at": moment}
        make_sale(database, transaction_id="T-3", **same_event)

    def upload_both():
        return run_together(
            *[lambda code=code: run(JobCode.UPLOAD, channels=[code]) for code in codes]
        )

    with background() as start, other_session() as session:
        # Both uploads write their headers and wait here, so that each meets the other's rows.
        session.execute("LOCK TABLE retail_transaction_line IN EXCLUSIVE MODE")
        uploads = start(upload_both)
        until(lambda: count_blocked_sessions() == 2)
    results = uploads.result()

    assert outcomes_of(results) == {"succeeded"}
    assert transaction_ids() == ["T-1", "T-2", "T-3", *sorted(f"T-{code}" for code in codes)]
    assert quarantine_reasons() == [("document_elsewhere", "transaction_id")] * 2
    assert count_in(results, "unchanged") == 1
    assert broken_promises() == []


@pytest.mark.fault("F-32")  # a channel database was copied
def test_the_same_sales_sent_in_opposite_orders_lose_none(store, seattle):
    ids = [f"T-{number}" for number in range(60)]
    for transaction_id in ids:
        make_sale(store, transaction_id=transaction_id, store_number="007")
    for transaction_id in reversed(ids):
        make_sale(seattle, transaction_id=transaction_id, store_number="007")

    run_together(
        lambda: run(JobCode.UPLOAD, channels=[store.channel.code]),
        lambda: run(JobCode.UPLOAD, channels=[seattle.channel.code]),
    )

    assert transaction_ids() == sorted(ids)
    assert quarantine_reasons() == [("document_elsewhere", "transaction_id")] * 60
    assert broken_promises() == []


@pytest.mark.fault("F-47")  # real-time requests are repeated and parallel
def test_fifty_calls_for_one_guid_get_the_same_account(houston):
    guid = make_customer(houston)
    run(JobCode.UPLOAD)

    accounts = run_together(*[lambda: request_account(guid)] * 50)

    assert set(accounts) == {"005001"}
    assert Customer.objects.filter(number__isnull=False).count() == 1
    assert_converges(houston)


@pytest.mark.fault("F-48")  # a real-time request and an upload meet
def test_an_upload_a_conversion_and_calls_for_one_guid_agree(houston):
    guid = make_customer(houston, "Ann")
    run(JobCode.UPLOAD)
    make_event("customer", houston, operation="update", async_account=guid, first_name="Eva")
    make_event("address", houston, async_account=guid)

    upload, conversion, *accounts = run_together(
        lambda: run(JobCode.UPLOAD)["outcome"],
        lambda: run("sync-customers")["outcome"],
        *[lambda: request_account(guid)] * 8,
    )

    assert set(accounts) == {"005001"}
    assert "failed" not in (upload, conversion)
    assert_converges(houston)
    # The later event wins, whichever task was first.
    assert query(houston, "SELECT first_name FROM customer") == [("Eva",)]
    assert query(houston, "SELECT count(*) FROM customer_address") == [(1,)]


def test_calls_for_many_guids_leave_no_gap_between_accounts(houston):
    guids = make_customers(houston, 24)
    run(JobCode.UPLOAD)

    accounts = run_together(*[lambda guid=guid: request_account(guid) for guid in guids])

    assert sorted(accounts) == [f"{number:06}" for number in range(5001, 5025)]
    assert_converges(houston)


def test_two_conversions_of_one_company_convert_each_customer_once(houston, popup):
    make_customers(houston, 60)
    make_customers(popup, 60)
    run(JobCode.UPLOAD)
    first, second = running_step(), running_step()

    run_together(
        lambda: convert_customers(first, first.company),
        lambda: convert_customers(second, second.company),
    )
    end(first)
    end(second)

    converted = [step.counts.get("converted", 0) for step in (first, second)]
    assert sum(converted) == 120
    assert_converges(houston, popup)


@pytest.mark.scenario(id="T8")
def test_orders_and_customers_synchronized_at_once_create_one_account_each(store, caplog):
    guids = {make_order_of_new_customer(store, number) for number in range(30)}
    run(JobCode.UPLOAD)

    results = run_together(lambda: run("sync-orders"), lambda: run("sync-customers"))

    assert outcomes_of(results) <= {"succeeded", "nothing_to_do"}
    assert count_in(results, "converted") == 30
    assert "40P01" not in caplog.text, "there was a deadlock"
    # Orders whose address the other job had locked are left to the next run.
    run("sync-orders")
    assert SalesOrder.objects.count() == 30
    assert guids_of_orders() == guids
    assert_converges(store)
    assert run("sync-orders")["outcome"] == "nothing_to_do"


@pytest.mark.scenario(id="T8")
def test_the_end_of_day_may_start_at_the_same_moment(store):
    guids = {make_order_of_new_customer(store, number) for number in range(10)}
    for guid in guids:
        make_sale(store, async_account=guid)
    run(JobCode.UPLOAD)

    results = run_together(
        lambda: run("sync-orders"), lambda: run("sync-customers"), lambda: run("eod")
    )
    # Rows that another job had locked are left to the next run.
    results += [run("eod"), run("sync-orders")]

    assert outcomes_of(results) <= {"succeeded", "nothing_to_do"}
    assert guids_of_orders() == guids
    assert RetailTransaction.objects.filter(sales_order__isnull=False).count() == 20
    assert_converges(store)


@pytest.fixture
def ann(store) -> Customer:
    """Ann, whom the till has changed since; the change is staged."""
    guid = make_customer(store, "Ann", phone="111 111")
    run("pipeline")
    edit = {"operation": "update", "async_account": guid, "first_name": "Ann"}
    make_event("customer", store, **edit, phone="222 222")
    run(JobCode.UPLOAD)
    return Customer.objects.get(number=5001)


def save_phone(customer: Customer, phone: str) -> str:
    """Save a phone number as a user does who has seen this version of the customer."""
    values = {"operation": "update", **complete_state(CUSTOMER, customer, {"phone": phone})}
    try:
        save_edits(customer, [Edit(CUSTOMER, values)], version=customer.hq_version, by=None)
    except Stale:
        return "changed meanwhile"
    return "saved"


@pytest.mark.fault("F-50")  # HQ and a channel edit the same customer
def test_users_and_conversions_do_not_overwrite_each_other_s_edits(store, ann):
    saves = [lambda n=number: save_phone(ann, f"333 33{n}") for number in range(6)]

    conversion, *saved = run_together(lambda: run("sync-customers")["outcome"], *saves)

    # Whoever comes first applies the till's edit, which no user has seen.
    assert conversion in ("succeeded", "nothing_to_do")
    assert set(saved) == {"changed meanwhile"}
    ann.refresh_from_db()
    assert ann.phone == "222 222"

    saved = run_together(*saves)

    assert sorted(saved) == ["changed meanwhile"] * 5 + ["saved"]
    assert_converges(store)


def test_a_channel_registered_during_a_conversion_gets_all_customers(houston, register):
    make_customers(houston, 60)
    run(JobCode.UPLOAD)

    popup, _ = run_together(lambda: register("popup"), lambda: run("sync-customers"))

    assert_converges(houston, popup)
    assert query(popup, "SELECT count(*) FROM customer") == [(60,)]
