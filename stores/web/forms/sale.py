"""Correct one transaction, or all of a cause."""

import hashlib
from collections.abc import Iterator
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from stores.models import Channel, RetailTransaction
from stores.models.failed_sale import SaleCause
from stores.models.labels import label
from stores.models.transaction import TransactionType
from stores.pipeline.corrections.sale import (
    HEADER_FIELDS,
    LINE_FIELDS,
    PAYMENT_FIELDS,
    PREPAID_FIELDS,
)
from stores.pipeline.corrections.sales import (
    CorrectionScope,
    ExpectedValue,
    correctable_fields,
    has_expected,
    model_of_cause,
)
from stores.web.forms.reason import ReasonField

SALE_TYPE_CHOICES = [
    (kind.value, kind.label) for kind in (TransactionType.SALE, TransactionType.RETURN)
]
CURRENCY_VALIDATOR = RegexValidator("^[A-Z]{3}$", "Three capital letters, for example EUR.")
TO_VALUE, TO_EXPECTED, TO_NOTHING = "value", "expected", "nothing"


class CorrectionForm(forms.Form):
    """One field for each value of the header, its lines and payments, and why it is changed."""

    why = ReasonField(label="Reason for the correction")

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
                self.fields[f"{prefix}-{name}"] = bound_field(row, name)

    @property
    def reason(self) -> str:
        return str(self.cleaned_data["why"])

    def sections(self) -> Iterator[tuple[str, list[forms.BoundField]]]:
        """The fields row by row, with what the row is."""
        for prefix, _, names in self.rows:
            title = prefix.replace("-", " ").capitalize()
            yield title, [self[f"{prefix}-{name}"] for name in names]

    def changes(self) -> dict[models.Model, dict[str, Any]]:
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


def bound_field(row: models.Model, name: str) -> forms.Field:
    """The form's field for a column, with its present value; empty stays empty."""
    field = correction_field(type(row), name, required=not row._meta.get_field(name).null)
    field.initial = getattr(row, name)
    return field


def correction_field(model: type[models.Model], name: str, *, required: bool) -> forms.Field:
    """The form's field for a column of a document that HQ keeps."""
    field = model_field(model, name, required=required)
    if name == "transaction_type" and isinstance(field, forms.ChoiceField):
        field.choices = SALE_TYPE_CHOICES if required else [("", "---------"), *SALE_TYPE_CHOICES]
        field.empty_value = None  # type: ignore[attr-defined]
    return field


def model_field(model: type[models.Model], name: str, *, required: bool) -> forms.Field:
    """The form's field for a column; what is left empty is null."""
    column: Any = model._meta.get_field(name)
    field: forms.Field = column.formfield(required=required)
    field.label = label(name)
    if isinstance(field, forms.DecimalField):
        # What a till wrote is shown even if it is no number.
        field.widget = forms.TextInput(attrs={"inputmode": "decimal"})
    if isinstance(field, forms.DateField):
        field.widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
    if isinstance(field, forms.CharField):
        field.empty_value = None
    if name == "currency":
        field.validators.append(CURRENCY_VALIDATOR)
    return field


class ScopeForm(forms.Form):
    """Which of the transactions of a cause are meant: all, one store's, one day's."""

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
    def scope(self) -> CorrectionScope:
        """What was chosen; what cannot be understood chooses nothing."""
        chosen: dict[str, Any] = self.cleaned_data if self.is_valid() else {"upto": 0}
        return CorrectionScope(chosen.get("channel"), chosen.get("date"), chosen.get("upto"))


class BulkCorrectionForm(forms.Form):
    """One correction for all transactions of a cause, and why."""

    def __init__(self, cause: SaleCause, data: Any = None) -> None:
        super().__init__(data)
        self.names = correctable_fields(cause)
        model = model_of_cause(cause)
        for name in self.names:
            column: Any = model._meta.get_field(name)
            ways = [(TO_VALUE, "This value")]
            ways += [(TO_EXPECTED, "The value the rule expects")] * has_expected(cause)
            ways += [(TO_NOTHING, "Empty")] * column.null
            if len(self.names) > 1:
                ways = [("", "Leave unchanged"), *ways]
            self.fields[f"to-{name}"] = forms.ChoiceField(
                choices=ways,
                label=f"{model_field(model, name, required=False).label}: change to",
                required=len(self.names) == 1,
                initial=TO_EXPECTED if has_expected(cause) else ways[0][0],
            )
            self.fields[name] = correction_field(model, name, required=False)
            self.fields[name].label = "Value"
        self.fields["why"] = ReasonField(label="Reason for the correction")

    def pairs(self) -> Iterator[tuple[forms.BoundField, forms.BoundField]]:
        """What becomes of each field, and the value to type."""
        return ((self[f"to-{name}"], self[name]) for name in self.names)

    @property
    def reason(self) -> str:
        return str(self.cleaned_data["why"])

    @property
    def digest(self) -> str:
        """What tells this correction from another: whoever is sure of one has seen its preview."""
        pairs = sorted((name, str(value)) for name, value in self.cleaned_data.items())
        return hashlib.sha256(
            repr([pair for pair in pairs if pair[0] != "why"]).encode()
        ).hexdigest()

    @property
    def values(self) -> dict[str, Any]:
        """What each field becomes; those left as they are are not there."""
        chosen = {name: self.cleaned_data[f"to-{name}"] for name in self.names}
        what = {TO_EXPECTED: ExpectedValue, TO_NOTHING: None}
        return {name: what.get(way, self.cleaned_data[name]) for name, way in chosen.items() if way}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name in self.names:
            way, value = cleaned.get(f"to-{name}"), cleaned.get(name)
            if way == TO_VALUE and value is None and name not in self.errors:
                self.add_error(name, "Enter the value, or choose another option.")
            if way != TO_VALUE and value is not None:
                self.add_error(name, "Choose “This value” as well, or leave this empty.")
        if not any(cleaned.get(f"to-{name}") for name in self.names) and not self.errors:
            raise ValidationError("Change at least one field.")
        return cleaned
