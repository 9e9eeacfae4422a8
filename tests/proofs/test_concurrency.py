"""What happens at the same moment: real connections that set off together, no mocked locks."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg2
import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from stores.hqdb.locks import Locks
from stores.hqdb.retry import MAX_TRIES, retry_on_conflict
from stores.jobs.claim import BUSY_ELSEWHERE
from stores.models import (
    AsyncCustomer,
    Company,
    Customer,
    GuidMap,
    JobRun,
    Quarantine,
    RetailTransaction,
    RunStep,
    SalesOrder,
)
from stores.models.run import RunStatus
from stores.pipeline.convert.accounts import create_accounts
from stores.pipeline.convert.convert import convert_customers
from stores.pipeline.corrections.customer import Edit, Stale, complete_state, save_edits
from stores.pipeline.events.kinds import CUSTOMER
from stores.pipeline.integrity.verify import verify
from tests.proofs.chaos.checker import Checker
from tests.proofs.chaos.places import Place
from tests.support.channels import on_server
from tests.support.make import make_customer, make_event, make_sale, query, run
from tests.support.processes import hq_url, until

pytestmark = pytest.mark.slow

T = TypeVar("T")
ELSEWHERE = ("document_elsewhere", "transaction_id")


def together(*tasks: Callable[[], T]) -> list[T]:
    """Do the tasks at the same time, each with connections of its own; what each returned."""
    barrier = threading.Barrier(len(tasks))

    def one(task: Callable[[], T]) -> T:
        try:
            barrier.wait()
            return task()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(one, tasks))


def ring_of(*shops: Any) -> Checker:
    return Checker(hq_url(), [Place.of(shop) for shop in shops])


def assert_converges(*shops: Any) -> None:
    """After two more pipelines every promise holds, and there is nothing left to do."""
    outcomes = [run("pipeline")["outcome"] for _ in range(2)]

    assert ring_of(*shops).convergence() == []
    assert outcomes[-1] == "nothing_to_do"


def a_step() -> RunStep:
    """A step of a run that somebody executes at this moment."""
    ledger = JobRun.objects.create(
        job="sync-customers", scope=str(uuid4()), status=RunStatus.RUNNING, fencing_no=1
    )
    return RunStep.objects.create(
        run=ledger,
        position=1,
        step="convert",
        company=Company.objects.get(),
        status=RunStatus.RUNNING,
        fencing_no=1,
    )


def end_of(step: RunStep) -> None:
    step.finish(RunStatus.SUCCEEDED)
    step.run.end(RunStatus.SUCCEEDED, "Done.", counts=step.counts)


def account_of(guid: Any) -> str:
    """What the real-time service will do for a till that asks for an account at once."""
    step = a_step()
    with transaction.atomic():
        create_accounts(step, step.its_company, only=[guid])
    end_of(step)
    return GuidMap.objects.get(async_account=guid).customer.account_number


def test_two_uploads_of_one_channel_take_every_event_once(store):
    for number in range(40):
        make_customer(store, f"Ann {number}")

    found = together(lambda: run("P-0001"), lambda: run("P-0001", channels=[store.channel.code]))

    assert {one["outcome"] for one in found} <= {"succeeded", "busy", "nothing_to_do"}
    assert sum(one["counts"].get("staged", 0) for one in found) == 40
    assert AsyncCustomer.objects.count() == 40
    assert_converges(store)


@pytest.mark.fault("F-32")
def test_of_one_number_that_two_channels_send_at_once_one_is_kept(store, seattle):
    shops, shared, moment = (store, seattle), uuid4(), timezone.now()
    for shop in shops:
        make_sale(shop, transaction_id=f"T-{shop.channel.code}")
        # Another sale of the same store and number, and one that names no store.
        make_sale(shop, transaction_id="T-1", store_number="007")
        make_sale(shop, transaction_id="T-2", store_number=None, occurred_at=moment)
        make_sale(shop, transaction_id="T-3", event_id=shared, store_number="7", occurred_at=moment)

    with ThreadPoolExecutor(1) as pool:
        with somebody() as other:
            # Headers are written before lines: whoever comes second meets them uncommitted.
            other.execute("LOCK TABLE retail_transaction_line IN EXCLUSIVE MODE")
            uploads = [
                lambda shop=shop: run("P-0001", channels=[shop.channel.code]) for shop in shops
            ]
            both = pool.submit(lambda: together(*uploads))
            until(lambda: who_waits() == 2)
        found = both.result()

    assert {one["outcome"] for one in found} == {"succeeded"}
    kept = ["T-1", "T-2", "T-3", *sorted(f"T-{shop.channel.code}" for shop in shops)]
    assert sorted(RetailTransaction.objects.values_list("transaction_id", flat=True)) == kept
    assert list(Quarantine.objects.values_list("reason", "field")) == [ELSEWHERE] * 2
    assert sum(one["counts"].get("unchanged", 0) for one in found) == 1
    assert [check.id for check in verify() if not check.ok] == []


@pytest.mark.fault("F-32")
def test_copied_tills_that_count_in_opposite_orders_lose_no_sale(store, seattle):
    numbers = [f"T-{number}" for number in range(60)]
    for shop, order in ((store, numbers), (seattle, numbers[::-1])):
        for number in order:
            make_sale(shop, transaction_id=number, store_number="007")

    together(
        *[
            lambda shop=shop: run("P-0001", channels=[shop.channel.code])
            for shop in (store, seattle)
        ]
    )

    kept = RetailTransaction.objects.values_list("transaction_id", flat=True)
    assert sorted(kept) == sorted(numbers)
    assert list(Quarantine.objects.values_list("reason", "field")) == [ELSEWHERE] * 60
    assert [check.id for check in verify() if not check.ok] == []


@contextmanager
def visited(shop: Any) -> Iterator[None]:
    """Another run is fetching the channel's events."""
    with Locks() as other:
        assert other.acquire(f"upload:{shop.pk}")
        yield


