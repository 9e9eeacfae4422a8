"""Processes killed at random moments and started again leave the same accounts as a whole run.

From conftest.py: `register` registers a channel by its code.
"""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum

from stores.jobs.catalog import JOBS
from stores.jobs.outcome import sum_counts
from stores.jobs.stalled import recover_lost_steps, run_maintenance
from stores.jobs.start import start_job
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
# Small, so that a pipeline commits often between its first moment and its last.
CHUNK_SIZE = 100
# Of a pipeline that is killed at moments of its progress, and of one killed by the clock.
FEW_PER_CHANNEL, MANY_PER_CHANNEL = 400, 1_250
FIRST_NUMBER = 101
CHILD_TABLES = (
    "customer_address",
    "customer_contact",
    "customer_affiliation",
    "customer_attribute",
)
# These follow the order in which chunks were converted, or the time.
IGNORED_COLUMNS = [
    "id",
    "customer_id",
    "account_number",
    "number",
    "change_no",
    "hq_version",
    "event_database",
    "created_at",
    "modified_at",
]


@pytest.fixture
def open_channels(register) -> Callable[[int], list[ChannelDatabase]]:
    """Empties HQ and registers four channels, each with so many customers of the same day."""

    def open_all(customers: int) -> list[ChannelDatabase]:
        empty_hq()
        numbers = {"account_format": "C-######", "first_number": FIRST_NUMBER}
        databases = [register(code, **numbers) for code in CAST]
        for database in databases:
            write_traffic(database, customers=customers, edits=customers // 10, seed=1010)
        return databases

    return open_all


@pytest.fixture
def pipelines(hq, tmp_path, monkeypatch):
    """Runs pipelines in forked processes."""
    answer = tmp_path / "answer.json"
    monkeypatch.setenv("KILLABLE_ANSWER", str(answer))
    monkeypatch.setenv("KILLABLE_CHUNK", str(CHUNK_SIZE))
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
        return self.read_number()

    def wait(self) -> int:
        """Wait until the forked process has ended. Returns its exit status."""
        return self.read_number()

    def read_number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def run_to_end(self) -> dict[str, Any]:
        """Run the pipeline undisturbed. Returns its document."""
        self.start()
        assert self.wait() == 0
        return json.loads(self.answer.read_text())

    def start_and_kill(self, is_due: Callable[[], bool], delay: float) -> bool:
        """Start the pipeline and kill it `delay` seconds after it is due.

        Returns whether the pipeline was still running.
        """
        pid = self.start()
        live = JobRun.objects.live()
        until(lambda: any(is_executed(job_run) for job_run in live.all()))
        until(lambda: is_due() or not live.exists(), every_s=0.005)
        time.sleep(delay)
        kill(pid)
        self.wait()
        until(lambda: not any(is_executed(job_run) for job_run in live.all()))
        return live.exists()


def progress(totals: dict[str, int]) -> float:
    """How far all runs together have come: from 0 to 1 in each of the three steps."""
    done = sum_counts(list(RunStep.objects.all()))
    return sum(
        done.get(count, 0) / totals[count] for count in ("staged", "converted", "distributed")
    )


def lost_steps() -> set[str]:
    """The steps whose worker was killed."""
    return set(RunStep.objects.filter(losses__gt=0).values_list("step", flat=True))


def count_losses() -> int:
    return RunStep.objects.aggregate(losses=Sum("losses"))["losses"]


def customer_data() -> dict[str, list[Any]]:
    """HQ's rows of customers and their children, by the GUID that created each customer."""
    data = {table: rows_by_guid(table, "customer_id") for table in CHILD_TABLES}
    return data | {"customer": rows_by_guid("customer", "id")}


def rows_by_guid(table: str, customer_column: str) -> list[Any]:
    statement = f"""SELECT m.async_account, to_jsonb(t) - %s::text[] FROM {table} t
                     JOIN guid_map m ON m.customer_id = t.{customer_column} ORDER BY 1, 2"""  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [IGNORED_COLUMNS])
        return cursor.fetchall()


def created_guids(databases: list[ChannelDatabase]) -> set[str]:
    """The GUIDs of all customers that the tills have created."""
    statement = "SELECT async_account FROM async_customer WHERE operation = 'create'"
    return {str(guid) for database in databases for (guid,) in query(database, statement)}


def channel_accounts(database: ChannelDatabase) -> set[tuple[str, str]]:
    """The GUIDs and account numbers that a channel knows."""
    rows = query(database, "SELECT async_account, account_number FROM account_map")
    return {(str(guid), account) for guid, account in rows}


