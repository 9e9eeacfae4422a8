"""The forms that correct one transaction, or all transactions of a cause."""

import hashlib
from collections.abc import Iterator
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.fields import BLANK_CHOICE_DASH

from stores.messages.labels import label
from stores.models import Channel, RetailTransaction
from stores.models.failed_sale import SaleCause
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
    """The values of a transaction, its lines and payments that can be corrected, and a reason."""

    why = ReasonField(label="Reason for the correction")

    def __init__(self, sale: RetailTransaction, data: Any = None) -> None:
        super().__init__(data)
        self.rows: list[tuple[str, models.Model, tuple[str, ...]]] = []
        self.add_row("header", sale, header_fields(sale))
        for line in sale.lines.all():
            self.add_row(f"line-{line.line_number}", line, LINE_FIELDS)
        if not sale.prepayment_statement_id:
            for payment in sale.payments.all():
                self.add_row(f"payment-{payment.line_number}", payment, PAYMENT_FIELDS)

    def add_row(self, prefix: str, row: models.Model, names: tuple[str, ...]) -> None:
        self.rows.append((prefix, row, names))
        for name in names:
            self.fields[f"{prefix}-{name}"] = field_of_row(row, name)

    @property
    def reason(self) -> str:
        return str(self.cleaned_data["why"])

    def sections(self) -> Iterator[tuple[str, list[forms.BoundField]]]:
        for prefix, _, names in self.rows:
            title = prefix.replace("-", " ").capitalize()
            yield title, [self[f"{prefix}-{name}"] for name in names]

    def changes(self) -> dict[models.Model, dict[str, Any]]:
        return {
            row: {name: self.cleaned_data[f"{prefix}-{name}"] for name in names}
            for prefix, row, names in self.rows
        }


def header_fields(sale: RetailTransaction) -> tuple[str, ...]:
    """The fields of the header that can be corrected; those of prepaid orders are fewer."""
    fixed: set[str] = set()
    if sale.transaction_type == TransactionType.CUSTOMER_ORDER:
        fixed.add("transaction_type")
    if sale.prepayment_statement_id:
        fixed.update(PREPAID_FIELDS)
    return tuple(name for name in HEADER_FIELDS if name not in fixed)


def field_of_row(row: models.Model, name: str) -> forms.Field:
    """The form field of a column with the row's value; a column that is never NULL is required."""
    field = correction_field(type(row), name, required=not row._meta.get_field(name).null)
    field.initial = getattr(row, name)
    return field


def correction_field(model: type[models.Model], name: str, *, required: bool) -> forms.Field:
    """The form field of a column of a transaction; a sale can only become a return or a sale."""
    field = model_field(model, name, required=required)
    if name == "transaction_type" and isinstance(field, forms.ChoiceField):
        field.choices = SALE_TYPE_CHOICES if required else [*BLANK_CHOICE_DASH, *SALE_TYPE_CHOICES]
        field.empty_value = None  # type: ignore[attr-defined]
    return field


def model_field(model: type[models.Model], name: str, *, required: bool) -> forms.Field:
    column: Any = model._meta.get_field(name)
    field: forms.Field = column.formfield(required=required)
    field.label = label(name)
    if isinstance(field, forms.DecimalField):
        # A text field also shows what a till wrote in place of a number.
        field.widget = forms.TextInput(attrs={"inputmode": "decimal"})
    if isinstance(field, forms.DateField):
        field.widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
    if isinstance(field, forms.CharField):
        field.empty_value = None
    if name == "currency":
        field.validators.append(CURRENCY_VALIDATOR)
    return field


class ScopeForm(forms.Form):
    """The transactions of a cause to correct: all, those of a channel or those of a day."""

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
        """The scope of the correction; an invalid form selects no transaction."""
        if not self.is_valid():
            return CorrectionScope(None, None, 0)
        data = self.cleaned_data
        return CorrectionScope(data["channel"], data["date"], data["upto"])


class BulkCorrectionForm(forms.Form):
    """One correction for all transactions of a cause, and a reason.

    For each field, `to-FIELD` says how it changes, and `FIELD` is the value if one is typed.
    """

    def __init__(self, cause: SaleCause, data: Any = None) -> None:
        super().__init__(data)
        self.names = correctable_fields(cause)
        for name in self.names:
            self.fields[f"to-{name}"] = self.way_field(cause, name)
            self.fields[name] = correction_field(model_of_cause(cause), name, required=False)
            self.fields[name].label = "Value"
        self.fields["why"] = ReasonField(label="Reason for the correction")

    def way_field(self, cause: SaleCause, name: str) -> forms.ChoiceField:
        """The choice of how a field changes; one of several fields may stay unchanged."""
        column: Any = model_of_cause(cause)._meta.get_field(name)
        is_only_field = len(self.names) == 1
        choices = [] if is_only_field else [("", "Leave unchanged")]
        choices.append((TO_VALUE, "This value"))
        if has_expected(cause):
            choices.append((TO_EXPECTED, "The value the rule expects"))
        if column.null:
            choices.append((TO_NOTHING, "Empty"))
        return forms.ChoiceField(
            choices=choices,
            label=f"{label(name)}: change to",
            required=is_only_field,
            error_messages={"invalid_choice": "Not possible for this field."},
            initial=TO_EXPECTED if has_expected(cause) else choices[0][0],
        )

    def pairs(self) -> Iterator[tuple[forms.BoundField, forms.BoundField]]:
        """Yield for each field the way it changes and the value to type."""
        return ((self[f"to-{name}"], self[name]) for name in self.names)

    @property
    def reason(self) -> str:
        return str(self.cleaned_data["why"])

    @property
    def digest(self) -> str:
        """Identifies the correction, so that only one that was previewed can be confirmed."""
        values = sorted(
            (name, str(value)) for name, value in self.cleaned_data.items() if name != "why"
        )
        return hashlib.sha256(repr(values).encode()).hexdigest()

    @property
    def values(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in self.names:
            way = self.cleaned_data[f"to-{name}"]
            if way == TO_VALUE:
                values[name] = self.cleaned_data[name]
            elif way == TO_EXPECTED:
                values[name] = ExpectedValue
            elif way == TO_NOTHING:
                values[name] = None
        return values

    def clean(self) -> dict[str, Any]:
        """Check that a value is typed exactly where it is chosen, and that some field changes."""
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