def test_the_end_of_day_waits_where_a_pipeline_is_visiting_and_then_goes_on(store, seattle):
    for shop in (store, seattle):
        make_sale(shop)
    steps = RunStep.objects.filter(run__job="eod", step="upload")

    with ThreadPoolExecutor(1) as pool:
        with visited(store):
            ending = pool.submit(lambda: together(lambda: run("eod"))[0])
            until(lambda: steps.filter(database=seattle, status="succeeded").exists())
            until(lambda: steps.filter(database=store, message__contains=BUSY_ELSEWHERE).exists())
            assert not RetailTransaction.objects.filter(database=store).exists()
        found = ending.result()

    assert found["outcome"] == "succeeded"
    assert {step["message"] for step in found["steps"]} == {""}
    assert RetailTransaction.objects.filter(sales_order__isnull=False).count() == 2


def test_the_end_of_day_waits_no_longer_than_a_step_may_be_silent(store, seattle, settings):
    settings.STEP_SILENT_S = 0

    with visited(store):
        found = run("eod")

    assert found["outcome"] == "partly"
    assert BUSY_ELSEWHERE in found["message"]


def test_an_end_of_day_that_waits_can_be_stopped(store):
    with ThreadPoolExecutor(1) as pool, visited(store):
        ending = pool.submit(lambda: together(lambda: run("eod"))[0])
        until(lambda: RunStep.objects.filter(message__contains=BUSY_ELSEWHERE).exists())
        JobRun.objects.get().request_cancel()

        assert ending.result()["outcome"] == "cancelled"


# The HTTP face of the real-time service comes later; this is the function that it will call.
@pytest.mark.fault("F-47")
def test_fifty_callers_who_name_one_guid_are_told_one_account(houston):
    guid = make_customer(houston)
    run("P-0001")

    told = together(*[lambda: account_of(guid)] * 50)

    assert set(told) == {"005001"}
    assert Customer.objects.filter(number__isnull=False).count() == 1
    assert_converges(houston)


@pytest.mark.fault("F-48")
def test_upload_conversion_and_a_call_may_meet_at_one_guid(houston):
    guid = make_customer(houston, "Ann")
    run("P-0001")
    make_event("customer", houston, operation="update", async_account=guid, first_name="Eva")
    make_event("address", houston, async_account=guid)

    told = together(
        lambda: run("P-0001")["outcome"],
        lambda: run("sync-customers")["outcome"],
        *[lambda: account_of(guid)] * 8,
    )

    assert set(told[2:]) == {"005001"}
    assert "failed" not in told[:2]
    assert_converges(houston)
    # The order of the events decides, whoever came first.
    assert query(houston, "SELECT first_name FROM customer") == [("Eva",)]
    assert query(houston, "SELECT count(*) FROM customer_address") == [(1,)]


def test_two_conversions_of_one_company_number_everybody_once(houston, popup):
    for shop in (houston, popup):
        for number in range(60):
            make_customer(shop, f"Ann {number}")
    run("P-0001")
    steps = [a_step() for _ in range(2)]

    together(*[lambda step=step: convert_customers(step, step.company) for step in steps])
    for step in steps:
        end_of(step)

    assert sum(step.counts.get("converted", 0) for step in steps) == 120
    assert_converges(houston, popup)


