"""What the database refuses, and what gets in the way of a conversion, stops nobody else."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest
from django.db import connection, connections, transaction

from stores.models import (
    AsyncAddress,
    AsyncCustomer,
    Customer,
    GuidMap,
    NumberSequence,
    RunStep,
)
from stores.pipeline.convert.accounts import create_accounts
from tests.support.make import make_customer, make_event, run
from tests.support.processes import hq_url, until

NUMBERS = Customer.objects.exclude(number=None).order_by("number")


@contextmanager
def rule(condition: str) -> Iterator[None]:
    """HQ's customers obey one more rule, which no code of ours foresees."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE customer ADD CONSTRAINT unforeseen CHECK ({condition})")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE customer DROP CONSTRAINT unforeseen")


@pytest.mark.fault("F-59")
def test_a_customer_whom_the_database_refuses_fails_alone(houston):
    for number in range(30):
        make_customer(houston, f"Ann {number}")
    refused = make_customer(houston, "Bo")
    make_event("address", houston, async_account=refused)

    with rule("first_name <> 'Bo'"):
        found = run("pipeline")

    assert found["outcome"] == "succeeded"
    assert found["counts"]["converted"] == 30
    assert found["counts"]["failed"] == 1
    assert [customer.number for customer in NUMBERS.all()] == list(range(5001, 5031))
    event = AsyncCustomer.objects.get(async_account=refused)
    assert (event.status, event.reason) == ("failed", "refused")
    assert AsyncAddress.objects.get().reason == "parent_failed"


@pytest.mark.fault("F-59")
def test_an_edit_that_the_database_refuses_fails_alone(houston):
    known = [make_customer(houston, f"Ann {number}") for number in range(12)]
    run("pipeline")
    for guid, name in zip(known, ["Bo"] * 11 + ["Cy"], strict=True):
        make_event("customer", houston, operation="update", async_account=guid, first_name=name)

    with rule("first_name <> 'Cy'"):
        found = run("pipeline")

    assert found["counts"]["failed"] == 1
    assert NUMBERS.filter(first_name="Bo").count() == 11
    event = AsyncCustomer.objects.get(first_name="Cy")
    assert (event.status, event.reason) == ("failed", "refused")


def test_however_many_are_refused_the_others_go_on(houston):
    for _ in range(30):
        make_customer(houston, "Bo")
    make_customer(houston, "Ann")

    with rule("first_name <> 'Bo'"):
        found = run("pipeline")

    assert (found["outcome"], found["counts"]["failed"]) == ("succeeded", 30)
    assert [customer.first_name for customer in NUMBERS.all()] == ["Ann"]
    assert NumberSequence.objects.get().next == 5002


# Others in the way


@contextmanager
def other_session() -> Iterator[Any]:
    """A cursor of somebody else in HQ, in a transaction that is rolled back at the end."""
    with closing(psycopg2.connect(hq_url())) as other, other.cursor() as cursor:
        yield cursor


class Beside:
    """Work that goes on in another thread, with a connection of its own."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.found: object = None
        self.thread = threading.Thread(target=self.do, args=[work])
        self.thread.start()

    def do(self, work: Callable[[], object]) -> None:
        self.found = work()
        connections.close_all()

    def result(self) -> Any:
        self.thread.join(60)
        return self.found


def somebody_waits() -> bool:
    """Whether a session waits for a row that another one has locked."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT count(*) FROM pg_stat_activity
                WHERE wait_event_type = 'Lock' AND wait_event = 'transactionid'"""
        )
        return cursor.fetchone()[0] > 0


@pytest.mark.fault("F-15")
def test_a_conversion_that_meets_a_deadlock_is_done_again(houston):
    make_customer(houston, "Ann")
    run("P-0001")

    with other_session() as other:
        # The conversion must be the one that gives way.
        other.execute("SET deadlock_timeout = '1min'")
        other.execute("UPDATE async_customer SET field = field")
        converting = Beside(lambda: run("sync-customers"))
        until(somebody_waits)
        other.execute("UPDATE number_sequence SET largest = largest")

    assert converting.result()["counts"] == {"converted": 1}
    assert NumberSequence.objects.get().next == 5002


@pytest.mark.fault("F-16")
def test_a_conversion_that_cannot_be_serialized_is_done_again(houston):
    make_customer(houston, "Ann")
    run("P-0001")

    def convert_strictly() -> dict[str, Any]:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_isolation = 'serializable'")
        return run("sync-customers")

    with other_session() as other:
        other.execute("UPDATE number_sequence SET largest = largest")
        converting = Beside(convert_strictly)
        until(somebody_waits)
        other.connection.commit()

    assert converting.result()["counts"] == {"converted": 1}
    assert NumberSequence.objects.get().next == 5002


def test_two_who_need_one_account_at_once_get_one(houston):
    guid = make_customer(houston, "Ann")
    run("P-0001")
    barrier = threading.Barrier(2)

    def open_one() -> int:
        with transaction.atomic():
            barrier.wait(30)
            return create_accounts(RunStep(), houston.channel.company, only=[guid]).converted

    both = [Beside(open_one) for _ in range(2)]

    assert sorted(one.result() for one in both) == [0, 1]
    assert GuidMap.objects.get().async_account == guid
