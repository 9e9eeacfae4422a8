"""Clocks that are wrong: of one worker, or of headquarters and its server."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from django.db import connection
from psycopg2 import connect

from stores.jobs.catalog import JOBS
from stores.jobs.start import start_and_ring
from stores.models import JobRun
from tests.support.backups import Backup
from tests.support.make import lookup, make_customer, make_event, make_sale, run
from tests.support.own_server import OwnServer
from tests.support.processes import hq_url, is_executed, manage, running, until

pytestmark = pytest.mark.slow

PLACES = "usr/lib/*/faketime/libfaketime.so.1"


@pytest.fixture(scope="session")
def faketime() -> str:
    """The library that shifts a process's clock. Without it skipped, or failed where it must be."""
    found = next(Path("/").glob(PLACES), None)
    if found is None:
        give_up = pytest.fail if os.environ.get("SYNCLINE_REQUIRE_FAKETIME") else pytest.skip
        give_up("There is no libfaketime: apt-get install libfaketime")
    return str(found)


@contextmanager
def shifted(faketime: str, **clock: str) -> Iterator[None]:
    """Processes that are started inside have another time of day.

    What they count from a start, as a wait does, goes on as it does when a clock is set.
    """
    variables = {"LD_PRELOAD": faketime, "DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (variables | clock).items():
            patch.setenv(name, value)
        yield


def its_clock() -> float:
    """What a process that is started now takes for the time, in days from the real one."""
    ask = [sys.executable, "-c", "import time; print(time.time())"]
    told = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    return round((float(told) - time.time()) / 86_400, 1)


# ------------------------------------------------------------------- a worker's clock


def heartbeat(run: JobRun) -> datetime | None:
    """When a process last said, by the clock of the database, that it is at the run."""
    return JobRun.objects.values_list("heartbeat_at", flat=True).get(pk=run.pk)


@pytest.mark.fault("F-53")
def test_a_worker_whose_clock_jumps_two_days_back_keeps_its_lease_and_ends_its_run(
    houston, faketime, monkeypatch, tmp_path
):
    clock = tmp_path / "clock"
    clock.write_text("+1d")
    monkeypatch.setenv("SYNCLINE_RUN_HEARTBEAT_S", "1")
    make_customer(houston, "Ann")
    started = start_and_ring(JOBS["pipeline"]).run

    with shifted(faketime, FAKETIME_TIMESTAMP_FILE=str(clock)), closing(connect(hq_url())) as other:
        assert its_clock() == 1
        other.cursor().execute("LOCK TABLE async_customer IN ACCESS EXCLUSIVE MODE")
        with running("manage.py", "worker", "--burst") as worker:
            until(lambda: is_executed(started))
            clock.write_text("-1d")
            assert its_clock() == -1
            before = heartbeat(started)
            until(lambda: heartbeat(started) != before)
            other.rollback()
            worker.wait(60)

    only = JobRun.objects.get()
    assert (only.status, only.attempt) == ("succeeded", 1)
    assert lookup(houston) == [("005001", "Ann")]
    assert times_far_from_now() == 0


def times_far_from_now() -> int:
    """How many leases, beats, starts and ends are not of the last minutes, by the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT count(*) FROM run_step s JOIN job_run r ON r.id = s.run_id
                WHERE greatest(s.lease_until, r.lease_until) > now() + interval '5 minutes'
                   OR least(s.heartbeat_at, s.started_at, s.ended_at, r.ended_at)
                          < now() - interval '5 minutes'"""
        )
        return int(cursor.fetchone()[0])


# ------------------------------------------------------ the clock of headquarters

# What may not depend on the time: who has which account, every sale, what each day comes to.
# HQ's own times, runs and the ids of rows are left out.
WITHOUT = "'{id,session_id,staged_at,validated_at,order_tried_at,sales_order_id,statement_id}'"
FACTS = {
    "M": """SELECT m.async_account, m.origin, h.code, k.account_number, k.number, k.first_name
              FROM guid_map m JOIN customer k ON k.id = m.customer_id
              JOIN channel h ON h.id = m.channel_id""",
    "T": f"SELECT to_jsonb(t) - {WITHOUT}::text[] FROM retail_transaction t",  # noqa: S608
    "ST": """SELECT h.code, s.business_date, s.sequence, s.state,
                    to_jsonb(t) - '{id,statement_id}'::text[]
               FROM statement s JOIN channel h ON h.id = s.channel_id
               LEFT JOIN statement_total t ON t.statement_id = s.id""",
}


def facts(server: OwnServer | None = None, name: str = "") -> dict[str, list[str]]:
    """The facts at HQ, or at a copy of it on a server of its own."""
    found = {}
    with closing(
        connect(host=server.sockets, user="syncline", dbname=name) if server else connect(hq_url())
    ) as other:
        cursor = other.cursor()
        for fact, statement in FACTS.items():
            cursor.execute(statement)
            found[fact] = sorted(map(str, cursor.fetchall()))
    return found


@pytest.fixture
def shops(houston, popup, backed_up) -> list[Backup]:
    """Two channels with customers, edits and a day's sales that nobody has fetched."""
    for shop in (houston, popup):
        ann = make_customer(shop, "Ann")
        make_event("address", shop, async_account=ann, is_primary=True)
        make_event("customer", shop, operation="update", async_account=ann, first_name="Anna")
        make_sale(shop, "10.00", "5.00", async_account=ann)
        make_sale(shop, "7.50")
        make_sale(shop, "8.00", net_amount="9.00")
    return [backed_up(shop) for shop in (houston, popup)]


@pytest.mark.parametrize("days", [-1, 1])
def test_i34_a_headquarters_that_is_a_day_off_issues_and_posts_the_same(
    shops, own_server, faketime, monkeypatch, tmp_path, days
):
    """Shifted for real: HQ's database server and the process of the run, and no channel."""
    own_server.stop()
    with shifted(faketime, FAKETIME=f"{days:+}d"):
        assert its_clock() == days
        own_server.start()
        name = own_server.copy_hq()
        [(off,)] = own_server.ask("SELECT extract(epoch FROM now())")
        assert round((float(off) - time.time()) / 86_400, 1) == days
        monkeypatch.setenv("SYNCLINE_JOURNAL_DIR", str(tmp_path))
        ended = manage("run_job", "eod", "--json", hq=own_server.url(name))
        shifted_facts = facts(own_server, name)
    own_server.stop()
    for backup in shops:
        backup.restore()

    in_time = run("eod")

    assert ended.returncode == 0, ended.stdout
    assert in_time["outcome"] == "succeeded"
    assert shifted_facts == facts()
    assert [len(found) for found in facts().values()] == [2, 6, 2]