def test_t8_orders_and_customers_synchronized_at_once_open_one_account_each(store, caplog):
    guids = {order_of_somebody_new(store, number) for number in range(30)}
    run("P-0001")

    found = together(lambda: run("sync-orders"), lambda: run("sync-customers"))

    assert {one["outcome"] for one in found} <= {"succeeded", "nothing_to_do"}
    assert sum(one["counts"].get("converted", 0) for one in found) == 30
    assert "40P01" not in caplog.text
    # An order whose address the other job held at that moment is left to the next run.
    run("sync-orders")
    assert SalesOrder.objects.count() == 30
    assert ordered_by() == guids
    assert_converges(store)
    assert run("sync-orders")["outcome"] == "nothing_to_do"


def test_t8_end_of_day_may_begin_at_the_same_second_too(store):
    guids = {order_of_somebody_new(store, number) for number in range(10)}
    for guid in guids:
        make_sale(store, async_account=guid)
    run("P-0001")

    found = together(lambda: run("sync-orders"), lambda: run("sync-customers"), lambda: run("eod"))

    assert {one["outcome"] for one in found} <= {"succeeded", "nothing_to_do"}
    # What another job held at that moment is left to the next run.
    assert {run(job)["outcome"] for job in ("eod", "sync-orders")} <= {"succeeded", "nothing_to_do"}
    assert ordered_by() == guids
    assert RetailTransaction.objects.filter(sales_order__isnull=False).count() == 20
    assert_converges(store)


def order_of_somebody_new(shop: Any, number: int) -> UUID:
    """A pending customer with an order to an address of theirs. Returns the GUID."""
    guid, home = make_customer(shop, f"Ann {number}"), uuid4()
    make_event("address", shop, async_account=guid, address_id=home)
    make_sale(
        shop,
        transaction_type="customer_order",
        confirmation_number=f"SO-W{number}",
        async_account=guid,
        delivery_address_id=home,
    )
    return guid


def ordered_by() -> set[UUID]:
    """The GUIDs of whom customer orders are for, through the account of each order."""
    orders = SalesOrder.objects.filter(confirmation_number__isnull=False)
    return set(
        GuidMap.objects.filter(customer__in=orders.values("customer")).values_list(
            "async_account", flat=True
        )
    )


def test_small_conversions_side_by_side_leave_no_gap(houston):
    guids = [make_customer(houston, f"Ann {number}") for number in range(24)]
    run("P-0001")

    told = together(*[lambda guid=guid: account_of(guid) for guid in guids])

    assert sorted(told) == [f"{number:06}" for number in range(5001, 5025)]
    assert_converges(houston)


@pytest.mark.fault("F-50")
def test_people_and_a_conversion_that_edit_one_customer_at_once_lose_no_value(store):
    guid = make_customer(store, "Ann", phone="111 111")
    run("pipeline")
    customer = Customer.objects.get(number=5001)
    edit = {"operation": "update", "async_account": guid, "first_name": "Ann"}
    make_event("customer", store, **edit, phone="222 222")
    run("P-0001")

    def save(phone: str) -> str:
        values = {"operation": "update", **complete_state(CUSTOMER, customer, {"phone": phone})}
        try:
            save_edits(customer, [Edit(CUSTOMER, values)], version=customer.hq_version, by=None)
        except Stale:
            return "changed meanwhile"
        return "saved"

    told = together(
        lambda: run("sync-customers")["outcome"],
        *[lambda number=number: save(f"333 33{number}") for number in range(6)],
    )

    # Whoever comes first applies the till's edit, which none of them had seen.
    assert told[0] in ("succeeded", "nothing_to_do")
    assert set(told[1:]) == {"changed meanwhile"}
    customer.refresh_from_db()
    assert customer.phone == "222 222"
    told = together(*[lambda number=number: save(f"333 33{number}") for number in range(6)])
    assert sorted(told) == ["changed meanwhile"] * 5 + ["saved"]
    assert_converges(store)


def test_channel_that_joins_during_a_conversion_misses_nobody(houston, register):
    for number in range(60):
        make_customer(houston, f"Ann {number}")
    run("P-0001")

    joined, _ = together(lambda: register("popup"), lambda: run("sync-customers"))

    assert_converges(houston, joined)
    assert query(joined, "SELECT count(*) FROM customer") == [(60,)]


@contextmanager
def somebody() -> Iterator[Any]:
    """Another session of HQ's database, in a transaction that ends with the block."""
    with closing(psycopg2.connect(hq_url())) as other, other, other.cursor() as cursor:
        # In a deadlock the others notice first, and are the victims.
        cursor.execute("SET deadlock_timeout = '60s'")
        yield cursor


def who_waits() -> int:
    """How many sessions of HQ's database wait for another one."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"""
        )
        return int(cursor.fetchone()[0])


