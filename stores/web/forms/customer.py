"""One customer with all that belongs to it, as a person changes it."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from django import forms

from stores.models import Customer
from stores.models.labels import label
from stores.models.staging import Operation
from stores.pipeline.corrections.customer import Edit, EditsRefused, complete_state
from stores.pipeline.events.kinds import (
    ADDRESS,
    AFFILIATION,
    ATTRIBUTE,
    CONTACT,
    CUSTOMER,
    INHERITED_COLUMNS,
    EventKind,
)
from stores.web.forms.event import add_rule_errors, as_typed, event_field

SECTION_TITLES = {
    ADDRESS: "Addresses",
    CONTACT: "Contacts",
    AFFILIATION: "Affiliations",
    ATTRIBUTE: "Attributes",
}


def row_columns(kind: EventKind, row: Any) -> dict[str, Any]:
    return {column: getattr(row, column) for column in kind.columns}


class CustomerForm(forms.Form):
    def __init__(self, customer: Customer, data: Any = None) -> None:
        self.customer = customer
        stored = as_typed(CUSTOMER, row_columns(CUSTOMER, customer))
        stored["is_active"] = "true" if customer.is_active else "false"
        super().__init__(data, prefix="customer", initial=stored)
        for column in CUSTOMER.columns:
            self.fields[column] = event_field(CUSTOMER, column)
        self.fields["is_active"] = forms.ChoiceField(
            label="Status", choices=[("true", "Active"), ("false", "Not active")]
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for column in INHERITED_COLUMNS:
            if column in self.changed_data and column in cleaned and not cleaned[column]:
                self.add_error(column, f"{label(column)}: can be changed but not cleared.")
        return cleaned

    def edits(self) -> Iterator[Edit]:
        """An edit if fields changed or it is active again; a deactivation if it is no more."""
        status = {"is_active"} & set(self.changed_data)
        is_active = self.cleaned_data["is_active"] == "true"
        if set(self.changed_data) - status or (status and is_active):
            yield Edit(CUSTOMER, {"operation": Operation.UPDATE, **self.values()})
        if status and not is_active:
            yield Edit(CUSTOMER, {"operation": Operation.DEACTIVATE})

    def values(self) -> dict[str, Any]:
        changed = {
            name: self.cleaned_data[name] for name in self.changed_data if name != "is_active"
        }
        return complete_state(CUSTOMER, self.customer, changed)


class PartForm(forms.Form):
    """An address, contact, affiliation or attribute; or an empty one, to be filled."""

    def __init__(self, kind: EventKind, place: str, row: Any = None, data: Any = None) -> None:
        self.kind, self.row = kind, row
        self.held = row_columns(kind, row) if row else {}
        prefix = f"{kind.name}-{place}"
        super().__init__(
            data,
            prefix=prefix,
            initial=as_typed(kind, self.held),
            empty_permitted=row is None,
            use_required_attribute=False,
        )
        for column in kind.columns:
            if f"{kind.name}_id" != column and not (row and column in kind.key):
                self.fields[column] = event_field(kind, column)
        if row:
            self.fields["gone"] = forms.BooleanField(label="Remove", required=False)

    @property
    def title(self) -> str:
        """Which one it is, by what tells it from the others of its kind."""
        if not self.row:
            return f"New {self.kind.name}"
        if word := {ADDRESS: "purpose", CONTACT: "kind"}.get(self.kind):
            return str(self.held[word] or self.kind.name).capitalize()
        return str(self.held[self.kind.key[0]])

    def edits(self) -> Iterator[Edit]:
        if self.row and self.cleaned_data["gone"]:
            yield Edit(self.kind, {"operation": Operation.DEACTIVATE, **self.held})
        elif self.has_changed():
            operation = Operation.UPDATE if self.row else Operation.CREATE
            own = {f"{self.kind.name}_id": uuid4()} if self.kind in (ADDRESS, CONTACT) else {}
            typed = {name: self.cleaned_data[name] for name in self.fields if name != "gone"}
            yield Edit(self.kind, {"operation": operation, **own, **self.held, **typed})


class CustomerForms:
    """All forms of one customer, and the version that they show."""

    def __init__(self, customer: Customer, data: Mapping[str, Any] | None = None) -> None:
        self.data = data
        self.version = customer.hq_version
        self.own = CustomerForm(customer, data)
        self.parts = {
            kind: [
                *(PartForm(kind, str(place), row, data) for place, row in enumerate(rows)),
                PartForm(kind, "new", None, data),
            ]
            for kind, rows in parts_of(customer).items()
        }

    @property
    def all(self) -> list[CustomerForm | PartForm]:
        return [self.own, *(form for forms_ in self.parts.values() for form in forms_)]

    @property
    def sections(self) -> list[tuple[str, list[PartForm]]]:
        return [(SECTION_TITLES[kind], forms_) for kind, forms_ in self.parts.items()]

    @property
    def seen(self) -> int:
        typed = (self.data or {}).get("version", "")
        return int(typed) if typed.isdecimal() and len(typed) < 19 else 0

    def is_valid(self) -> bool:
        return all(form.is_valid() for form in self.all)

    def edits(self) -> list[tuple[CustomerForm | PartForm, Edit]]:
        return [(form, edit) for form in self.all for edit in form.edits()]

    def add_errors(self, refused: EditsRefused) -> None:
        """Add the broken rules to the forms that the refused edits came from."""
        edits = self.edits()
        for index, rules in refused.broken.items():
            form, _ = edits[index]
            add_rule_errors(form, rules)


def parts_of(customer: Customer) -> dict[EventKind, list[Any]]:
    """The active rows that belong to a customer, in an order that only an edit changes."""
    return {
        ADDRESS: list(customer.addresses.filter(is_active=True).order_by("pk")),
        CONTACT: list(customer.contacts.filter(is_active=True).order_by("pk")),
        AFFILIATION: list(customer.affiliations.filter(is_active=True).order_by("affiliation")),
        ATTRIBUTE: list(customer.attributes.filter(is_active=True).order_by("attribute")),
    }
