"""Correct documents: one, all that failed alike, or one that is in quarantine."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from stores.forms import EventForm, ReasonField, as_typed
from stores.models import Channel, RetailTransaction
from stores.models.failed_sale import SaleCause
from stores.models.labels import label
from stores.models.reason import explain
from stores.models.transaction import TransactionType
from stores.pipeline.corrections.case import CaseStory
from stores.pipeline.corrections.quarantine import correct, correct_document
from stores.pipeline.corrections.sale import (
    HEADER_FIELDS,
    LINE_FIELDS,
    PAYMENT_FIELDS,
    PREPAID_FIELDS,
)
from stores.pipeline.corrections.sales import Expected, Scope, fields_of, has_expected, model_of
from stores.pipeline.events.document_tables import HEADER, KEY, LINE, PAYMENT, Part, rows_in
from stores.pipeline.events.kinds import Kind
from stores.pipeline.events.rules import Rule

SOLD = [(kind.value, kind.label) for kind in (TransactionType.SALE, TransactionType.RETURN)]
A_CURRENCY = RegexValidator("^[A-Z]{3}$", "Three capital letters, for example EUR.")
# What says nothing of what was sold, to whom and for how much.
BESIDE = (
    *("occurred_at", "business_date", "store_number", "terminal_id", "staff_id"),
    *("receipt_number", "delivery_mode", "description", "unit", "item_id"),
)
# What HQ itself says of a document that it makes, or that goes over as it was.
NOT_TYPED = ("event_id", "replication_counter", "operation", "created_offline")
# What a till may leave out although HQ then knows it.
FOUND_OUT = ("business_date",)
TO_VALUE, TO_EXPECTED, TO_NOTHING = "value", "expected", "nothing"


class MendForm(forms.Form):
    """One field for each value of the header, its lines and payments, and why it is changed."""

    why = ReasonField(label="Why is it corrected?")

    def __init__(self, sale: RetailTransaction, data: Any = None) -> None:
        super().__init__(data)
        self.rows: list[tuple[str, models.Model, tuple[str, ...]]] = [
            ("header", sale, header_fields(sale)),
            *((f"line-{row.line_number}", row, LINE_FIELDS) for row in sale.lines.all()),
            *(
                (f"payment-{row.line_number}", row, PAYMENT_FIELDS)
                for row in sale.payments.all()
                if not sale.prepayment_statement_id
            ),
        ]
        for prefix, row, names in self.rows:
            for name in names:
                self.fields[f"{prefix}-{name}"] = made(row, name)

    @property
    def reason(self) -> str:
        return str(self.cleaned_data["why"])

    def sections(self) -> Iterator[tuple[str, list[forms.BoundField]]]:
        """The fields row by row, with what the row is."""
        for prefix, _, names in self.rows:
            title = prefix.replace("-", " ").capitalize()
            yield title, [self[f"{prefix}-{name}"] for name in names]

    def changes(self) -> dict[models.Model, dict[str, Any]]:
        """The values as typed, by row."""
        return {
            row: {name: self.cleaned_data[f"{prefix}-{name}"] for name in names}
            for prefix, row, names in self.rows
        }


def header_fields(sale: RetailTransaction) -> tuple[str, ...]:
    """What of a header may be typed: a sale can have been a return, an order is nothing else.

    Whom and what a statement names as paid for an order stays.
    """
    is_order = sale.transaction_type == TransactionType.CUSTOMER_ORDER
    kept = {"transaction_type"} if is_order else set()
    kept |= set(PREPAID_FIELDS) if sale.prepayment_statement_id else set()
    return tuple(name for name in HEADER_FIELDS if name not in kept)


def made(row: models.Model, name: str) -> forms.Field:
    """The form's field for a column, with its present value; empty stays empty."""
    found = mended_field(type(row), name, required=not row._meta.get_field(name).null)
    found.initial = getattr(row, name)
    return found


