"""Merging field by field, against a model of what each person changed and had seen.

Without databases, so that hundreds of interleavings take a second; the same with real databases and
jobs is in tests/proofs/test_concurrent_edits.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from stores.pipeline.convert.merged_fields import Edit, MergedCustomer, fields_of
from stores.pipeline.events.kinds import ATTRIBUTE, CUSTOMER, EventKind

pytestmark = pytest.mark.promise(id="I33")

HQ, CREATOR, *OTHERS = range(4)
FIELDS = ("first_name", "email", "phone")
START = timezone.now()

places = st.sampled_from((CREATOR, *OTHERS))
edits = st.tuples(
    st.just("edit"), st.sampled_from((HQ, CREATOR, *OTHERS)), st.sampled_from(FIELDS), st.booleans()
)
jobs = st.one_of(
    st.tuples(st.sampled_from(("upload", "download")), places), st.tuples(st.just("convert"))
)


@dataclass
class Screen:
    """What a place shows of the customer, the edits it has seen, and the version that arrived."""

    state: dict[str, str]
    seen: set[UUID] = field(default_factory=set)
    seen_until: datetime | None = None


@dataclass(frozen=True)
class Made:
    """An edit that a person made: the fields that they changed, and the edits they had seen."""

    event: UUID
    place: int
    at: datetime
    state: dict[str, str]
    changed: dict[str, str]
    seen: frozenset[UUID]
    seen_until: datetime | None


class Ring:
    """Headquarters and three stores, of which one has created a customer."""

    def __init__(self) -> None:
        self.now = START
        self.made: list[Made] = []
        self.uploaded: set[UUID] = set()
        self.applied: dict[UUID, datetime] = {}
        state = dict.fromkeys(FIELDS, "a")
        self.screens = {CREATOR: Screen(state)}
        self.write(CREATOR, state)

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def write(self, place: int, changed: dict[str, str]) -> Made:
        screen = self.screens[place]
        screen.state = screen.state | changed
        made = Made(
            uuid4(),
            place,
            self.tick(),
            screen.state,
            changed,
            frozenset(screen.seen),
            self.now if place == HQ else screen.seen_until,
        )
        self.made.append(made)
        screen.seen.add(made.event)
        return made

    def edit(self, place: int, name: str, first: bool) -> None:
        if place == HQ:
            self.convert()
            self.look(HQ)
        if place in self.screens:
            shown = self.screens[place].state[name]
            made = self.write(place, {name: next_value(shown, first)})
            if place == HQ:
                self.uploaded.add(made.event)
                self.convert()

    def upload(self, place: int) -> None:
        self.uploaded |= {made.event for made in self.made if made.place == place}

    def convert(self) -> None:
        if new := self.uploaded - self.applied.keys():
            self.applied |= dict.fromkeys(new, self.tick())

    def download(self, place: int) -> None:
        shown = self.screens.get(place)
        if self.applied and (shown is None or shown.seen_until != max(self.applied.values())):
            self.look(place)

    def look(self, place: int) -> None:
        """Show at a place what headquarters has now."""
        if self.applied:
            seen = self.screens[place].seen if place in self.screens else set()
            state = self.merged().states(set())[""]
            shown = {name: state[name] for name in FIELDS}
            self.screens[place] = Screen(
                shown, seen | self.applied.keys(), max(self.applied.values())
            )

    def merged(self) -> MergedCustomer:
        arrived = [made for made in self.made if made.event in self.applied]
        return MergedCustomer(
            CUSTOMER,
            1,
            [
                Edit(
                    position=position,
                    customer=1,
                    key="",
                    event=made.event,
                    place=(made.place, 1, ""),
                    counter=position,
                    is_creation=made is self.made[0],
                    applied_at=self.applied[made.event],
                    is_new=True,
                    seen_until=made.seen_until,
                    stated=dict(made.state),
                    inherited={},
                )
                for position, made in enumerate(arrived)
            ],
        )

    def expected_conflicts(self, name: str) -> Iterator[tuple[str, UUID, UUID]]:
        """Yield what the last change of a field lost unknowingly: the last one of each place."""
        *earlier, kept = (made for made in self.made if name in made.changed)
        last = {made.place: made for made in earlier if made.event not in kept.seen}
        for lost in last.values():
            is_replaced = any(lost.event in other.seen for other in earlier)
            differs = lost.changed[name] != kept.changed[name]
            if differs and not is_replaced and lost is not self.made[0]:
                yield name, lost.event, kept.event


def next_value(shown: str, first: bool) -> str:
    """Return one of two other values, so that people also take changes back."""
    return [value for value in "abc" if value != shown][0 if first else 1]


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(st.lists(st.one_of(edits, edits, jobs, jobs, jobs), min_size=10, max_size=40))
def test_each_field_has_its_latest_change_and_its_conflicts(taken):
    ring = Ring()
    for action, *details in taken:
        getattr(ring, action)(*details)
    for place in ring.screens:
        ring.upload(place)
    ring.convert()

    merged = ring.merged()

    state = merged.states(set())[""]
    latest = {name: value for made in ring.made for name, value in made.changed.items()}
    assert {name: state[name] for name in FIELDS} == latest
    conflicts = {(found.field, found.lost.event, found.kept.event) for found in merged.conflicts()}
    assert conflicts == {found for name in FIELDS for found in ring.expected_conflicts(name)}


def merged_of(kind: EventKind, *stated: tuple[int, int | None, dict[str, str]]) -> MergedCustomer:
    """Merge edits, the first of which creates the entity; of each its place and what it had seen.

    What a maker had seen is the number of the last edit that HQ had applied by then.
    """
    return MergedCustomer(
        kind,
        1,
        [
            Edit(
                position=position,
                customer=1,
                key="",
                event=uuid4(),
                place=(place, 1, ""),
                counter=position,
                is_creation=position == 0,
                applied_at=START + timedelta(hours=position),
                is_new=True,
                seen_until=None if seen is None else START + timedelta(hours=seen),
                stated=values,
                inherited={},
            )
            for position, (place, seen, values) in enumerate(stated)
        ],
    )


def test_a_correction_of_a_till_s_row_keeps_what_another_correction_changed():
    merged = merged_of(
        CUSTOMER,
        (CREATOR, None, {"phone": "a", "email": "a"}),
        (HQ, None, {"phone": "b", "email": "a"}),
        (HQ, None, {"phone": "a", "email": "b"}),
    )

    state = merged.states(set())[""]

    assert (state["phone"], state["email"]) == ("b", "b")
    assert list(merged.conflicts()) == []


def test_an_entity_without_an_id_may_be_created_at_two_places():
    store, other = OTHERS
    [column] = fields_of(ATTRIBUTE)
    merged = merged_of(ATTRIBUTE, (store, None, {column: "a"}), (other, None, {column: "b"}))

    [conflict] = merged.conflicts()

    assert (conflict.lost_value, conflict.kept_value) == ("a", "b")
