"""One row that HQ could not use, told in full: for the one page, and the one command, that may."""

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

# A time in UTC, as either engine and Python write it; longer texts are none.
TIME_PATTERN = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{0,9}))?(?:Z|\+00(?::00)?)"
)
# What a page can show: letters of a value, and rows of a table that travels with a document.
MAX_LETTERS, MAX_ROWS = 1_000, 200


@dataclass(frozen=True)
class CaseColumn:
    """A column of the row; `held` is what HQ has in an event of the same id, if it has one."""

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
    case: Case
    kind: StagedTable
    row: Quarantine | None
    event: Any

    @property
    def columns(self) -> Iterator[CaseColumn]:
        """Each column, with what is wrong with it, and what HQ holds under the same id."""
        values = self.values
        for name in self.kind.sent_columns:
            value = display_value(values.get(name))
            stored = display_value(getattr(self.event, name, "create")) if self.has_held else ""
            flaw = (self.case.rule or "see the reason") if name == self.case.field else ""
            differs = self.has_held and comparable_value(value) != comparable_value(stored)
            yield CaseColumn(name, value, flaw, stored, differs)

    @property
    def has_held(self) -> bool:
        """Whether HQ holds an event with the same id, to be compared."""
        return self.event is not None and self.row is not None

    @property
    def values(self) -> dict[str, Any]:
        """The columns as the row gave them; bytes where they are no text."""
        if self.row:
            return decode(bytes(self.row.raw))
        return {column: getattr(self.event, column) for column in self.kind.sent_columns}

    @property
    def is_document(self) -> bool:
        """Whether it is a sale or an order, with lines and payments."""
        return self.kind is HEADER

    @property
    def parts(self) -> Iterator[PartRows]:
        values = self.values if self.is_document and self.row else {}
        for part in DOCUMENT_PARTS if values else ():
            columns = tuple(column for column in part.sent_columns if column != DOCUMENT_KEY)
            rows = [
                [display_value(row.get(column)) for column in columns]
                for row in part_rows(values, part)
            ]
            yield PartRows(part.event, columns, rows)

    @property
    def can_be_corrected(self) -> bool:
        """Whether an event or a document of HQ may still take its place."""
        return self.case.status in (CaseStatus.OPEN, CaseStatus.FAILED) and bool(self.case.database)

    @property
    def replacement(self) -> RetailTransaction | None:
        """The document of HQ, or the row's own, that is among the sales now."""
        if not (self.is_document and self.row and self.row.became):
            return None
        return RetailTransaction.objects.filter(event_id=self.row.became).first()


def describe_case(case: Case) -> CaseDetail:
    kind = next((kind for kind in (*EVENT_KINDS, HEADER) if kind.event == case.table), HEADER)
    row = None
    if case.id.isdecimal():
        rows = Quarantine.objects.select_related("settled_by", "session__run")
        row = rows.get(pk=int(case.id))
    return CaseDetail(case, kind, row, stored_event(kind, case.event_id) if case.event_id else None)


def stored_event(kind: StagedTable, event_id: UUID) -> Any:
    if isinstance(kind, EventKind):
        return STAGING_MODELS[kind.name].objects.filter(pk=event_id).first()
    return RetailTransaction.objects.filter(event_id=event_id).first()


def display_value(value: Any) -> str:
    """A value for people; bytes that are no text as hexadecimal digits."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"bytes {value.hex(' ')}"
    return "true" if value is True else "false" if value is False else str(value)


def truncated(value: str) -> str:
    more = len(value) - MAX_LETTERS
    if more <= 0:
        return value
    return f"{value[:MAX_LETTERS]}\N{HORIZONTAL ELLIPSIS} and {more:,} more letters"


def comparable_value(value: str) -> str:
    """A value without what only its spelling tells apart: SQLite's 1 and true, a time's zone.

    Of the fraction of a second PostgreSQL leaves the last zeros out, Python does not.
    """
    if match := TIME_PATTERN.fullmatch(value):
        return f"{match[1]} {match[2]}.{(match[3] or '').rstrip('0')}"
    return {"1": "true", "0": "false"}.get(value, value)
