"""Edits whose makers do not know of each other: each field keeps its latest change.

Hypothesis makes people at three stores and at headquarters change fields of a few customers, while
uploads, conversions and downloads run in any order. A model notes what each person changed and had
seen. At rest, headquarters and all channels must show what the model says, and each field that two
people changed without knowing of each other must have a conflict with both values.

`HYPOTHESIS_PROFILE=long python3 manage.py test tests/proofs/test_concurrent_edits.py` tries some
hundred interleavings instead of a few.

From conftest.py: `register` registers a channel by its code.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stores.models import ChannelDatabase, Customer, EditConflict
from stores.models.job import JobCode
from stores.pipeline.corrections.customer import Edit, Stale, complete_state, save_edits
from stores.pipeline.events.kinds import ADDRESS, CUSTOMER, EventKind
from tests.support.hq import empty_hq
from tests.support.make import insert_row, run, till
from tests.support.promises import broken_promises

pytestmark = [pytest.mark.slow, pytest.mark.promise(id="I33")]

PROFILES = {
    "ci": settings(max_examples=3, derandomize=True, phases=[Phase.generate]),
    "long": settings(max_examples=200),
}
HQ = "hq"
STORES = ("houston", "popup", "seattle")
# The tills of this store say which version their events are based on.
SAYS_VERSION = "houston"
# A customer of each of these stores.
CREATORS = ("houston", "popup", "seattle", "popup")
KINDS = (CUSTOMER, ADDRESS)
VALUES: dict[str, tuple[str | None, ...]] = {
    "phone": ("111 111", "222 222", "333 333"),
    "email": ("ann@example.com", "lee@example.com", None),
    "language": ("nl", "de", "en"),
    "city": ("Austin", "Dallas", "Waco"),
    "postal_code": ("77001", "77002", None),
}
FIELDS = {CUSTOMER: ("phone", "email", "language"), ADDRESS: ("city", "postal_code")}

changes = st.tuples(
    st.integers(0, len(CREATORS) - 1), st.sampled_from(list(VALUES)), st.integers(0, 1)
)
steps = st.one_of(
    st.tuples(st.just("edit"), st.sampled_from((*STORES, HQ)), st.lists(changes, min_size=1)),
    st.tuples(st.just("edit"), st.sampled_from(STORES), st.lists(changes, min_size=1)),
    st.tuples(st.sampled_from((JobCode.UPLOAD, JobCode.DOWNLOAD)), st.sampled_from(STORES)),
    st.tuples(st.just(JobCode.CONVERT)),
    st.tuples(st.just(JobCode.PIPELINE)),
)


@dataclass(frozen=True)
class Made:
    """An edit that a person made: the fields that they changed, and the edits they had seen."""

    event: UUID
    place: str
    customer: int
    changed: dict[str, Any]
    seen: frozenset[UUID]
    is_creation: bool = False


@dataclass
class Screen:
    """What a till shows of a customer: what it wrote, or what arrived, whichever came last."""

    rows: dict[EventKind, dict[str, Any]]
    version: int | None
    seen: set[UUID]


class Ring:
    """Headquarters and three stores, and the model of what people did there."""

    def __init__(self, register: Callable[..., ChannelDatabase]) -> None:
        empty_hq()
        self.databases = {code: register(code) for code in STORES}
        self.user = User.objects.create_user("robin")
        self.made: list[Made] = []
        self.uploaded: set[UUID] = set()
        self.applied: set[UUID] = set()
        self.screens: dict[tuple[str, int], Screen] = {}
        self.guids = [uuid4() for _ in CREATORS]
        self.addresses = [uuid4() for _ in CREATORS]
        for number, code in enumerate(CREATORS):
            self.create(number, code)

    # What people do

    def create(self, number: int, code: str) -> None:
        customer = {"customer_type": "person", "last_name": "Lee", "phone": "111 111"}
        address = {"address_id": self.addresses[number], "purpose": "home", "city": "Austin"}
        screen = Screen({CUSTOMER: customer, ADDRESS: address}, None, set())
        self.screens[code, number] = screen
        for kind in KINDS:
            changed = {column: screen.rows[kind].get(column) for column in FIELDS[kind]}
            changed.pop("language", None)
            self.write(code, number, kind, changed, operation="create")

    def edit(self, place: str, edits: list[tuple[int, str, int]]) -> None:
        for number, field, choice in edits:
            kind = CUSTOMER if field in FIELDS[CUSTOMER] else ADDRESS
            if place == HQ:
                self.edit_at_hq(number, kind, field, choice)
            elif screen := self.screens.get((place, number)):
                changed = {field: other_value(field, screen.rows[kind].get(field), choice)}
                screen.rows[kind] |= changed
                self.write(place, number, kind, changed, operation="update")

    def write(
        self, code: str, number: int, kind: EventKind, changed: dict[str, Any], operation: str
    ) -> None:
        """Write an event that says the whole state which the till shows."""
        screen = self.screens[code, number]
        event = {"event_id": uuid4(), "operation": operation, "async_account": self.guids[number]}
        event |= {"occurred_at": timezone.now(), **screen.rows[kind]}
        if code == SAYS_VERSION:
            event["based_on"] = screen.version
        with till(self.databases[code]) as alias, transaction.atomic(using=alias):
            insert_row(alias, kind.event, event)
        self.note(Made(event["event_id"], code, number, changed, frozenset(screen.seen)), operation)
        screen.seen.add(event["event_id"])

    def note(self, made: Made, operation: str) -> None:
        if operation == "create":
            made = Made(**{**vars(made), "is_creation": True})
        self.made.append(made)

    def edit_at_hq(self, number: int, kind: EventKind, field: str, choice: int) -> None:
        while customer := Customer.objects.filter(guids__pk=self.guids[number]).first():
            row = customer if kind is CUSTOMER else customer.addresses.get()
            changed = {field: other_value(field, getattr(row, field), choice)}
            values = {"operation": "update", **complete_state(kind, row, changed)}
            seen = frozenset(self.applied_of(number))
            try:
                [event] = save_edits(
                    customer, [Edit(kind, values)], version=customer.hq_version, by=self.user
                )
            except Stale:
                # What had arrived meanwhile is applied now: look again.
                self.applied |= {made.event for made in self.of(number)} & self.uploaded
                continue
            self.made.append(Made(event, HQ, number, changed, seen))
            self.uploaded.add(event)
            self.applied.add(event)
            return

    # What jobs do

    def run(self, job: str, code: str = "") -> None:
        result = run(job, channels=[code] if code else [])
        assert result["outcome"] in ("succeeded", "nothing_to_do"), result
        codes = [code] if code else STORES
        if job in (JobCode.UPLOAD, JobCode.PIPELINE):
            self.uploaded |= {made.event for made in self.made if made.place in codes}
        if job in (JobCode.CONVERT, JobCode.PIPELINE):
            self.applied |= self.uploaded
        if job in (JobCode.DOWNLOAD, JobCode.PIPELINE):
            for arrived_at in codes:
                self.look(arrived_at)

    def look(self, code: str) -> None:
        """Show on the screens of a store what has arrived there."""
        with till(self.databases[code]) as alias:
            for number, guid in enumerate(self.guids):
                for account, version in rows(
                    alias,
                    """SELECT account_number, hq_version FROM customer
                        WHERE account_number = (SELECT account_number FROM account_map
                                                 WHERE async_account = %s)""",
                    str(guid),
                ):
                    screen = self.screens.get((code, number))
                    if screen is None or version > (screen.version or 0):
                        seen = (screen.seen if screen else set()) | self.applied_of(number)
                        shown = {kind: self.row_of(alias, kind, account) for kind in KINDS}
                        self.screens[code, number] = Screen(shown, version, seen)

    def row_of(self, alias: str, kind: EventKind, account: str) -> dict[str, Any]:
        columns = ", ".join(kind.columns)
        statement = f"SELECT {columns} FROM {kind.table} WHERE account_number = %s"  # noqa: S608
        [values] = rows(alias, statement, account)
        return dict(zip(kind.columns, values, strict=True))

    def of(self, number: int) -> Iterator[Made]:
        return (made for made in self.made if made.customer == number)

    def applied_of(self, number: int) -> set[UUID]:
        return {made.event for made in self.of(number)} & self.applied

    # What must hold

    def check(self) -> None:
        """Let everything arrive; then all places must show what the model says."""
        self.run(JobCode.PIPELINE)
        self.run(JobCode.PIPELINE)
        found = {
            (row.lost_event, row.kept_event, row.field, row.lost_value, row.kept_value)
            for row in EditConflict.objects.all()
        }
        expected = set()
        for number, guid in enumerate(self.guids):
            customer = Customer.objects.get(guids__pk=guid)
            at_hq = {CUSTOMER: customer, ADDRESS: customer.addresses.get()}
            for kind in KINDS:
                for field in FIELDS[kind]:
                    held = getattr(at_hq[kind], field)
                    changes = [made for made in self.of(number) if field in made.changed]
                    if changes:
                        assert (held or None) == changes[-1].changed[field], (number, field)
                        expected |= set(conflicts_in(field, changes))
                    shown = {self.screens[code, number].rows[kind][field] for code in STORES}
                    assert shown == {held}, (number, field)
        assert expected <= found
        by_event = {made.event: made for made in self.made}
        for lost, kept, field, lost_value, kept_value in found:
            assert lost not in by_event[kept].seen
            assert as_text(by_event[lost].changed[field]) == lost_value
            assert as_text(by_event[kept].changed[field]) == kept_value
        assert broken_promises() == []


def conflicts_in(field: str, changes: list[Made]) -> Iterator[tuple[UUID, UUID, str, str, str]]:
    """Yield what the last change of a field lost without knowing: the last one of each place."""
    *earlier, kept = changes
    last = {made.place: made for made in earlier if made.event not in kept.seen}
    for lost in last.values():
        is_replaced = any(lost.event in other.seen for other in earlier)
        if lost.changed[field] != kept.changed[field] and not (is_replaced or lost.is_creation):
            values = as_text(lost.changed[field]), as_text(kept.changed[field])
            yield lost.event, kept.event, field, *values


def other_value(field: str, shown: str | None, choice: int) -> str | None:
    """Return a value that differs from the one that a person is shown."""
    return [value for value in VALUES[field] if value != (shown or None)][choice]


def as_text(value: str | None) -> str:
    return value or ""


def rows(alias: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


@pytest.mark.fault("F-49", "F-50")  # another order of arrival; several places edit one customer
@pytest.mark.timeout(3600)
def test_each_field_keeps_its_latest_change(register):
    profile = PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "ci")]
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]

    @settings(profile, database=None, deadline=None, suppress_health_check=checks)
    @given(st.lists(steps, min_size=12, max_size=24))
    def interleave(taken: list[tuple[Any, ...]]) -> None:
        ring = Ring(register)
        ring.run(JobCode.PIPELINE, "houston")
        for action, *details in taken:
            if action == "edit":
                ring.edit(*details)
            else:
                ring.run(action, *details)
        ring.check()

    interleave()