def blocks_somebody(session: Any) -> bool:
    """Whether another session waits for this one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))",
            [session.connection.info.backend_pid],
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.fault("F-15")
def test_conversion_that_was_the_victim_of_a_deadlock_is_done_again(houston, caplog):
    make_event("address", houston, async_account=make_customer(houston))
    run("P-0001")

    with ThreadPoolExecutor(1) as pool:
        with somebody() as other:
            other.execute("UPDATE async_address SET terminal_id = '7'")
            converting = pool.submit(lambda: together(lambda: run("sync-customers"))[0])
            until(lambda: blocks_somebody(other))
            # What a conversion takes first.
            other.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", ["accounts:USRT"]
            )
        found = converting.result()

    assert "40P01" in caplog.text
    assert (found["outcome"], found["counts"]["converted"]) == ("succeeded", 1)
    assert_converges(houston)


@pytest.mark.fault("F-16")
def test_server_whose_transactions_are_serializable_serves_as_any_other(houston):
    for number in range(20):
        make_customer(houston, f"Ann {number}")
    name = connection.settings_dict["NAME"]
    ask = f'ALTER DATABASE "{name}" SET default_transaction_isolation'

    on_server(f"{ask} = serializable")
    try:
        connections.close_all()
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            isolation = cursor.fetchone()
        found = together(lambda: run("P-0001"), lambda: run("pipeline"), lambda: run("1010"))
        again = together(lambda: run("sync-customers"), lambda: run("pipeline"))
    finally:
        on_server(f"{ask} = DEFAULT")

    steps = [step["outcome"] for one in [*found, *again] for step in one["steps"]]
    assert isolation == ("read committed",)
    assert set(steps) <= {"succeeded", "nothing_to_do", "busy"}
    assert_converges(houston)


@pytest.mark.fault("F-16")
def test_work_is_tried_again_a_few_times_and_no_more(houston):
    tried = []

    def work() -> None:
        tried.append(1)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE EXCEPTION '' USING ERRCODE = '40001'; END $$")

    with pytest.raises(OperationalError):
        retry_on_conflict(work, "convert USRT")

    assert len(tried) == MAX_TRIES


@contextmanager
def slow_till(shop: Any) -> Iterator[Any]:
    """A till's transaction that stays open for as long as the block lasts, and then commits."""
    with closing(Place.of(shop).open(write=True)) as till:
        yield till.cursor()
        till.commit()


@pytest.mark.fault("F-20")
def test_customer_with_a_lower_counter_who_commits_late_arrives_too(houston):
    late = uuid4()
    insert = """INSERT INTO async_customer (event_id, occurred_at, operation, async_account,
                                            customer_type, first_name, last_name)
                VALUES (%s, now(), 'create', %s, 'person', 'Ann', 'Lee')"""

    with slow_till(houston) as till:
        till.execute(insert, [str(uuid4()), str(late)])
        early = make_customer(houston, "Bo")
        assert run("pipeline")["counts"]["converted"] == 1
    counters = query(
        houston, "SELECT async_account FROM async_customer ORDER BY replication_counter"
    )

    assert [guid for (guid,) in counters] == [late, early]
    assert run("pipeline")["counts"]["converted"] == 1
    assert_converges(houston)


@pytest.mark.fault("F-62")
def test_last_number_of_the_sequence_is_issued_and_none_is_cut_or_reused(register):
    houston = register("houston", account_format="C-##", first_number=97, last_number=99)
    for name in ("Ann", "Bo", "Cy", "Dee", "Eva"):
        make_customer(houston, name)

    found = run("pipeline")["counts"]
    again = run("pipeline")["counts"]

    accounts = Customer.objects.filter(number__isnull=False).order_by("number")
    assert list(accounts.values_list("account_number", flat=True)) == ["C-97", "C-98", "C-99"]
    assert (found["converted"], found["failed"]) == (3, 2)
    assert "converted" not in again
    failed = AsyncCustomer.objects.filter(status="failed").values_list("reason", flat=True)
    assert list(failed) == ["sequence_exhausted"] * 2
    assert ring_of(houston).safety() == []


@pytest.mark.fault("F-62")
def test_counter_at_its_limit_refuses_the_till_and_what_it_took_goes_home(store):
    last = 2**63 - 1
    with closing(Place.of(store).open(write=True)) as till:
        cursor = till.cursor()
        make_customer(store, "Ann")
        if Place.of(store).is_file:
            cursor.execute("UPDATE sqlite_sequence SET seq = ?", [last - 1])
        else:
            cursor.execute(
                f"""ALTER TABLE async_customer ALTER COLUMN replication_counter RESTART
                    WITH {last}"""
            )
        till.commit()
    make_customer(store, "Bo")

    with pytest.raises(Exception, match=r"reached maximum value|no room left"):
        make_customer(store, "Cy")
    assert run("pipeline")["counts"]["converted"] == 2
    assert AsyncCustomer.objects.get(first_name="Bo").replication_counter == last
    assert_converges(store)
