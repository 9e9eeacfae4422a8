"""A document that is in quarantine, as a person corrects it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from django import forms

from stores.pipeline.corrections.case import CaseDetail
from stores.pipeline.corrections.quarantine import correct_document, correct_event
from stores.pipeline.events.document_tables import (
    DOCUMENT_KEY,
    HEADER,
    LINE,
    PAYMENT,
    DocumentTable,
    part_rows,
)
from stores.pipeline.events.kinds import EventKind
from stores.pipeline.events.rules import Rule
from stores.web.forms.event import EventForm, as_typed, rule_error
from stores.web.forms.sale import model_field

# What says nothing of what was sold, to whom and for how much.
DESCRIPTIVE_FIELDS = (
    *("occurred_at", "business_date", "store_number", "terminal_id", "staff_id"),
    *("receipt_number", "delivery_mode", "description", "unit", "item_id"),
)
# What HQ itself says of a document that it makes, or that goes over as it was.
NOT_TYPED = ("event_id", "replication_counter", "operation", "created_offline")
# What a till may leave out although HQ then knows it.
DERIVED_FIELDS = ("business_date",)


class DocumentForm(forms.Form):
    """A document that HQ makes in the place of a quarantined one: header, lines and payments.

    After the rows that are there comes an empty one; rows that are left empty are left out.
    """

    def __init__(self, values: Mapping[str, Any], data: Any = None) -> None:
        super().__init__(data)
        self.sent = values
        self.rows: list[tuple[str, DocumentTable]] = []
        # Those for one more row, of which nothing came.
        self.empty: set[str] = set()
        self.add_row("header", HEADER, values)
        for name, part in (("line", LINE), ("payment", PAYMENT)):
            for place, row in enumerate([*part_rows(values, part), {}], 1):
                self.add_row(f"{name}-{place}", part, row)
            self.empty.add(f"{name}-{place}")

    def add_row(self, prefix: str, part: DocumentTable, values: Mapping[str, Any]) -> None:
        self.rows.append((prefix, part))
        for name in typed_columns(part):
            column: Any = part.model._meta.get_field(name)
            required = part is HEADER and not column.null and name not in DERIVED_FIELDS
            field = model_field(part.model, name, required=required)
            field.initial = None if isinstance(values.get(name), bytes) else values.get(name)
            self.fields[f"{prefix}-{name}"] = field

    def sections(self) -> Iterator[tuple[str, list[forms.BoundField]]]:
        """The fields row by row, with what the row is."""
        for prefix, part in self.rows:
            title = prefix.replace("-", " ").capitalize()
            yield title, [self[f"{prefix}-{name}"] for name in typed_columns(part)]

    @property
    def identity(self) -> list[str]:
        """The fields that say what was sold, to whom and for how much."""
        return [
            f"{prefix}-{name}"
            for prefix, part in self.rows
            for name in typed_columns(part)
            if name not in DESCRIPTIVE_FIELDS or prefix in self.empty
        ]

    @property
    def values(self) -> dict[str, Any]:
        header, lines, payments = self.of(HEADER), self.of(LINE), self.of(PAYMENT)
        offline = self.sent.get("created_offline")
        own = {"created_offline": offline if offline in ("true", "false", 0, 1) else None}
        return header[0] | own | {LINE.event: lines, PAYMENT.event: payments}

    def of(self, part: DocumentTable) -> list[dict[str, Any]]:
        number = self.cleaned_data[f"header-{DOCUMENT_KEY}"]
        rows = [
            {name: as_sent(self.cleaned_data[f"{prefix}-{name}"]) for name in typed_columns(part)}
            for prefix, part_of_row in self.rows
            if part_of_row is part
        ]
        return [row | {DOCUMENT_KEY: number} for row in rows if set(row.values()) - {None, ""}]

    def add_rule_errors(self, rules: Iterable[Rule]) -> None:
        """Add an error for each broken rule, at the first field with the name of its column."""
        for rule in rules:
            names = (name for name in self.fields if name.split("-")[-1] == rule.field)
            self.add_error(next(names, None), rule_error(rule))


def typed_columns(part: DocumentTable) -> list[str]:
    """The columns of a table of documents that a person may type."""
    hidden = NOT_TYPED if part is HEADER else (DOCUMENT_KEY,)
    return [column for column in part.sent_columns if column not in hidden]


def as_sent(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def correction_form(
    detail: CaseDetail, data: Any
) -> tuple[EventForm | DocumentForm, Callable[..., UUID]]:
    """Return the form that corrects a quarantined row, and the function that saves its values."""
    if detail.is_document:
        return DocumentForm(detail.values, data), correct_document
    kind = cast(EventKind, detail.kind)
    return EventForm(kind, data, initial=as_typed(kind, detail.values)), correct_event
