"""The forms that change a customer with its addresses, contacts and other parts."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any
from uuid import uuid4

from django import forms
from django.utils.functional import cached_property

from stores.messages.labels import label
from stores.models import Customer
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
from stores.web.forms.event import add_rule_errors, event_field, initial_values

SECTION_TITLES = {
    ADDRESS: "Addresses",
    CONTACT: "Contacts",
    AFFILIATION: "Affiliations",
    ATTRIBUTE: "Attributes",
}
# The columns by whose values people tell the rows of a kind apart.
TITLE_COLUMNS = {
    ADDRESS: "purpose",
    CONTACT: "kind",
    AFFILIATION: "affiliation",
    ATTRIBUTE: "attribute",
}
# Kinds whose key is an id that Syncline makes. The key of the others is a word that people choose.
KINDS_WITH_ID = (ADDRESS, CONTACT)


class CustomerForm(forms.Form):
    """The customer's own columns, such as names, e-mail address and language, and its status."""

    def __init__(self, customer: Customer, data: Any = None) -> None:
        self.customer = customer
        initial = initial_values(CUSTOMER, row_values(CUSTOMER, customer))
        initial["is_active"] = "true" if customer.is_active else "false"
        super().__init__(data, prefix="customer", initial=initial)
        for column in CUSTOMER.columns:
            self.fields[column] = event_field(CUSTOMER, column)
        # The stored value is a date, unlike that of a quarantined row.
        self.fields["birth_date"].widget = forms.DateInput({"type": "date"}, "%Y-%m-%d")
        self.fields["is_active"] = forms.ChoiceField(
            label="Status", choices=[("true", "Active"), ("false", "Not active")]
        )

    def clean(self) -> dict[str, Any]:
        super().clean()
        for column in INHERITED_COLUMNS:
            # An invalid value is not in cleaned_data, and has its error already.
            is_empty = column in self.cleaned_data and not self.cleaned_data[column]
            if is_empty and column in self.changed_data:
                self.add_error(column, f"{label(column)}: can be changed but not cleared.")
        return self.cleaned_data

    def edits(self) -> Iterator[Edit]:
        """Yield an update if a field changed, and a deactivation if the status did.

        An update also makes an inactive customer active again.
        """
        changed = {name: self.cleaned_data[name] for name in self.changed_data}
        status = changed.pop("is_active", None)
        if changed or status == "true":
            state = complete_state(CUSTOMER, self.customer, changed)
            yield Edit(CUSTOMER, {"operation": Operation.UPDATE, **state})
        if status == "false":
            yield Edit(CUSTOMER, {"operation": Operation.DEACTIVATE})


class PartForm(forms.Form):
    """An address, contact, affiliation or attribute; without a row, the form of a new one.

    Its fields are the columns of the kind: an address has purpose, street, city and so on. The key
    is among them only in the form of a new row, and only if it is not an id.
    """

    def __init__(self, kind: EventKind, suffix: str, row: Any = None, data: Any = None) -> None:
        self.kind, self.row = kind, row
        self.original_values = row_values(kind, row) if row else {}
        super().__init__(
            data,
            prefix=f"{kind.noun}-{suffix}",
            initial=initial_values(kind, self.original_values),
            empty_permitted=row is None,
            use_required_attribute=False,
        )
        without_key = row is not None or kind in KINDS_WITH_ID
        for column in kind.columns:
            if not (without_key and column in kind.key):
                self.fields[column] = event_field(kind, column)
        if row:
            # People read "Remove"; the command `customers` shows and sets the field by its name.
            self.fields["gone"] = forms.BooleanField(label="Remove", required=False)

    @property
    def title(self) -> str:
        """The name by which people tell the row from others of its kind."""
        if not self.row:
            return f"New {self.kind.noun}"
        title = str(self.original_values[TITLE_COLUMNS[self.kind]] or self.kind.noun)
        # Purposes and kinds are words of Syncline; affiliations and attributes are the retailer's.
        return title.capitalize() if self.kind in (ADDRESS, CONTACT) else title

    def edits(self) -> Iterator[Edit]:
        """Yield a deactivation, an update or a creation, if the form changed."""
        if self.row and self.cleaned_data["gone"]:
            yield Edit(self.kind, {"operation": Operation.DEACTIVATE, **self.original_values})
            return
        if not self.has_changed():
            return
        values = {name: self.cleaned_data[name] for name in self.fields if name != "gone"}
        if self.row:
            # The form's values come last and win: those of the row add the key, which it lacks.
            values = {"operation": Operation.UPDATE, **self.original_values, **values}
        else:
            values["operation"] = Operation.CREATE
            if self.kind in KINDS_WITH_ID:
                values[self.kind.key[0]] = uuid4()
        yield Edit(self.kind, values)


class CustomerForms:
    """The form of a customer and those of its parts, and the version that they show.

    Formsets would not do: one version and one list of edits cover forms of five kinds.
    """

    def __init__(self, customer: Customer, data: Mapping[str, Any] | None = None) -> None:
        self.data = data
        self.version = customer.hq_version
        self.customer_form = CustomerForm(customer, data)
        self.part_forms = {
            kind: [
                *(PartForm(kind, str(index), row, data) for index, row in enumerate(rows)),
                PartForm(kind, "new", None, data),
            ]
            for kind, rows in parts_of(customer).items()
        }

    @property
    def every_form(self) -> list[CustomerForm | PartForm]:
        return [self.customer_form, *chain.from_iterable(self.part_forms.values())]

    @property
    def sections(self) -> list[tuple[str, list[PartForm]]]:
        return [(SECTION_TITLES[kind], part_forms) for kind, part_forms in self.part_forms.items()]

    @property
    def posted_version(self) -> int:
        """The version that the person saw; 0 if none was posted."""
        version = (self.data or {}).get("version", "")
        # Fewer than 19 digits fit into a bigint.
        return int(version) if version.isdecimal() and len(version) < 19 else 0

    def is_valid(self) -> bool:
        return all(form.is_valid() for form in self.every_form)

    @property
    def has_errors(self) -> bool:
        return any(form.errors for form in self.every_form)

    @cached_property
    def forms_and_edits(self) -> list[tuple[CustomerForm | PartForm, Edit]]:
        """The edits of all forms, each with its form. The forms must be valid."""
        return [(form, edit) for form in self.every_form for edit in form.edits()]

    def edits(self) -> list[Edit]:
        return [edit for _, edit in self.forms_and_edits]

    def add_errors(self, refused: EditsRefused) -> None:
        """Show the broken rules at the forms of the refused edits, which are given by index."""
        for index, rules in refused.broken.items():
            form, _ = self.forms_and_edits[index]
            add_rule_errors(form, rules)


def parts_of(customer: Customer) -> dict[EventKind, list[Any]]:
    """The active parts of a customer by kind, in an order that only an edit changes."""
    return {
        ADDRESS: list(customer.addresses.filter(is_active=True).order_by("pk")),
        CONTACT: list(customer.contacts.filter(is_active=True).order_by("pk")),
        AFFILIATION: list(customer.affiliations.filter(is_active=True).order_by("affiliation")),
        ATTRIBUTE: list(customer.attributes.filter(is_active=True).order_by("attribute")),
    }


def row_values(kind: EventKind, row: Any) -> dict[str, Any]:
    return {column: getattr(row, column) for column in kind.columns}
