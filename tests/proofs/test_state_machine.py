"""Hypothesis searches for an order of events, jobs, restores and resets that breaks a promise.

The databases are real, one of each engine. CI tries the same few dozen orders each time;
`HYPOTHESIS_PROFILE=long python3 manage.py test tests/proofs/test_state_machine.py` tries new ones
for about half an hour.

From conftest.py: `register` registers a channel by its code.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import django_rq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stores.jobs.catalog import JOBS
from stores.jobs.recover_hq import recover_headquarters
from stores.jobs.start import start_job
from stores.models import ChannelDatabase, Incident, Quarantine
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.pipeline.register import RegistrationRefused, register_channel
from tests.proofs.chaos.checker import Breach, Checker
from tests.proofs.chaos.journal import Promises
from tests.proofs.chaos.observer import EVENTS, observe_channel, observe_hq
from tests.proofs.chaos.places import SQLITE, Place
from tests.support import databases
from tests.support.backups import HQBackup
from tests.support.hq import empty_hq
from tests.support.invariants import Invariant
from tests.support.make import make_customer, make_event, run
from tests.support.processes import hq_url

pytestmark = pytest.mark.slow

PROFILES = {
    # About 40 seconds on two cores, the same every time.
    "ci": settings(max_examples=12, stateful_step_count=20, derandomize=True),
    "long": settings(max_examples=300, stateful_step_count=50),
}
CODES = ("houston", "popup")
# These promises may be broken between a restore of HQ and its recovery (docs/reliability.md).
BREAKABLE_BEHIND = {
    Invariant.GUID_KEEPS_ITS_ACCOUNT,
    Invariant.ACKNOWLEDGED_IS_AT_HQ,
    Invariant.CHANNEL_KNOWS_HQ_ACCOUNTS,
    Invariant.CHANNEL_HOLDS_WHAT_IT_SAYS,
}
IGNORED_HEALTH_CHECKS = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
]

codes = st.sampled_from(CODES)
operations = st.sampled_from(["update", "update", "deactivate"])


class SynclineMachine(RuleBasedStateMachine):
    """HQ and two channels. `promised` are the events that HQ or a channel still has."""

    register: Callable[..., ChannelDatabase]

    def __init__(self) -> None:
        super().__init__()
        empty_hq()
        self.databases = {code: self.register(code) for code in CODES}
        self.places = {code: Place.of(database) for code, database in self.databases.items()}
        self.checker = Checker(hq_url(), list(self.places.values()), self)
        self.guids: dict[str, list[Any]] = {code: [] for code in CODES}
        self.written: set[str] = set()
        self.promised: set[str] = set()
        self.names_used = 0
        self.backed_up: set[str] = set()
        self.restored: set[str] = set()
        # Channels that were restored and not visited since, so that HQ cannot know it yet.
        self.unnoticed: set[str] = set()
        # The first backup of HQ is empty.
        self.hq_backups = [HQBackup()]
        self.has_hq_changed = False
        # HQ was restored and not recovered yet; meanwhile it issues no account number.
        self.is_hq_behind = False
        self.was_hq_restored = False

    def read(self) -> Promises:
        """The events written and promised, as the checker reads them from a journal."""
        return Promises(self.written, self.promised, set())

    def next_name(self) -> str:
        self.names_used += 1
        return f"Ann {self.names_used}"

    def record_event(self, event_id: Any) -> None:
        self.written.add(str(event_id))
        self.promised.add(str(event_id))

    # Events of tills

    @initialize()
    def create_customers(self) -> None:
        """Begin with two customers in each channel: one with an account, one pending."""
        for code in CODES:
            self.create(code)
        self.run("pipeline")
        for code in CODES:
            self.create(code)

    @rule(code=codes)
    def create(self, code: str) -> None:
        before = self.event_ids(code)
        self.guids[code].append(make_customer(self.databases[code], self.next_name()))
        for event_id in self.event_ids(code) - before:
            self.record_event(event_id)

    @precondition(lambda self: any(self.guids.values()))
    @rule(code=codes, data=st.data(), operation=st.sampled_from(["update", "update", "deactivate"]))
    def edit(self, code: str, data: st.DataObject, operation: str) -> None:
        """Edit a customer by GUID, also one whose first event a restored channel has lost."""
        if guids := self.guids[code]:
            guid = data.draw(st.sampled_from(guids))
            columns = {
                "operation": operation,
                "async_account": guid,
                "first_name": self.next_name(),
            }
            self.record_event(make_event("customer", self.databases[code], **columns))

    @rule(code=codes, data=st.data())
    def edit_account(self, code: str, data: st.DataObject) -> None:
        """Edit a customer by account number, perhaps one of the other channel."""
        if accounts := sorted(observe_channel(self.places[code]).versions):
            account = data.draw(st.sampled_from(accounts))
            columns = {
                "operation": "update",
                "account_number": account,
                "first_name": self.next_name(),
            }
            self.record_event(make_event("customer", self.databases[code], **columns))

    @rule(code=codes, data=st.data())
    def address(self, code: str, data: st.DataObject) -> None:
        if guids := self.guids[code]:
            guid = data.draw(st.sampled_from(guids))
            self.record_event(make_event("address", self.databases[code], async_account=guid))

    # Jobs

    @rule(code=st.sampled_from([*CODES, ""]))
    def upload(self, code: str) -> None:
        self.run(JobCode.UPLOAD, code)

    @rule()
    def convert(self) -> None:
        self.run("sync-customers")

    @rule(code=st.sampled_from([*CODES, ""]))
    def deliver(self, code: str) -> None:
        self.run(JobCode.DOWNLOAD, code)

    @rule()
    def enqueue_pipeline(self) -> None:
        """Enqueue a pipeline; there is no worker, so the next pipeline takes over its work."""
        start_job(JOBS["pipeline"])

    @rule()
    def flush_the_queue(self) -> None:
        django_rq.get_connection("default").flushall()

    def run(self, job: str, code: str = "") -> dict[str, Any]:
        result = run(job, channels=[code] if code else [])
        self.has_hq_changed |= result["outcome"] == "succeeded"
        if self.is_hq_behind:
            assert "converted" not in result["counts"], result
            return result
        assert result["outcome"] in ("succeeded", "nothing_to_do"), result
        # Only an upload is sure to visit: a download skips channels that lack nothing.
        if job in ("P-0001", "pipeline"):
            self.unnoticed -= {code} if code else set(CODES)
        return result

    # Restores, copies and resets

    @rule(code=codes)
    def back_up(self, code: str) -> None:
        copy_database(self.places[code], "backup")
        self.backed_up.add(code)

    @precondition(lambda self: self.backed_up - self.restored)
    @rule(code=codes)
    def restore(self, code: str) -> None:
        """Restore a channel once: two restores within a day look like two copies of it."""
        if code not in self.backed_up - self.restored:
            return
        before = self.event_ids(code)
        restore_database(self.places[code], "backup")
        self.restored.add(code)
        self.unnoticed.add(code)
        # Events that HQ had not fetched are lost.
        self.promised -= before - self.event_ids(code) - set(observe_hq(self.checker.hq).events)

    @precondition(lambda self: len(self.hq_backups) == 1)
    @rule()
    def back_up_headquarters(self) -> None:
        self.hq_backups.append(HQBackup())

    @precondition(lambda self: self.has_hq_changed and not self.was_hq_restored)
    @rule(data=st.data())
    def restore_headquarters(self, data: st.DataObject) -> None:
        """Restore HQ once; other rules may run before its recovery."""
        backup = data.draw(st.sampled_from(self.hq_backups))
        before = set(observe_hq(self.checker.hq).events)
        backup.restore()
        self.is_hq_behind = self.was_hq_restored = True
        # Events that a restored channel had lost before are now lost at HQ too.
        remaining = set(observe_hq(self.checker.hq).events).union(*map(self.event_ids, CODES))
        self.promised -= before - remaining

    @precondition(lambda self: self.is_hq_behind)
    @rule()
    def recover_headquarters(self) -> None:
        """Recover HQ as docs/recovery.md says, then run the pipeline."""
        result = recover_headquarters(dry_run=False)
        assert result["outcome"] in ("recovered", "nothing_to_do"), result
        self.is_hq_behind = False
        self.unnoticed |= set(CODES)
        self.run("pipeline")

    @rule()
    def clone(self) -> None:
        """Registering a copy of a channel's database as a new channel is refused."""
        copy_database(self.places["houston"], "clone")
        with pytest.raises(RegistrationRefused, match="copy"):
            register_channel(
                code="clone",
                name="Clone",
                kind="store",
                company="USRT",
                database="embedded:ch_houston_clone",
            )

    @rule(code=codes)
    def reset_acknowledged(self, code: str) -> None:
        """Let the channel send all its events again."""
        with closing(self.places[code].open(write=True)) as channel:
            cursor = channel.cursor()
            for table in EVENTS:
                cursor.execute(f"UPDATE {table} SET acknowledged_at = NULL")  # noqa: S608
            channel.commit()

    def event_ids(self, code: str) -> set[str]:
        return set(observe_channel(self.places[code]).events)

    # Checks

    @invariant()
    def no_promise_is_broken(self) -> None:
        assert [breach for breach in self.checker.safety() if not self.is_excused(breach)] == []

    def is_excused(self, breach: Breach) -> bool:
        invariant = breach.kind.split()[0]
        if self.is_hq_behind:
            return invariant in BREAKABLE_BEHIND
        return invariant == Invariant.CHANNEL_HOLDS_WHAT_IT_SAYS and breach.place in self.unnoticed

    def teardown(self) -> None:
        """Run the pipeline until there is nothing to do; then HQ and channels must agree."""
        try:
            self.check_final_state()
        finally:
            for backup in self.hq_backups:
                backup.remove()

    def check_final_state(self) -> None:
        if self.is_hq_behind:
            self.recover_headquarters()
        self.flush_the_queue()
        outcomes = [self.run("pipeline")["outcome"] for _ in range(4)]
        assert "nothing_to_do" in outcomes
        assert self.checker.convergence() == []
        at_rest = self.checker.rest()
        self.run("pipeline")
        assert self.checker.rest() == at_rest
        assert not Quarantine.objects.exists()
        kinds = set(Incident.objects.open().values_list("kind", flat=True))
        assert kinds <= {IncidentKind.CHANNEL_RESTORED.value}
        if not self.was_hq_restored:
            assert not Incident.objects.exclude(kind=IncidentKind.CHANNEL_RESTORED).exists()


