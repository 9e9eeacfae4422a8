"""Merge edits field by field: each field of an entity keeps its latest change.

An event says the whole state of an entity (a customer, or one of the customer's addresses and so
on). Its *base* is the state that its maker had seen. An edit *changes* the fields in which it
differs from its base; in all others it only repeats what its maker had seen. So an edit does not
take back a change that its maker did not know of. Two edits *conflict* if both change a field, and
the maker of the later one did not know of the other.

Whoever wrote an event had seen the latest of these two: the event that the same database wrote
before, and the version of headquarters (HQ) that had arrived last. If HQ knows of neither, it was
the entity as a till had created it; of an imported entity, HQ cannot say what it was.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeAlias
from uuid import UUID

from stores.models.customer import composed_name
from stores.pipeline.events.kinds import (
    ADDRESS,
    CONTACT,
    CUSTOMER,
    INHERITED_COLUMNS,
    EventKind,
)

# Kinds whose entities are new when a till creates them, so that nobody else can have edited them.
KINDS_WITH_CREATION = (CUSTOMER, ADDRESS, CONTACT)
# The place of people at headquarters, as the id of a database.
HEADQUARTERS = 0
NAME_PARTS = ("first_name", "middle_name", "last_name")
# Stands for a full name that consists of a person's other names, and changes with them.
COMPOSED = object()
State: TypeAlias = dict[str, Any]
# A database, its generation, and the register that an event was merged from, or "".
Place: TypeAlias = tuple[int, int, str]


@dataclass(eq=False)
class Edit:
    """One event that states the fields of an entity, with its position in the order of events.

    `place` is where it was written: what its maker sees there. `seen_until`: its maker had seen
    what HQ had applied by then; None if HQ cannot say.
    """

    position: int
    customer: int
    key: str
    event: UUID
    place: Place
    counter: int
    is_creation: bool
    applied_at: datetime
    # Whether the present transaction applies it.
    is_new: bool
    seen_until: datetime | None
    stated: State
    # What the customer had when its till created it, of the fields that it inherits.
    inherited: State
    # Whatever its own database has written by now, HQ had applied nothing of it before.
    applied_first_at: datetime = field(init=False)
    previous: "Edit | None" = None
    # The creation of the entity: whoever else edits the entity has seen it.
    creation: "Edit | None" = None
    after: State = field(default_factory=dict)

    @property
    def is_correction(self) -> bool:
        """Whether a person at HQ only corrected a till's row, and has not looked at the entity."""
        return self.seen_until is None and self.place[0] == HEADQUARTERS

    def had_arrived(self, other: "Edit") -> bool:
        """Whether another edit was part of the version of HQ that its maker had seen."""
        if other is self.creation:
            return not self.is_creation
        return (
            self.seen_until is not None
            and other.applied_at <= self.seen_until
            and other.applied_at < self.applied_first_at
        )

    def knows(self, other: "Edit") -> bool:
        """Whether its maker knew of another edit."""
        if other.place == self.place and not self.is_correction:
            return other.counter < self.counter
        return self.had_arrived(other)


Condition: TypeAlias = Callable[[Edit], bool]


@dataclass(frozen=True)
class Conflict:
    """A field that two edits changed, the maker of the kept one without knowing of the lost one."""

    field: str
    lost: Edit
    kept: Edit

    @property
    def lost_value(self) -> str:
        return as_text(self.lost.stated.get(self.field))

    @property
    def kept_value(self) -> str:
        return as_text(self.kept.stated.get(self.field))


@dataclass
class Entity:
    """An entity, with the edits that changed each of its fields, in the order of events."""

    edits: list[Edit]
    changes: dict[str, list[Edit]] = field(default_factory=lambda: defaultdict(list))

    def latest_change(self, column: str, seen: Condition) -> Edit | None:
        changes = reversed(self.changes.get(column, []))
        return next(filter(seen, changes), None)


