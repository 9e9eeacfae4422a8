"""The details of one case: a row that HQ could not use. Only pages that correct it may show them.

A case is either a quarantined row, which HQ keeps as the channel sent it, or an event in staging
that could not be applied.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from stores.models import Case, Quarantine, RetailTransaction
from stores.models.case import CaseStatus
from stores.pipeline.events.document_tables import DOCUMENT_KEY, DOCUMENT_PARTS, HEADER, part_rows
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind, StagedTable
from stores.pipeline.events.payloads import decode
from stores.pipeline.events.rules import STAGING_MODELS

# A time in UTC, as PostgreSQL, SQLite and Python write it.
TIME_PATTERN = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{0,9}))?(?:Z|\+00(?::00)?)"
)
# How many letters of a value a page shows.
MAX_LETTERS = 1_000
# How many lines or payments of a sale a page shows.
MAX_ROWS = 200


@dataclass(frozen=True)
class CaseColumn:
    """A column of the row. `flaw` is the rule that it breaks.

    If HQ has an event with the same id, `held` is the event's value, and `differs` compares both.
    """

    name: str
    value: str
    flaw: str = ""
    held: str = ""
    differs: bool = False

    @property
    def short(self) -> str:
        return truncated(self.value)

    @property
    def short_held(self) -> str:
        return truncated(self.held)


@dataclass(frozen=True)
class PartRows:
    """The lines or the payments of a quarantined sale."""

    table: str
    columns: tuple[str, ...]
    rows: list[list[str]]

    @property
    def first(self) -> list[list[str]]:
        return [[truncated(value) for value in row] for row in self.rows[:MAX_ROWS]]

    @property
    def more(self) -> int:
        return max(0, len(self.rows) - MAX_ROWS)


@dataclass(frozen=True)
class CaseDetail:
    """A case with its quarantined row, HQ's event with the id of the row, or both."""

    case: Case
    kind: StagedTable
    row: Quarantine | None
    event: Any

    @property
    def columns(self) -> Iterator[CaseColumn]:
        values = self.values
        for name in self.kind.sent_columns:
            value = display_value(values.get(name))
            flaw = (self.case.rule or "see the reason") if name == self.case.field else ""
            if self.has_held:
                # A sale has no column `operation`: tills only create sales.
                held = display_value(getattr(self.event, name, "create"))
                differs = comparable_value(value) != comparable_value(held)
                yield CaseColumn(name, value, flaw, held, differs)
            else:
                yield CaseColumn(name, value, flaw)

    @property
    def has_held(self) -> bool:
        """Whether the row can be compared with an event of HQ."""
        return self.event is not None and self.row is not None

    @property
    def values(self) -> dict[str, Any]:
        """The values of the row by column. A value that is not text is bytes."""
        if self.row:
            return decode(bytes(self.row.raw))
        return {column: getattr(self.event, column) for column in self.kind.sent_columns}

    @property
    def is_document(self) -> bool:
        return self.kind is HEADER

    @property
    def parts(self) -> Iterator[PartRows]:
        if not (self.is_document and self.row):
            return
        values = self.values
        for part in DOCUMENT_PARTS:
            columns = tuple(column for column in part.sent_columns if column != DOCUMENT_KEY)
            rows = [
                [display_value(row.get(column)) for column in columns]
                for row in part_rows(values, part)
            ]
            yield PartRows(part.event, columns, rows)

    @property
    def can_be_corrected(self) -> bool:
        return self.case.status in (CaseStatus.OPEN, CaseStatus.FAILED) and bool(self.case.database)

    @property
    def replacement(self) -> RetailTransaction | None:
        """The transaction that the row became, after it was released or corrected."""
        if not (self.is_document and self.row and self.row.became):
            return None
        return RetailTransaction.objects.filter(event_id=self.row.became).first()


def describe_case(case: Case) -> CaseDetail:
    """Load the row and the event of a case. The id of a quarantined row is a number."""
    kinds: dict[str, StagedTable] = {kind.event: kind for kind in EVENT_KINDS}
    kind = kinds.get(case.table, HEADER)
    row = None
    if case.id.isdecimal():
        rows = Quarantine.objects.select_related("settled_by", "session__run")
        row = rows.get(pk=int(case.id))
    event = stored_event(kind, case.event_id) if case.event_id else None
    return CaseDetail(case, kind, row, event)


def stored_event(kind: StagedTable, event_id: UUID) -> Any:
    if isinstance(kind, EventKind):
        return STAGING_MODELS[kind.noun].objects.filter(pk=event_id).first()
    return RetailTransaction.objects.filter(event_id=event_id).first()


def display_value(value: Any) -> str:
    """Return a value as people read it. Bytes become hexadecimal digits."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"bytes {value.hex(' ')}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def truncated(value: str) -> str:
    more = len(value) - MAX_LETTERS
    if more <= 0:
        return value
    return f"{value[:MAX_LETTERS]}\N{HORIZONTAL ELLIPSIS} and {more:,} more letters"


def comparable_value(value: str) -> str:
    """Return a value in a spelling that does not depend on who wrote it.

    SQLite writes true as 1, and PostgreSQL leaves out zeros at the end of seconds.
    """
    if match := TIME_PATTERN.fullmatch(value):
        day, time, fraction = match.groups(default="")
        return f"{day} {time}.{fraction.rstrip('0')}"
    return {"1": "true", "0": "false"}.get(value, value)