def name_of(place: Place) -> str:
    return f"ch_{place.label}"


def copy_database(place: Place, suffix: str) -> None:
    """Copy a channel's database to one with this suffix in its name."""
    if place.is_file:
        path = place.address.removeprefix(SQLITE)
        with (
            closing(sqlite3.connect(path)) as source,
            closing(sqlite3.connect(f"{path}.{suffix}")) as target,
        ):
            source.backup(target)
        return
    databases.copy_database(name_of(place), f"{name_of(place)}_{suffix}")


def restore_database(place: Place, suffix: str) -> None:
    """Replace a channel's database by the copy with this suffix."""
    if place.is_file:
        path = place.address.removeprefix(SQLITE)
        with (
            closing(sqlite3.connect(f"{path}.{suffix}")) as source,
            closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)
        return
    databases.copy_database(f"{name_of(place)}_{suffix}", name_of(place))


@pytest.fixture
def machine(register) -> type[SynclineMachine]:
    """The state machine, which registers its channels anew for each order of rules."""
    yield type("MachineOfThisTest", (SynclineMachine,), {"register": staticmethod(register)})
    for suffix in ("backup", "clone"):
        databases.drop_database(f"ch_houston_{suffix}")


@pytest.mark.fault("F-31", "F-32", "F-33", "F-35", "F-37")
@pytest.mark.timeout(3600)
def test_any_order_of_events_jobs_and_restores_keeps_the_promises(machine):
    profile = PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "ci")]
    options = {"database": None, "deadline": None, "suppress_health_check": IGNORED_HEALTH_CHECKS}
    run_state_machine_as_test(machine, settings=settings(profile, **options))
