"""Killed at any moment, and started again, the ring ends where an undisturbed one does."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.db import connection

from stores.hqdb.locks import is_alive
from stores.jobs.catalog import JOBS
from stores.jobs.outcome import sum_counts
from stores.jobs.stalled import heal
from stores.jobs.start import start_and_ring
from stores.models import ChannelDatabase, Customer, GuidMap, JobRun, NumberSequence, RunStep
from stores.models.run import RunStatus
from stores.traffic import write_traffic
from tests.support.hq import CAST, empty_hq
from tests.support.make import query, run
from tests.support.processes import (
    children_of,
    is_executed,
    is_running,
    kill,
    manage,
    running,
    until,
)

pytestmark = pytest.mark.slow

KILLS = 20
CUSTOMERS = 1_250
FIRST_NUMBER = 101
TABLES = (
    "customer_address",
    "customer_contact",
    "customer_affiliation",
    "customer_attribute",
)
# Numbers and ids follow the order in which chunks were converted; all else must be the same.
INCIDENTAL = ["id", "customer_id", "account_number", "number", "hq_version", "event_database"]
INCIDENTAL += ["created_at", "modified_at"]


@pytest.fixture
def shops(register):
    """Opens the four channels anew, each with the same day of traffic; HQ knows nothing yet."""

    def open_all() -> list[ChannelDatabase]:
        empty_hq()
        numbers = {"account_format": "C-######", "first_number": FIRST_NUMBER}
        opened = [register(code, **numbers) for code in CAST]
        for shop in opened:
            write_traffic(shop, customers=CUSTOMERS, edits=CUSTOMERS // 10, seed=1010)
        return opened

    return open_all


@pytest.fixture
def pipelines(hq, tmp_path, monkeypatch):
    """The process that forks one pipeline after the other."""
    answer = tmp_path / "answer.json"
    monkeypatch.setenv("KILLABLE_ANSWER", str(answer))
    with running("-m", "tests.support.forked") as process:
        yield Pipelines(process, answer)


class Pipelines:
    """Starts pipelines in forked processes, and kills them."""

    def __init__(self, process: "subprocess.Popen[str]", answer: Path) -> None:
        self.process, self.answer = process, answer

    def start(self) -> int:
        """Fork a process that runs the pipeline. Returns its id."""
        assert self.process.stdin is not None
        self.process.stdin.write("pipeline\n")
        self.process.stdin.flush()
        return self.tell()

    def tell(self) -> int:
        """The next number that the process tells: an id, or how the fork ended."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def finish(self) -> dict[str, Any]:
        """Run the pipeline undisturbed. Returns its document."""
        self.start()
        assert self.tell() == 0
        return json.loads(self.answer.read_text())

    def kill_once(self, has_come_far: Callable[[], bool], seconds: float) -> bool:
        """Start the pipeline and kill it so long after it has come far; whether that hit it."""
        executed = JobRun.objects.filter(status=RunStatus.RUNNING)
        lost = list(executed.values_list("pk", flat=True))
        process = self.start()
        until(executed.exclude(pk__in=lost).exists)
        until(lambda: has_come_far() or not executed.exists())
        time.sleep(seconds)
        kill(process)
        self.tell()
        until(lambda: not any(is_alive(run.pk) for run in executed))
        return executed.exists()


def progress(whole: dict[str, int]) -> float:
    """How far all runs together have come: 0 to 1 for each of the three steps."""
    done = sum_counts(list(RunStep.objects.all()))
    return sum(done.get(word, 0) / whole[word] for word in ("staged", "converted", "distributed"))


def steps_killed() -> set[str]:
    """In which steps the runs were that were lost."""
    begun = RunStep.objects.filter(status=RunStatus.LOST, started_at__isnull=False)
    return set(begun.values_list("step", flat=True))


def contents() -> dict[str, list[Any]]:
    """All that HQ holds of customers, by the GUID that each began with."""
    found = {"customer": rows("customer", "id")}
    return found | {table: rows(table, "customer_id") for table in TABLES}


def rows(table: str, customer: str) -> list[Any]:
    statement = f"""SELECT m.async_account, to_jsonb(t) - %s::text[] FROM {table} t
                     JOIN guid_map m ON m.customer_id = t.{customer} ORDER BY 1, 2"""  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [INCIDENTAL])
        return cursor.fetchall()


