"""The form that corrects a quarantined event."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django import forms

from stores.messages.labels import label
from stores.messages.reasons import explain
from stores.models.staging import Operation
from stores.pipeline.corrections.customer import edited_name
from stores.pipeline.corrections.quarantine import correct_event
from stores.pipeline.events.kinds import CUSTOMER, EventKind
from stores.pipeline.events.rules import Rule
from stores.values.patterns import WORDS

# The choices that stand for the values of SQLite, PostgreSQL and Python.
BOOLEAN_CHOICES = {1: "true", 0: "false", "t": "true"}
YES_OR_NO_CHOICES = [("", "Not specified"), ("true", "Yes"), ("false", "No")]
NAME_HINT = (
    "Follows the other names of a person if it consists of them and you do not change it here."
)


class WordSelect(forms.Select):
    """The words that a column takes, and the present one of a till if it is none of them."""

    def optgroups(
        self, name: str, value: list[str], attrs: dict[str, Any] | None = None
    ) -> list[Any]:
        known = [str(word) for word, _ in self.choices]
        self.choices = [*self.choices, *((word, word) for word in value if word not in known)]
        return super().optgroups(name, value, attrs)


def event_field(kind: EventKind, column: str) -> forms.Field:
    """The form field of a column; the rules of upload check its length and its choices."""
    options: dict[str, Any] = {"label": label(column), "required": False}
    if kind is CUSTOMER and column == "name":
        options["help_text"] = NAME_HINT
    column_type = kind.type_of(column)
    if column_type == "boolean":
        return forms.TypedChoiceField(
            choices=YES_OR_NO_CHOICES,
            coerce=lambda choice: choice == "true",
            empty_value=None,
            **options,
        )
    if column_type == "uuid":
        error = explain("guid_format", label(column))
        return forms.UUIDField(error_messages={"invalid": error}, **options)
    if column_type == "date":
        error = explain("date_format", label(column))
        return forms.DateField(error_messages={"invalid": error}, **options)
    if column in WORDS:
        choices = [("", "Not specified"), *((word, word.capitalize()) for word in WORDS[column])]
        return forms.CharField(empty_value=None, widget=WordSelect(choices=choices), **options)
    # Names can be written from right to left on a page that is written from left to right.
    widget = forms.TextInput(attrs={"dir": "auto"})
    return forms.CharField(empty_value=None, widget=widget, **options)


class EventForm(forms.Form):
    operation = forms.ChoiceField(choices=Operation.choices)

    def __init__(self, kind: EventKind, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for column in ("async_account", "account_number", *kind.columns):
            self.fields[column] = event_field(kind, column)
        # The fields that say which customer and which of its rows the event changes, and how.
        row_ids = [column for column in kind.key if kind.type_of(column) == "uuid"]
        self.identity = ["operation", "async_account", "account_number", *row_ids]

    def add_rule_errors(self, rules: Iterable[Rule]) -> None:
        add_rule_errors(self, rules)

    def save(self, case: str, *, by: Any) -> UUID:
        """Save the values as an event in place of the row. Returns its id.

        Errors: EventRefused with the broken rules; ChangedMeanwhile.
        """
        values = self.cleaned_data
        if "name" in values:
            values = {**values, "name": edited_name(self.initial, values)}
        return correct_event(case, values, by=by)


def lock_fields(form: forms.Form, names: Sequence[str]) -> list[str]:
    """Make fields read-only. Returns the names of those that were posted with another value."""
    changed = [name for name in names if is_posted_changed(form, name)]
    for name in names:
        form.fields[name].disabled = True
    return changed


def is_posted_changed(form: forms.Form, name: str) -> bool:
    field = form.fields[name]
    posted = field.widget.value_from_datadict(form.data, form.files, form.add_prefix(name))
    if posted is None:
        return False
    initial = form.get_initial_for_field(field, name)
    # An invalid initial value that was posted unchanged is no change to the field either.
    if str(posted) == ("" if initial is None else str(initial)):
        return False
    return field.has_changed(initial, posted)


def add_rule_errors(form: forms.Form, rules: Iterable[Rule]) -> None:
    for rule in rules:
        form.add_error(rule.field if rule.field in form.fields else None, rule_error(rule))


def rule_error(rule: Rule) -> str:
    error = explain(rule.code, label(rule.field))
    return f"{error} Allowed: {rule.allows}." if rule.allows else error


def initial_values(kind: EventKind, row: Mapping[str, Any]) -> dict[str, Any]:
    """The initial values of the form fields; bytes that are not text are left out."""
    values = {}
    for column in kind.sent_columns:
        value = row.get(column)
        if value is None or isinstance(value, bytes):
            continue
        if kind.type_of(column) == "boolean":
            value = BOOLEAN_CHOICES.get(value, value)
        values[column] = value
    return values
