"""The operations of tills and of people at headquarters on a customer, described for a trace."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from stores.models.staging import Operation, Origin
from stores.pipeline.events.kinds import CUSTOMER, INHERITED_COLUMNS, EventKind
from stores.values.characters import normalize_text

# The column that distinguishes several rows of a customer without personal data.
DISTINGUISHING_COLUMNS = {
    "address": "purpose",
    "contact": "kind",
    "affiliation": "affiliation",
    "attribute": "attribute",
}
# The columns for which HQ has a default if a till leaves them empty.
DEFAULTED_COLUMNS = {"address": ("purpose", "country"), "contact": ("marketing_opt_in",)}


@dataclass(frozen=True)
class CustomerOperation:
    """One event of a customer, an address or another detail.

    `before` is the event before it that its maker had seen, if there is one.
    """

    kind: EventKind
    row: Any
    before: Any = None

    @property
    def subject(self) -> str:
        """For example Customer, or Address home."""
        column = DISTINGUISHING_COLUMNS.get(self.kind.noun)
        value = getattr(self.row, column) if column else None
        name = self.kind.noun.capitalize()
        return f"{name} {value}" if value else name

    @property
    def verb(self) -> str:
        """created, edited or deactivated for a customer; added, edited or removed for a detail."""
        if self.row.operation == Operation.UPDATE:
            return "edited"
        is_removal = self.row.operation == Operation.DEACTIVATE
        if self.kind is CUSTOMER:
            return "deactivated" if is_removal else "created"
        return "removed" if is_removal else "added"

    @property
    def changes(self) -> dict[str, str]:
        """The changed columns, each as `old -> new`, with `?` for an unknown old value."""
        if self.row.operation == Operation.DEACTIVATE:
            return {}
        changes = {}
        for column in self.kind.columns:
            if column not in self.kind.key and self.is_changed(column):
                old = value_text(getattr(self.before, column)) if self.before else "?"
                changes[column] = f"{old} -> {value_text(getattr(self.row, column))}"
        return changes

    def is_changed(self, column: str) -> bool:
        """Whether the event gave a column another value at HQ."""
        old, new = getattr(self.before, column, None), getattr(self.row, column)
        if normalized_value(old) == normalized_value(new):
            return False
        # HQ keeps the value of an inherited column that an event leaves out.
        if self.kind is CUSTOMER and column in INHERITED_COLUMNS and not new:
            return False
        # A form at HQ sends back the default that HQ had filled in for a till.
        is_default = column in DEFAULTED_COLUMNS.get(self.kind.noun, ()) and not old
        return not (self.is_of_hq and is_default)

    @property
    def is_of_hq(self) -> bool:
        return bool(self.row.origin == Origin.HQ)

    @property
    def is_edit(self) -> bool:
        """Whether there was a row before, so that the trace shows old and new values."""
        return self.before is not None or self.row.operation == Operation.UPDATE

    @property
    def summary(self) -> str:
        """The operation without values, such as "Address home edited: street"."""
        names = ", ".join(self.changes) if self.before else ""
        return f"{self.subject} {self.verb}: {names}" if names else f"{self.subject} {self.verb}"

    @property
    def description(self) -> str:
        """The operation with the old and new values of an edit."""
        values = ", ".join(f"{name} {change}" for name, change in self.changes.items())
        if values and self.is_edit:
            return f"{self.subject} {self.verb}: {values}"
        return f"{self.subject} {self.verb}"


def in_event_order(events: Iterable[Any]) -> list[Any]:
    """Sort events of one entity as the conversion does in SQL (`pipeline/convert/merge.py`).

    The time of an event is the time at the till, but not later than its arrival, and not earlier
    than an earlier event of the same database.
    """
    latest: dict[int, datetime] = {}
    keyed = []
    for row in sorted(events, key=lambda row: (row.generation, row.replication_counter)):
        database = row.database_id or 0
        at = min(row.occurred_at, row.staged_at)
        latest[database] = max(at, latest.get(database, at))
        key = (latest[database], database_key(row), row.generation, row.replication_counter)
        keyed.append((key, row))
    return [row for _, row in sorted(keyed, key=itemgetter(0))]


def database_key(row: Any) -> tuple[str, str]:
    """Channel code and register, by which events of the same moment are sorted; HQ comes first."""
    return (row.database.channel.code, row.database.name) if row.database else ("", "")


def normalized_value(value: Any) -> str:
    """A value as HQ stores it. Values that HQ stores alike are not a change."""
    return normalize_text(str(value or ""))


def value_text(value: Any) -> str:
    return "(empty)" if value in (None, "") else str(value)
