"""A process that dies between two commits loses nothing and writes nothing twice.

It dies at each failpoint of the pipeline, by SIGKILL and by an exception. The next runs must then
finish the work.
"""

import signal
from uuid import UUID

import pytest

from stores.failpoints import PIPELINE_FAILPOINTS
from stores.jobs.stalled import recover_lost_steps
from stores.models import ChannelDatabase, Quarantine
from stores.models.run import RunStatus
from tests.proofs.chaos.checker import Checker
from tests.proofs.chaos.places import Place
from tests.support.make import make_customer, make_event, run
from tests.support.processes import forking, hq_url
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

CHUNK_SIZE = 2
# How a process may die, and the exit statuses it may then have; 3 is that of an exception.
DEATHS = {"kill": [-signal.SIGKILL], "raise": [0, 3]}
# A pipeline started by hand does not reach these failpoints; another task does.
TASKS = {
    "run:before_enqueue": "carry_on",
    "step:before_takeover": "recover",
    "step:after_takeover": "recover",
}
NEED_A_LOST_STEP = ("step:before_takeover", "step:after_takeover")


@pytest.fixture
def known(houston, popup) -> list[UUID]:
    """Two customers of one store, whom the other one knows too."""
    guids = [make_customer(popup, name) for name in ("Ann", "Bo")]
    for guid in guids:
        make_event("address", popup, async_account=guid)
    assert run("pipeline")["outcome"] == "succeeded"
    return guids


@pytest.fixture
def checker(houston, popup) -> Checker:
    """Checks two channels, one of each engine."""
    return Checker(hq_url(), [Place.of(houston), Place.of(popup)])


def serve(store: ChannelDatabase, known_guid: UUID) -> None:
    """Write new customers, who take more than one chunk, and an edit of a known one."""
    for number in range(CHUNK_SIZE + 1):
        new = make_customer(store, f"New {number}")
        make_event("contact", store, async_account=new, locator=f"{number}@example.com")
    make_event("customer", store, operation="update", async_account=known_guid, first_name="Eva")


@pytest.fixture(scope="module")
def run_forked(django_db_setup, tmp_path_factory):
    """Runs a task in a forked process and returns its exit status."""
    answer = tmp_path_factory.mktemp("crash") / "answer.json"
    with forking(answer, KILLABLE_CHUNK=str(CHUNK_SIZE)) as run_task:
        yield run_task


def run_until_nothing_to_do(checker: Checker) -> object:
    """Start the pipeline again and again, as the schedule does.

    Returns all data as they were before the run that found nothing to do.
    """
    recover_lost_steps()
    for _ in range(4):
        at_rest = checker.rest()
        document = run("pipeline")
        if document["outcome"] == RunStatus.NOTHING_TO_DO:
            return at_rest
    pytest.fail(f"There is still something to do: {document['message']}")


@pytest.mark.parametrize("failpoint", PIPELINE_FAILPOINTS)
def test_a_death_loses_nothing_and_writes_nothing_twice(
    houston, popup, known, checker, run_forked, failpoint
):
    for by, exit_statuses in DEATHS.items():
        for store, guid in zip((houston, popup), known, strict=True):
            serve(store, guid)
        if failpoint in NEED_A_LOST_STEP:
            assert run_forked("pipeline", dies_at="step:after_claim") == -signal.SIGKILL

        exit_status = run_forked(TASKS.get(failpoint, "pipeline"), dies_at=failpoint, by=by)

        assert exit_status in exit_statuses, f"{by}: the failpoint was not reached"
        assert checker.safety() == []
        at_rest = run_until_nothing_to_do(checker)
        assert checker.rest() == at_rest
        assert checker.convergence() == []
    assert not Quarantine.objects.exists()
    assert broken_promises() == []
