"""Clocks that are wrong: that of a worker, and that of HQ and its database server.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `back_up` backs up a channel database; `own_server` is a PostgreSQL server of the test's
own.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from psycopg2 import connect

from stores.jobs.catalog import JOBS
from stores.jobs.start import start_job
from stores.models import JobRun
from tests.support.backups import Backup
from tests.support.make import lookup, make_customer, make_event, make_sale, run
from tests.support.own_server import OwnServer
from tests.support.processes import hq_url, is_executed, manage, running, until

pytestmark = pytest.mark.slow

LIBRARY = "usr/lib/*/faketime/libfaketime.so.1"
MISSING = "There is no libfaketime: apt-get install libfaketime"

# What must not depend on HQ's time: the account of each GUID, every sale, and the totals of each
# business date. Times at HQ, runs and generated ids are left out.
FACTS = {
    "accounts": """
        SELECT guid_map.async_account, guid_map.origin, channel.code,
               customer.account_number, customer.number, customer.first_name
          FROM guid_map
          JOIN customer ON customer.id = guid_map.customer_id
          JOIN channel ON channel.id = guid_map.channel_id""",
    "sales": """
        SELECT to_jsonb(sale) - '{id, session_id, staged_at, validated_at, order_tried_at,
                                  sales_order_id, statement_id}'::text[]
          FROM retail_transaction sale""",
    "totals": """
        SELECT channel.code, statement.business_date, statement.sequence, statement.state,
               to_jsonb(total) - '{id, statement_id}'::text[]
          FROM statement
          JOIN channel ON channel.id = statement.channel_id
          LEFT JOIN statement_total total ON total.statement_id = statement.id""",
}


@pytest.fixture(scope="session")
def faketime() -> str:
    """The path of libfaketime. Without it the test is skipped, or fails where it is required."""
    path = next(Path("/").glob(LIBRARY), None)
    if path is not None:
        return str(path)
    if os.environ.get("SYNCLINE_REQUIRE_FAKETIME"):
        pytest.fail(MISSING)
    pytest.skip(MISSING)


@contextmanager
def shifted_clock(faketime: str, **variables: str) -> Iterator[None]:
    """Processes that start inside the block have another time of day, but the same durations."""
    variables |= {"LD_PRELOAD": faketime, "DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def days_off() -> float:
    """By how many days the clock of a new process is off."""
    command = [sys.executable, "-c", "import time; print(time.time())"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return in_days(float(output) - time.time())


def in_days(seconds: float) -> float:
    return round(seconds / 86_400, 1)


def heartbeat(run: JobRun) -> datetime | None:
    """The last heartbeat of the run's executing step, by the clock of the database."""
    return run.steps.get(status="running").heartbeat_at


def count_times_far_from_now() -> int:
    """Count leases, heartbeats, starts and ends more than five minutes from the database's now."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT count(*)
                 FROM run_step
                 JOIN job_run ON job_run.id = run_step.run_id
                WHERE run_step.lease_until > now() + interval '5 minutes'
                   OR least(run_step.heartbeat_at, run_step.started_at, run_step.ended_at,
                            job_run.ended_at) < now() - interval '5 minutes'"""
        )
        return int(cursor.fetchone()[0])


@pytest.mark.fault("F-53")  # a clock jumps
def test_a_worker_whose_clock_jumps_back_ends_its_run(houston, faketime, monkeypatch, tmp_path):
    clock = tmp_path / "clock"
    clock.write_text("+1d")
    monkeypatch.setenv("SYNCLINE_RUN_HEARTBEAT_S", "1")
    make_customer(houston, "Ann")
    started = start_job(JOBS["pipeline"]).run

    with (
        shifted_clock(faketime, FAKETIME_TIMESTAMP_FILE=str(clock)),
        closing(connect(hq_url())) as blocker,
    ):
        assert days_off() == 1
        # The run waits for this lock while its worker's clock jumps two days back.
        blocker.cursor().execute("LOCK TABLE async_customer IN ACCESS EXCLUSIVE MODE")
        with running("manage.py", "worker", "--burst", "--processes", "1") as worker:
            until(lambda: is_executed(started))
            clock.write_text("-1d")
            assert days_off() == -1
            before = heartbeat(started)
            until(lambda: heartbeat(started) != before)
            blocker.rollback()
            assert worker.wait(60) == 0

    job_run = JobRun.objects.get()
    assert job_run.status == "succeeded"
    # The worker kept its lease: no step was taken from it.
    assert set(job_run.steps.values_list("losses", flat=True)) == {0}
    assert lookup(houston) == [("005001", "Ann")]
    assert count_times_far_from_now() == 0


def read_facts(hq: Any) -> dict[str, list[str]]:
    """The facts in a database of HQ; closes the connection."""
    facts = {}
    with closing(hq), hq.cursor() as cursor:
        for name, statement in FACTS.items():
            cursor.execute(statement)
            facts[name] = sorted(map(str, cursor.fetchall()))
    return facts


@pytest.fixture
def channel_backups(houston, popup, back_up) -> list[Backup]:
    """Backups of two channels with customers, edits and sales that HQ has not fetched."""
    for store in (houston, popup):
        ann = make_customer(store, "Ann")
        make_event("address", store, async_account=ann, is_primary=True)
        make_event("customer", store, operation="update", async_account=ann, first_name="Anna")
        make_sale(store, "10.00", "5.00", async_account=ann)
        make_sale(store, "7.50")
        make_sale(store, "8.00", net_amount="9.00")
    return [back_up(store) for store in (houston, popup)]


@contextmanager
def restarted(own_server: OwnServer) -> Iterator[None]:
    """The server runs with the clock that new processes have here, until the end of the block."""
    own_server.stop()
    own_server.start()
    try:
        yield
    finally:
        own_server.stop()


@pytest.mark.promise(id="I34")
@pytest.mark.parametrize("days", [-1, 1])
def test_an_hq_clock_a_day_off_changes_no_result(
    channel_backups, own_server, faketime, monkeypatch, tmp_path, days
):
    # First an end of day on another server: the clocks of HQ's process and of its database are a
    # day off, those of the channels are right.
    with shifted_clock(faketime, FAKETIME=f"{days:+}d"), restarted(own_server):
        assert days_off() == days
        name = own_server.copy_hq()
        [(server_time,)] = own_server.ask("SELECT extract(epoch FROM now())")
        assert in_days(float(server_time) - time.time()) == days
        monkeypatch.setenv("SYNCLINE_JOURNAL_DIR", str(tmp_path))
        shifted = manage("run_job", "eod", "--json", hq=own_server.url(name))
        shifted_hq = connect(host=own_server.sockets, user="syncline", dbname=name)
        shifted_facts = read_facts(shifted_hq)
    assert shifted.returncode == 0, shifted.stdout
    # Then the same end of day again, with the right time.
    for backup in channel_backups:
        backup.restore()
    result = run("eod")
    facts = read_facts(connect(hq_url()))

    assert result["outcome"] == "succeeded"
    assert shifted_facts == facts
    assert {name: len(rows) for name, rows in facts.items()} == {
        "accounts": 2,
        "sales": 6,
        "totals": 2,
    }