class MergedCustomer:
    """What the edits of one kind make of a customer's entities, field by field."""

    def __init__(self, kind: EventKind, customer: int, edits: Sequence[Edit]) -> None:
        self.kind = kind
        self.id = customer
        self.columns = fields_of(kind)
        self.entities: dict[str, Entity] = {}
        # The edits that made an entity the primary one of a purpose, by that purpose.
        self.claims: dict[Any, list[tuple[Edit, Entity]]] = defaultdict(list)
        for edit in edits:
            self.entities.setdefault(edit.key, Entity([])).edits.append(edit)
        for edit in in_order_of_knowledge(kind, self.entities.values(), edits):
            self.add(self.entities[edit.key], edit)

    def add(self, entity: Entity, edit: Edit) -> None:
        """Note what an edit changes. All edits that its maker knew of have been added."""
        base = self.base_of(entity, edit)
        changed = set()
        for column in self.columns:
            value = edit.stated.get(column)
            if self.kind is CUSTOMER and column == "name" and is_composed(edit.stated, base):
                value = COMPOSED
            if self.kind is CUSTOMER and column in INHERITED_COLUMNS and not value:
                value = base.get(column)
            elif differ(base.get(column), value):
                insort(entity.changes[column], edit, key=attrgetter("position"))
                changed.add(column)
            edit.after[column] = value
        if edit.after.get("is_primary") and changed & {"is_primary", self.kind.primary}:
            self.claims[edit.after[str(self.kind.primary)]].append((edit, entity))

    def base_of(self, entity: Entity, edit: Edit) -> State:
        """Return the state that the maker of an edit had seen. What nobody stated is left out."""
        previous = edit.previous
        if previous and previous.seen_until == edit.seen_until and not edit.is_correction:
            return previous.after
        base = dict(edit.inherited)
        for column in self.columns:
            if change := entity.latest_change(column, edit.had_arrived):
                base[column] = change.after[column]
        if base.get("is_primary"):
            base["is_primary"] = self.is_primary(entity, edit.had_arrived)
        return base

    def is_primary(self, entity: Entity, seen: Condition) -> bool:
        """Return whether an entity that was made primary is still so: no other took its place."""
        purpose, claimed = self.claim_of(entity, seen)
        return not any(
            other is not entity and claim.position > claimed and seen(claim)
            for claim, other in self.claims[purpose]
        )

    def claim_of(self, entity: Entity, seen: Condition) -> tuple[Any, int]:
        """Return the purpose of an entity, and since which position it is the primary one of it."""
        within = str(self.kind.primary)
        changes = [entity.latest_change(column, seen) for column in ("is_primary", within)]
        purpose = changes[1].after[within] if changes[1] else None
        return purpose, max((change.position for change in changes if change), default=0)

    def state(self, entity: Entity) -> State:
        """Return the fields of an entity: each has its latest change."""
        state = {}
        for column in self.columns:
            change = entity.latest_change(column, everything)
            # Nobody gave it a value: it stays "no", or empty, as the latest edit says.
            latest = entity.edits[-1].stated.get(column)
            unset = None if latest else latest
            state[column] = change.after[column] if change else unset
        if state.get("is_primary"):
            state["is_primary"] = self.is_primary(entity, everything)
        if state.get("name") is COMPOSED:
            is_stated = any(edit.stated.get("name") for edit in entity.edits)
            parts = [state[part] for part in NAME_PARTS]
            state["name"] = composed_name(*parts) if is_stated else None
        return state

    def states(self, active: set[tuple[int, str]]) -> dict[str, State]:
        """Return the fields of all entities by key.

        Of the active ones, which are given by customer and key, one of a purpose is primary.
        """
        states = {key: self.state(entity) for key, entity in self.entities.items()}
        claimed_at = {
            key: self.claim_of(self.entities[key], everything)[1]
            for key, state in states.items()
            if state.get("is_primary") and (self.id, key) in active
        }
        latest: dict[Any, str] = {}
        for key in sorted(claimed_at, key=claimed_at.__getitem__):
            purpose = states[key][str(self.kind.primary)]
            if purpose in latest:
                states[latest[purpose]]["is_primary"] = False
            latest[purpose] = key
        return states

    def shown(self) -> Iterator[Edit]:
        """Yield the edits of which a field is shown."""
        for entity in self.entities.values():
            for changes in entity.changes.values():
                yield from changes[-1:]

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what the edits conflict in that the present transaction applies."""
        for entity in self.entities.values():
            for column, changes in entity.changes.items():
                for lost in lost_changes(self.kind, column, changes):
                    yield Conflict(column, lost, changes[-1])


def lost_changes(kind: EventKind, column: str, changes: Sequence[Edit]) -> Iterable[Edit]:
    """Return, of each other place, the last change of a field that the latest one lost unknowingly.

    The creation of an entity with an id loses nothing: nobody else can have edited it before.
    """
    *earlier, kept = changes
    unknown = {edit.place: edit for edit in earlier if not kept.knows(edit)}
    return [
        edit
        for edit in unknown.values()
        if (edit.is_new or kept.is_new)
        and differ(edit.after[column], kept.after[column])
        and not (edit.is_creation and kind in KINDS_WITH_CREATION)
        # Whoever replaced it knowingly said something else before the kept edit.
        and not any(other.knows(edit) for other in earlier if other is not edit)
    ]


def in_order_of_knowledge(
    kind: EventKind, entities: Iterable[Entity], edits: Sequence[Edit]
) -> list[Edit]:
    """Return edits so that those come first which the maker of an edit knew of.

    Effects: what each edit follows.
    """
    for entity in entities:
        creation = creation_of(kind, entity)
        latest: dict[Place, Edit] = {}
        for edit in sorted(entity.edits, key=attrgetter("place", "counter")):
            edit.creation = creation
            edit.previous = latest.get(edit.place)
            latest[edit.place] = edit
    applied_at: dict[Place, datetime] = {}
    for edit in sorted(edits, key=attrgetter("place", "counter"), reverse=True):
        applied_at[edit.place] = min(edit.applied_at, applied_at.get(edit.place, edit.applied_at))
        edit.applied_first_at = applied_at[edit.place]
    return sorted(
        edits,
        key=lambda edit: (
            edit is not edit.creation,
            edit.applied_first_at,
            edit.place,
            edit.counter,
        ),
    )


def creation_of(kind: EventKind, entity: Entity) -> Edit | None:
    """Return the edit that created an entity. An imported one has none."""
    if kind not in KINDS_WITH_CREATION:
        return None
    creations = (edit for edit in entity.edits if edit.is_creation)
    return min(creations, key=attrgetter("position"), default=None)


def fields_of(kind: EventKind) -> list[str]:
    """Return the columns that edits of an entity can change."""
    return [column for column in kind.columns if column not in kind.key]


def everything(_: Edit) -> bool:
    return True


def is_composed(stated: State, base: State) -> bool:
    """Return whether the full name consists of the other names. So does a person's without one."""
    name = stated.get("name")
    if not name:
        return (stated.get("customer_type") or base.get("customer_type")) == "person"
    return bool(name == composed_name(*(stated.get(part) for part in NAME_PARTS)))


def differ(one: Any, other: Any) -> bool:
    """Return whether two values differ. An empty text is no value, and neither is "no"."""
    return (one or None) != (other or None)


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
