"""A burst at one channel: bounded memory, the others served as usual, pages answer at once.

20,000 customers or 25 channels here, so that it can run each time; 200,000 and 500 are measured by
hand (docs/performance.md).
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from stores.channeldb.connect.url import sqlite_path
from stores.jobs.catalog import JOBS
from stores.jobs.run import execute
from stores.jobs.start import create_run
from stores.models import AsyncCustomer, ChannelDatabase, Customer, GuidMap
from stores.models.run import StartedBy
from stores.pipeline.register import register_channel
from tests.support.make import make_customer, make_many, query
from tests.support.processes import ROOT, environment

pytestmark = pytest.mark.slow

BURST, TILLS = 20_000, 24
MEMORY_MB = 300
RUN_PIPELINE = ("manage.py", "run_job", "pipeline")
PAGES = ("/", "/customers/", "/async-customers/", "/channels/", "/runs/", "/sessions/uploads/")


def pipeline_in_a_process(folder: Path) -> tuple[int, float]:
    """Run the pipeline at a prompt. Returns its exit status and the most memory it took, in MB."""
    peak = folder / "peak"
    ended = subprocess.run(
        [sys.executable, "-m", "bench.memory", peak, sys.executable, *RUN_PIPELINE],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return ended.returncode, float(peak.read_text())


def seconds_for(client: Client, path: str) -> float:
    """How long a page takes at best, of a few times: the machine may be busy with other tests."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert client.get(path).status_code == 200
        took.append(time.monotonic() - began)
    return min(took)


@pytest.mark.fault("F-61")
def test_burst_takes_bounded_memory_and_neither_channels_nor_pages_wait_for_it(register, tmp_path):
    houston = register("houston", account_format="C-######", first_number=1)
    popup = register("popup")
    query(
        houston,
        """INSERT INTO async_customer (event_id, occurred_at, operation, async_account,
                                       customer_type, first_name, last_name)
           SELECT gen_random_uuid(), now(), 'create', gen_random_uuid(), 'person', 'Ann', n
             FROM generate_series(1, %s) n""",
        BURST,
    )
    guid = make_customer(popup, "Bo")

    status, memory_mb = pipeline_in_a_process(tmp_path)

    assert status == 0
    assert memory_mb < MEMORY_MB
    assert Customer.objects.filter(number__isnull=False).count() == BURST + 1
    assert GuidMap.objects.filter(async_account=guid).exists()
    assert query(popup, "SELECT count(*) FROM customer") == [(BURST + 1,)]
    assert slow_pages() == {}


def slow_pages() -> dict[str, float]:
    """The pages that take a second or more."""
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return {path: took for path in PAGES if (took := seconds_for(client, path)) >= 1}


@pytest.fixture
def tills(register) -> Iterator[list[ChannelDatabase]]:
    """Popup and many more like it: stores whose databases are SQLite files."""
    first = register("popup")
    made = [first, *(copy_of(first, f"till{number}") for number in range(1, TILLS))]
    yield made
    for till in made[1:]:
        sqlite_path(till).unlink()


def copy_of(first: ChannelDatabase, code: str) -> ChannelDatabase:
    """A store like the first; copied, because making the tables takes its time."""
    path, url = sqlite_path(first), f"sqlite:///channels/{code}.sqlite3"
    shutil.copyfile(path, path.with_name(f"{code}.sqlite3"))
    words = {"name": code.title(), "kind": "store", "company": first.channel.company_id}
    return register_channel(code=code, database=url, renew_identity=True, **words)


@pytest.mark.fault("F-61")
def test_of_many_channels_none_waits_for_the_one_that_has_a_burst(
    register, tills, settings, tmp_path
):
    busy = register("houston", company="NLRT", account_format="C-######", first_number=1)
    make_many(busy, BURST)
    for till in tills:
        make_customer(till, "Bo")
    settings.VISIT_SHARE_S = 0.01

    execute(str(create_run(JOBS["pipeline"], started_by=StartedBy.SCHEDULE).run.pk))

    assert GuidMap.objects.filter(company="USRT").count() == TILLS
    for till in (tills[0], tills[-1]):
        assert query(till, "SELECT count(*) FROM customer") == [(TILLS,)]
    assert 0 < AsyncCustomer.objects.filter(database=busy).count() < BURST
    assert slow_pages() == {}
    status, memory_mb = pipeline_in_a_process(tmp_path)
    assert (status, AsyncCustomer.objects.filter(database=busy).count()) == (0, BURST)
    assert memory_mb < MEMORY_MB
