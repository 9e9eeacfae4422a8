"""One event, as a person corrects it."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from stores.models.labels import label
from stores.models.reason import explain
from stores.models.staging import Operation
from stores.pipeline.events.kinds import EventKind
from stores.pipeline.events.rules import Rule

YES_OR_NO_CHOICES = [("", "Not specified"), ("true", "Yes"), ("false", "No")]


def event_field(kind: EventKind, column: str) -> forms.Field:
    """The field to type a column in; lengths and words are left to the rules of upload."""
    options: dict[str, Any] = {"label": label(column), "required": False}
    types: dict[str, type[forms.Field]] = {"uuid": forms.UUIDField, "date": forms.DateField}
    refusals = {"uuid": "guid_format", "date": "date_format"}
    if kind.type_of(column) == "boolean":
        return forms.TypedChoiceField(
            choices=YES_OR_NO_CHOICES,
            coerce=lambda word: word == "true",
            empty_value=None,
            **options,
        )
    if types_of_field := types.get(kind.type_of(column)):
        refusal = explain(refusals[kind.type_of(column)], label(column))
        return types_of_field(error_messages={"invalid": refusal}, **options)
    # People's texts run as their letters do, whatever the page does.
    typed = forms.TextInput(attrs={"dir": "auto"})
    return forms.CharField(empty_value=None, widget=typed, **options)


class EventForm(forms.Form):
    operation = forms.ChoiceField(choices=Operation.choices)

    def __init__(self, kind: EventKind, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for column in ("async_account", "account_number", *kind.columns):
            self.fields[column] = event_field(kind, column)

        own = [key for key in kind.key if kind.type_of(key) == "uuid"]
        # Whom and what the row is about, and what is done with it.
        self.identity = ["operation", "async_account", "account_number", *own]

    def add_rule_errors(self, rules: Iterable[Rule]) -> None:
        add_rule_errors(self, rules)

    @property
    def values(self) -> dict[str, Any]:
        return dict(self.cleaned_data)


def lock(form: forms.Form, names: Iterable[str]) -> list[str]:
    """Have fields of a form stay as they came. Returns those that were sent with another value."""
    names = list(names)
    changed = [name for name in names if is_sent_changed(form, name)]
    for name in names:
        form.fields[name].disabled = True
    return changed


def is_sent_changed(form: forms.Form, name: str) -> bool:
    """Whether a field was sent with another value than it was shown with."""
    field, key = form.fields[name], form.add_prefix(name)
    sent = field.widget.value_from_datadict(form.data, form.files, key)
    if sent is None:
        return False
    shown = form.get_initial_for_field(field, name)
    return str(sent) != ("" if shown is None else str(shown)) and field.has_changed(shown, sent)


def add_rule_errors(form: forms.Form, rules: Iterable[Rule]) -> None:
    """Add an error for each broken rule, at its field where the form has it."""
    for rule in rules:
        form.add_error(rule.field if rule.field in form.fields else None, rule_error(rule))


def rule_error(rule: Rule) -> str:
    error = explain(rule.code, label(rule.field))
    return f"{error} Allowed: {rule.allows}." if rule.allows else error


def as_typed(kind: EventKind, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a row as the form shows them first; bytes that are no text are left out."""
    known = {column: values.get(column) for column in kind.sent_columns}
    return {
        column: {1: "true", 0: "false", "t": "true"}.get(value, value)
        if kind.type_of(column) == "boolean"
        else value
        for column, value in known.items()
        if value is not None and not isinstance(value, bytes)
    }