def hq_accounts() -> set[tuple[str, str]]:
    """The GUIDs and account numbers at HQ."""
    rows = GuidMap.objects.values_list("async_account", "customer__account_number")
    return {(str(guid), account) for guid, account in rows}


def assert_one_account_each(databases: list[ChannelDatabase], count: int) -> None:
    """Each customer has one account, account numbers have no gap, and channels know them all."""
    issued = Customer.objects.filter(number__isnull=False).order_by("number")
    accounts = hq_accounts()

    assert len(accounts) == count
    assert {guid for guid, _ in accounts} == created_guids(databases)
    assert list(issued.values_list("number", flat=True)) == list(
        range(FIRST_NUMBER, FIRST_NUMBER + count)
    )
    assert NumberSequence.objects.get().next == FIRST_NUMBER + count
    for database in databases:
        assert channel_accounts(database) == accounts, database.label


def assert_verified() -> None:
    """The command `verify` finds no broken promise."""
    verify = manage("verify", "--json")
    checks = json.loads(verify.stdout)["checks"]

    assert [check for check in checks if not check["ok"]] == []
    assert verify.returncode == 0


@pytest.mark.timeout(240)
def test_a_pipeline_killed_at_twenty_random_moments_creates_the_accounts_of_a_whole_run(
    open_channels, pipelines
):
    open_channels(FEW_PER_CHANNEL)
    totals = pipelines.run_to_end()["counts"]
    expected = customer_data()
    databases = open_channels(FEW_PER_CHANNEL)
    assert totals["converted"] == len(databases) * FEW_PER_CHANNEL
    random = Random(2026)  # noqa: S311 - no secret
    moments = sorted(random.uniform(0, 2.95) for _ in range(KILLS + 4))

    kills = 0
    for moment in moments:
        kills += pipelines.start_and_kill(
            lambda moment=moment: progress(totals) >= moment, delay=random.uniform(0, 0.02)
        )
    pipelines.run_to_end()
    # A step that was lost too often has failed; the next run does what it left.
    pipelines.run_to_end()
    last = pipelines.run_to_end()

    assert kills >= KILLS
    assert last["outcome"] == "nothing_to_do"
    assert count_losses() >= KILLS
    assert not JobRun.objects.live().exists()
    assert lost_steps() == {"upload", "convert", "download"}
    data = customer_data()
    assert {table: len(rows) for table, rows in data.items()} == {
        table: len(rows) for table, rows in expected.items()
    }
    assert data == expected
    assert_one_account_each(databases, totals["converted"])
    assert_verified()


def recover_lost(job_run: JobRun) -> None:
    """Wait until no process executes the run, and give its steps back."""
    until(lambda: not is_executed(job_run))
    assert is_running(job_run), "it had ended before it was killed"
    recover_lost_steps()


# A worker's parent process dies; a worker process dies; a worker and its parent die.
@pytest.mark.fault("F-01", "F-02", "F-03")
@pytest.mark.timeout(240)
def test_killing_a_worker_or_its_child_loses_nothing_and_writes_nothing_twice(open_channels):
    databases = open_channels(MANY_PER_CHANNEL)
    random = Random(2027)  # noqa: S311 - no secret
    job_run = start_job(JOBS["pipeline"]).run
    one_process = ("manage.py", "worker", "--processes", "1")

    with running(*one_process) as worker:
        until(lambda: is_executed(job_run))
        time.sleep(random.uniform(0, 1))
        kill(worker.pid)
        recover_lost(job_run)
    with running(*one_process) as worker:
        until(lambda: is_executed(job_run))
        [child] = children_of(worker.pid)
        time.sleep(random.uniform(0, 0.5))
        kill(child)
        # The same worker continues, until it is killed with its child.
        until(lambda: is_executed(job_run) and child not in children_of(worker.pid))
        for child in children_of(worker.pid):
            kill(child)
        kill(worker.pid)
        recover_lost(job_run)
    run_maintenance()
    last_worker = manage("worker", "--burst", "--processes", "2")

    assert last_worker.returncode == 0
    job_run.refresh_from_db()
    assert job_run.status == RunStatus.SUCCEEDED
    assert count_losses() >= 2
    assert run("pipeline")["outcome"] == "nothing_to_do"
    assert_one_account_each(databases, len(databases) * MANY_PER_CHANNEL)
    assert_verified()
