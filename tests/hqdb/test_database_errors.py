"""A customer whom the database refuses, or a lock that is taken, stops no other customer.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from stores.models import AsyncAddress, AsyncCustomer, Customer, GuidMap, NumberSequence
from stores.models.job import JobCode
from stores.pipeline.convert.apply import convert_guids
from tests.support.concurrency import count_blocked_sessions, other_session, start_in_thread
from tests.support.make import make_customer, make_event, run
from tests.support.processes import until


@contextmanager
def customer_constraint(condition: str) -> Iterator[None]:
    """Add a constraint to HQ's customers that the code does not know of."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE customer ADD CONSTRAINT unforeseen CHECK ({condition})")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE customer DROP CONSTRAINT unforeseen")


def issued_accounts() -> list[tuple[int, str]]:
    """Number and first name of every customer with an issued number, in order."""
    customers = Customer.objects.exclude(number=None).order_by("number")
    return list(customers.values_list("number", "first_name"))


@pytest.mark.fault("F-59")  # one bad row among many
def test_a_customer_whom_the_database_refuses_fails_alone(houston):
    for _ in range(30):
        make_customer(houston, "Ann")
    bo = make_customer(houston, "Bo")
    make_event("address", houston, async_account=bo)

    with customer_constraint("first_name <> 'Bo'"):
        pipeline = run("pipeline")

    assert pipeline["outcome"] == "succeeded"
    assert pipeline["counts"]["converted"] == 30
    assert pipeline["counts"]["failed"] == 1
    # The failed customer leaves no gap in the numbers.
    assert issued_accounts() == [(number, "Ann") for number in range(5001, 5031)]
    event = AsyncCustomer.objects.get(async_account=bo)
    assert (event.status, event.reason) == ("failed", "refused")
    assert AsyncAddress.objects.get().reason == "parent_failed"


@pytest.mark.fault("F-59")  # one bad row among many
def test_an_edit_that_the_database_refuses_fails_alone(houston):
    guids = [make_customer(houston, "Ann") for _ in range(12)]
    run("pipeline")
    *accepted, refused = guids
    for guid in accepted:
        make_event("customer", houston, operation="update", async_account=guid, first_name="Bo")
    make_event("customer", houston, operation="update", async_account=refused, first_name="Cy")

    with customer_constraint("first_name <> 'Cy'"):
        pipeline = run("pipeline")

    assert pipeline["counts"]["failed"] == 1
    assert sorted(name for _, name in issued_accounts()) == ["Ann"] + ["Bo"] * 11
    event = AsyncCustomer.objects.get(first_name="Cy")
    assert (event.status, event.reason) == ("failed", "refused")


def test_many_refused_customers_do_not_stop_the_others(houston):
    for _ in range(30):
        make_customer(houston, "Bo")
    make_customer(houston, "Ann")

    with customer_constraint("first_name <> 'Bo'"):
        pipeline = run("pipeline")

    assert (pipeline["outcome"], pipeline["counts"]["failed"]) == ("succeeded", 30)
    assert issued_accounts() == [(5001, "Ann")]
    assert NumberSequence.objects.get().next == 5002


@pytest.mark.fault("F-15")  # a deadlock
def test_a_conversion_ended_by_a_deadlock_is_repeated(houston):
    make_customer(houston, "Ann")
    run(JobCode.UPLOAD)

    with other_session() as other:
        other.execute("UPDATE company SET name = name")
        conversion = start_in_thread(run, "sync-customers")
        until(count_blocked_sessions)
        other.execute("UPDATE number_sequence SET largest = largest")

    assert conversion.result(timeout=60)["counts"] == {"converted": 1}
    assert NumberSequence.objects.get().next == 5002


@pytest.mark.fault("F-16")  # a serialization failure
def test_a_conversion_with_a_serialization_failure_is_repeated(houston):
    make_customer(houston, "Ann")
    run(JobCode.UPLOAD)

    with other_session() as other:
        other.execute("UPDATE number_sequence SET largest = largest")
        conversion = start_in_thread(convert_serializable)
        until(count_blocked_sessions)
        other.connection.commit()

    assert conversion.result(timeout=60)["counts"] == {"converted": 1}
    assert NumberSequence.objects.get().next == 5002


def convert_serializable() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_isolation = 'serializable'")
    return run("sync-customers")


def test_two_sessions_at_once_create_one_account(houston):
    guid = make_customer(houston, "Ann")
    run(JobCode.UPLOAD)
    barrier = threading.Barrier(2)

    def create_account() -> int:
        with transaction.atomic():
            barrier.wait(30)
            return convert_guids(houston.channel.company, [guid], run_key=None).converted

    first, second = start_in_thread(create_account), start_in_thread(create_account)

    assert sorted([first.result(timeout=60), second.result(timeout=60)]) == [0, 1]
    assert GuidMap.objects.get().async_account == guid