def mended_field(model: type[models.Model], name: str, *, required: bool) -> forms.Field:
    """The form's field for a column of a document that HQ keeps."""
    found = field_for(model, name, required=required)
    if name == "transaction_type" and isinstance(found, forms.ChoiceField):
        found.choices = SOLD if required else [("", "---------"), *SOLD]
        found.empty_value = None  # type: ignore[attr-defined]
    return found


def field_for(model: type[models.Model], name: str, *, required: bool) -> forms.Field:
    """The form's field for a column; what is left empty is null."""
    column: Any = model._meta.get_field(name)
    found: forms.Field = column.formfield(required=required)
    found.label = label(name)
    if isinstance(found, forms.DecimalField):
        # What a till wrote is shown even if it is no number.
        found.widget = forms.TextInput(attrs={"inputmode": "decimal"})
    if isinstance(found, forms.DateField):
        found.widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
    if isinstance(found, forms.CharField):
        found.empty_value = None
    if name == "currency":
        found.validators.append(A_CURRENCY)
    return found


class ScopeForm(forms.Form):
    """Which of the transactions that failed alike are meant: all, one store's, one day's."""

    channel = forms.ModelChoiceField(
        Channel.objects.order_by("name"),
        to_field_name="code",
        required=False,
        empty_label="All channels",
    )
    date = forms.DateField(
        label="Business date", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    upto = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)

    @property
    def scope(self) -> Scope:
        """What was chosen; what cannot be understood chooses nothing."""
        chosen: dict[str, Any] = self.cleaned_data if self.is_valid() else {"upto": 0}
        return Scope(chosen.get("channel"), chosen.get("date"), chosen.get("upto"))


class AlikeForm(forms.Form):
    """One correction for all transactions that failed alike, and why."""

    def __init__(self, cause: SaleCause, data: Any = None) -> None:
        super().__init__(data)
        self.names = fields_of(cause)
        model = model_of(cause)
        for name in self.names:
            column: Any = model._meta.get_field(name)
            ways = [(TO_VALUE, "This value")]
            ways += [(TO_EXPECTED, "What the rule expects of each")] * has_expected(cause)
            ways += [(TO_NOTHING, "Nothing: make it empty")] * column.null
            if len(self.names) > 1:
                ways = [("", "Leave it as it is"), *ways]
            self.fields[f"to-{name}"] = forms.ChoiceField(
                choices=ways,
                label=f"{field_for(model, name, required=False).label} becomes",
                required=len(self.names) == 1,
                initial=TO_EXPECTED if has_expected(cause) else ways[0][0],
            )
            self.fields[name] = mended_field(model, name, required=False)
            self.fields[name].label = "Value"
        self.fields["why"] = ReasonField(label="Why are they corrected?")

    def pairs(self) -> Iterator[tuple[forms.BoundField, forms.BoundField]]:
        """What becomes of each field, and the value to type."""
        return ((self[f"to-{name}"], self[name]) for name in self.names)

    @property
    def reason(self) -> str:
        return str(self.cleaned_data["why"])

    @property
    def digest(self) -> str:
        """What tells this correction from another: whoever is sure of one has seen its preview."""
        said = sorted((name, str(value)) for name, value in self.cleaned_data.items())
        return hashlib.sha256(repr([one for one in said if one[0] != "why"]).encode()).hexdigest()

    @property
    def values(self) -> dict[str, Any]:
        """What each field becomes; those left as they are are not there."""
        chosen = {name: self.cleaned_data[f"to-{name}"] for name in self.names}
        what = {TO_EXPECTED: Expected, TO_NOTHING: None}
        return {name: what.get(way, self.cleaned_data[name]) for name, way in chosen.items() if way}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name in self.names:
            way, value = cleaned.get(f"to-{name}"), cleaned.get(name)
            if way == TO_VALUE and value is None and name not in self.errors:
                self.add_error(name, "Type the value, or choose something else.")
            if way != TO_VALUE and value is not None:
                self.add_error(name, "Choose This value as well, or leave it empty.")
        if not any(cleaned.get(f"to-{name}") for name in self.names) and not self.errors:
            raise ValidationError("Say what is to become of one field at least.")
        return cleaned


