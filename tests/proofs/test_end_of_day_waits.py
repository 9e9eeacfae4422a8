"""The end of day waits for a channel that another run is uploading.

From conftest.py: `seattle` is a store on PostgreSQL; `popup` is one on SQLite.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stores.hqdb.locks import Locks
from stores.jobs.run import BUSY_ELSEWHERE
from stores.jobs.stages import cancel_run
from stores.models import ChannelDatabase, JobRun, RetailTransaction, RunStep
from tests.support.concurrency import background
from tests.support.make import make_sale, run
from tests.support.processes import until

pytestmark = pytest.mark.slow


@contextmanager
def upload_by_another_run(database: ChannelDatabase) -> Iterator[None]:
    """Hold the lock of the channel's upload."""
    with Locks() as locks:
        assert locks.acquire(f"upload:{database.pk}")
        yield


def is_waiting(database: ChannelDatabase) -> bool:
    """Whether a run says that it waits for the upload of the channel."""
    steps = RunStep.objects.filter(database=database, step="upload")
    return steps.filter(message__contains=BUSY_ELSEWHERE).exists()


def test_the_end_of_day_waits_for_another_upload(popup, seattle):
    make_sale(popup)
    make_sale(seattle)
    uploads = RunStep.objects.filter(run__job="eod", step="upload")

    with background() as start, upload_by_another_run(popup):
        end_of_day = start(lambda: run("eod"))
        until(lambda: uploads.filter(database=seattle, status="succeeded").exists())
        until(lambda: is_waiting(popup))
        staged_while_waiting = RetailTransaction.objects.filter(database=popup).count()
    result = end_of_day.result()

    assert staged_while_waiting == 0
    assert result["outcome"] == "succeeded"
    assert {step["message"] for step in result["steps"]} == {""}
    assert RetailTransaction.objects.filter(sales_order__isnull=False).count() == 2


def test_the_end_of_day_stops_waiting_after_a_timeout(popup, seattle, settings):
    settings.STEP_SILENT_S = 0

    with upload_by_another_run(popup):
        result = run("eod")

    assert result["outcome"] == "partly"
    assert str(BUSY_ELSEWHERE) in result["message"]


def test_an_end_of_day_that_waits_can_be_cancelled(popup):
    with background() as start, upload_by_another_run(popup):
        end_of_day = start(lambda: run("eod"))
        until(lambda: is_waiting(popup))
        cancel_run(JobRun.objects.get().pk)
        result = end_of_day.result()

    assert result["outcome"] == "cancelled"
