"""The form that corrects a quarantined sale or order."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError

from stores.models import Case
from stores.models.cards import mask_cards
from stores.pipeline.corrections.case import CaseDetail, display_value, truncated
from stores.pipeline.corrections.quarantine import correct_document
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
from stores.web.forms.event import EventForm, initial_values, rule_error
from stores.web.forms.sale import model_field

# Fields that do not say what was sold, to whom and for how much.
DESCRIPTIVE_FIELDS = (
    *("occurred_at", "business_date", "store_number", "terminal_id", "staff_id"),
    *("receipt_number", "delivery_mode", "description", "unit", "item_id"),
)
HIDDEN_COLUMNS = ("event_id", "replication_counter", "operation", "created_offline")
# Columns that HQ derives if the till leaves them empty.
DERIVED_FIELDS = ("business_date",)


class DocumentForm(forms.Form):
    """The header, lines and payments of a document; the last line and payment are empty."""

    def __init__(self, values: Mapping[str, Any], data: Any = None) -> None:
        super().__init__(data)
        self.original_values = values
        self.rows: list[tuple[str, DocumentTable]] = []
        self.new_rows: set[str] = set()
        # What the till wrote, by field; the rows to fill in are not among it.
        self.written: dict[str, Any] = {}
        self.add_row("header", HEADER, values)
        for name, part in (("line", LINE), ("payment", PAYMENT)):
            for place, row in enumerate([*part_rows(values, part), {}], 1):
                self.add_row(f"{name}-{place}", part, row)
            self.new_rows.add(f"{name}-{place}")

    def add_row(self, prefix: str, part: DocumentTable, values: Mapping[str, Any]) -> None:
        self.rows.append((prefix, part))
        for name in form_columns(part):
            column: Any = part.model._meta.get_field(name)
            required = part is HEADER and not column.null and name not in DERIVED_FIELDS
            field = model_field(part.model, name, required=required)
            field.initial = None if isinstance(values.get(name), bytes) else values.get(name)
            self.fields[f"{prefix}-{name}"] = field
            if values:
                self.written[f"{prefix}-{name}"] = values.get(name)

    def sections(self) -> Iterator[tuple[str, list[forms.BoundField]]]:
        for prefix, part in self.rows:
            title = prefix.replace("-", " ").capitalize()
            yield title, [self[f"{prefix}-{name}"] for name in form_columns(part)]

    @property
    def identity(self) -> list[str]:
        """The fields that say what was sold, to whom and for how much."""
        return [
            f"{prefix}-{name}"
            for prefix, part in self.rows
            for name in form_columns(part)
            if name not in DESCRIPTIVE_FIELDS or prefix in self.new_rows
        ]

    @property
    def values(self) -> dict[str, Any]:
        """The document as a till would send it."""
        [header] = self.rows_of(HEADER)
        created_offline = self.original_values.get("created_offline")
        if created_offline not in ("true", "false", 0, 1):
            created_offline = None
        return header | {
            "created_offline": created_offline,
            LINE.event: self.rows_of(LINE),
            PAYMENT.event: self.rows_of(PAYMENT),
        }

    def rows_of(self, table: DocumentTable) -> list[dict[str, Any]]:
        number = self.cleaned_data[f"header-{DOCUMENT_KEY}"]
        rows = []
        for prefix, row_table in self.rows:
            if row_table is not table:
                continue
            row = {
                column: as_sent(self.cleaned_data[f"{prefix}-{column}"])
                for column in form_columns(table)
            }
            if any(value not in (None, "") for value in row.values()):
                rows.append(row | {DOCUMENT_KEY: number})
        return rows

    def save(self, case: str, *, by: Any) -> UUID:
        """Save the document in place of the row. Returns the id of its event.

        Errors: EventRefused with the broken rule; ChangedMeanwhile.
        """
        return correct_document(case, self.values, by=by)

    def add_rule_errors(self, rules: Iterable[Rule]) -> None:
        for rule in rules:
            names = (name for name in self.fields if name.split("-")[-1] == rule.field)
            self.add_error(next(names, None), rule_error(rule))


def form_columns(part: DocumentTable) -> list[str]:
    hidden = HIDDEN_COLUMNS if part is HEADER else (DOCUMENT_KEY,)
    return [column for column in part.sent_columns if column not in hidden]


def as_sent(value: Any) -> Any:
    """Convert a value to the form in which a till sends it."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def correction_form(detail: CaseDetail, data: Any = None) -> EventForm | DocumentForm:
    """Return the form that corrects a quarantined row, filled with the row's own values."""
    if detail.is_document:
        document_form = DocumentForm(detail.values, data)
        mark_flaw(document_form, detail.case, document_form.written)
        return document_form
    kind = cast(EventKind, detail.kind)
    event_form = EventForm(kind, data, initial=initial_values(kind, detail.values))
    mark_flaw(event_form, detail.case, detail.values)
    return event_form


def mark_flaw(form: forms.Form, case: Case, written: Mapping[str, Any]) -> None:
    """Mark the field that breaks the rule, and show what the till wrote: a list cannot offer it.

    Several lines of a document can have the column; those that the form accepts are not marked, and
    none is if it accepts all: the form does not have each rule.
    """
    named = [name for name in form.fields if name.split("-")[-1] == case.field and name in written]
    flawed = [name for name in named if not accepts(form.fields[name], written[name])]
    if not flawed and len(named) == 1:
        flawed = named
    for name in flawed:
        value = truncated(mask_cards(display_value(written[name])))
        allowed = f" Allowed: {case.rule}." if case.rule else ""
        field = form.fields[name]
        field.help_text = f"The till wrote: {value or 'nothing'}.{allowed}"
        if not form.is_bound:
            field.widget.attrs |= {
                "aria-invalid": "true",
                "autofocus": name == flawed[0],
            }


def accepts(field: forms.Field, value: Any) -> bool:
    # A browser never sends bytes, so fields do not expect them.
    if isinstance(value, bytes):
        return False
    try:
        field.clean(value)
    except ValidationError:
        return False
    return True