class DocumentForm(forms.Form):
    """A document that HQ makes in the place of a quarantined one: header, lines and payments.

    After the rows that are there comes an empty one; rows that are left empty are left out.
    """

    def __init__(self, values: Mapping[str, Any], data: Any = None) -> None:
        super().__init__(data)
        self.sent = values
        self.rows: list[tuple[str, Part]] = []
        # Those for one more row, of which nothing came.
        self.empty: set[str] = set()
        self.add_row("header", HEADER, values)
        for name, part in (("line", LINE), ("payment", PAYMENT)):
            for place, row in enumerate([*rows_in(values, part), {}], 1):
                self.add_row(f"{name}-{place}", part, row)
            self.empty.add(f"{name}-{place}")

    def add_row(self, prefix: str, part: Part, values: Mapping[str, Any]) -> None:
        """One field for each column that a person may type."""
        self.rows.append((prefix, part))
        for name in typed_in(part):
            column: Any = part.model._meta.get_field(name)
            required = part is HEADER and not column.null and name not in FOUND_OUT
            found = field_for(part.model, name, required=required)
            found.initial = None if isinstance(values.get(name), bytes) else values.get(name)
            self.fields[f"{prefix}-{name}"] = found

    def sections(self) -> Iterator[tuple[str, list[forms.BoundField]]]:
        """The fields row by row, with what the row is."""
        for prefix, part in self.rows:
            title = prefix.replace("-", " ").capitalize()
            yield title, [self[f"{prefix}-{name}"] for name in typed_in(part)]

    @property
    def identity(self) -> list[str]:
        """The fields that say what was sold, to whom and for how much."""
        return [
            f"{prefix}-{name}"
            for prefix, part in self.rows
            for name in typed_in(part)
            if name not in BESIDE or prefix in self.empty
        ]

    @property
    def values(self) -> dict[str, Any]:
        """The document as a channel would have sent it."""
        header, lines, payments = self.of(HEADER), self.of(LINE), self.of(PAYMENT)
        offline = self.sent.get("created_offline")
        own = {"created_offline": offline if offline in ("true", "false", 0, 1) else None}
        return header[0] | own | {LINE.event: lines, PAYMENT.event: payments}

    def of(self, part: Part) -> list[dict[str, Any]]:
        """The rows of one table that are not left empty."""
        number = self.cleaned_data[f"header-{KEY}"]
        rows = [
            {name: as_sent(self.cleaned_data[f"{prefix}-{name}"]) for name in typed_in(part)}
            for prefix, found in self.rows
            if found is part
        ]
        return [row | {KEY: number} for row in rows if set(row.values()) - {None, ""}]

    def blame(self, broken: Iterable[Rule]) -> None:
        """Say at the field, or above all, which rule it breaks."""
        for rule in broken:
            named = (name for name in self.fields if name.split("-")[-1] == rule.field)
            text = explain(rule.code, label(rule.field))
            allowed = f" It may be {rule.allows}." if rule.allows else ""
            self.add_error(next(named, None), text + allowed)


def typed_in(part: Part) -> list[str]:
    """The columns of a table of documents that a person may type."""
    hidden = NOT_TYPED if part is HEADER else (KEY,)
    return [column for column in part.sent if column not in hidden]


def as_sent(value: Any) -> Any:
    """A value as it travels from a channel."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def form_of(story: CaseStory, data: Any) -> tuple[EventForm | DocumentForm, Callable[..., UUID]]:
    """The form in which a row of quarantine is corrected, and what then settles it."""
    if story.is_document:
        return DocumentForm(story.values, data), correct_document
    kind = cast(Kind, story.kind)
    return EventForm(kind, data, initial=as_typed(kind, story.values)), correct