def guids_written(shops: list[ChannelDatabase]) -> set[str]:
    """The GUIDs of all customers that the tills have created."""
    statement = "SELECT async_account FROM async_customer WHERE operation = 'create'"
    return {str(guid) for shop in shops for (guid,) in query(shop, statement)}


def account_map(shop: ChannelDatabase) -> set[tuple[str, str]]:
    found = query(shop, "SELECT async_account, account_number FROM account_map")
    return {(str(guid), account) for guid, account in found}


def guid_map() -> set[tuple[str, str]]:
    found = GuidMap.objects.values_list("async_account", "customer__account_number")
    return {(str(guid), account) for guid, account in found}


def assert_one_account_each(shops: list[ChannelDatabase]) -> None:
    """Every customer written has one account, numbers have no gap, every channel knows them all."""
    written = guids_written(shops)
    numbers = Customer.objects.filter(number__isnull=False).order_by("number")
    known = guid_map()

    assert len(written) == len(shops) * CUSTOMERS
    assert {guid for guid, _ in known} == written
    assert list(numbers.values_list("number", flat=True)) == list(
        range(FIRST_NUMBER, FIRST_NUMBER + len(written))
    )
    assert NumberSequence.objects.get().next == FIRST_NUMBER + len(written)
    for shop in shops:
        assert account_map(shop) == known, shop.label


def assert_verified() -> None:
    """The command that checks every promise finds none broken."""
    verified = manage("verify", "--json")
    broken = [check for check in json.loads(verified.stdout)["checks"] if not check["ok"]]

    assert broken == []
    assert verified.returncode == 0


@pytest.mark.timeout(240)
def test_killing_it_at_twenty_random_moments_leaves_the_accounts_of_an_undisturbed_run(
    shops, pipelines
):
    opened = shops()
    whole = pipelines.finish()["counts"]
    expected = contents()
    assert whole["converted"] == len(opened) * CUSTOMERS

    opened, dice = shops(), Random(2026)  # noqa: S311 - no secret
    moments = sorted(dice.uniform(0, 2.95) for _ in range(KILLS + 4))
    hits = sum(
        pipelines.kill_once(lambda: progress(whole) >= moment, dice.uniform(0, 0.02))  # noqa: B023
        for moment in moments
    )
    outcomes = [pipelines.finish()["outcome"] for _ in range(2)]

    assert hits >= KILLS
    assert outcomes[-1] == "nothing_to_do"
    assert Counter(JobRun.objects.values_list("status", flat=True))[RunStatus.LOST] >= KILLS
    assert not JobRun.objects.filter(status=RunStatus.LOST, successors=None).exists()
    assert steps_killed() == {"upload", "convert", "download"}
    assert {table: len(found) for table, found in contents().items()} == {
        table: len(found) for table, found in expected.items()
    }
    assert contents() == expected
    assert_one_account_each(opened)
    assert_verified()


def lose(ledger: JobRun) -> JobRun:
    """Wait until nobody executes the run and heal it. Returns its successor."""
    until(lambda: not is_alive(ledger.pk))
    assert is_running(ledger), "it had ended before it was killed"
    heal()
    return JobRun.objects.get(successor_of=ledger)


@pytest.mark.fault("F-01", "F-02", "F-03")
@pytest.mark.timeout(240)
def test_killing_the_worker_or_its_horse_loses_and_doubles_nothing(shops):
    opened, dice = shops(), Random(2027)  # noqa: S311 - no secret
    ledger = start_and_ring(JOBS["pipeline"]).run

    with running("manage.py", "worker") as worker:
        until(lambda: is_executed(ledger))
        time.sleep(dice.uniform(0, 1))
        kill(worker.pid)
        ledger = lose(ledger)
    with running("manage.py", "worker") as worker:
        until(lambda: is_executed(ledger))
        [horse] = children_of(worker.pid)
        time.sleep(dice.uniform(0, 0.5))
        kill(horse)
        ledger = lose(ledger)
        # The same worker goes on with the successor, until it and its horse are killed together.
        until(lambda: is_executed(ledger))
        [horse] = children_of(worker.pid)
        kill(horse)
        kill(worker.pid)
        ledger = lose(ledger)
    burst = manage("worker", "--burst")

    assert burst.returncode == 0
    assert JobRun.objects.get(pk=ledger.pk).status == RunStatus.SUCCEEDED
    assert JobRun.objects.get(pk=ledger.pk).attempt == 4
    assert run("pipeline")["outcome"] == "nothing_to_do"
    assert_one_account_each(opened)
    assert_verified()
