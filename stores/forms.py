"""What a person types, checked."""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.forms.fields import InvalidJSONInput

from stores.jobs.catalog import DATED, JOBS
from stores.models import Channel, RetailTransaction
from stores.models.characters import tidy
from stores.models.conflict import Choice
from stores.models.labels import label
from stores.models.reason import explain
from stores.models.staging import Operation
from stores.pipeline.dates import NoBusinessDate, business_date
from stores.pipeline.events.kinds import Kind
from stores.pipeline.events.rules import Rule

YES_OR_NO = [("", "Not said"), ("true", "Yes"), ("false", "No")]


class JsonField(forms.JSONField):
    """JSON as a person types it; what Python itself refuses to read is a mistake like others."""

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except (RecursionError, ValueError):
            raise forms.ValidationError(
                self.error_messages["invalid"], code="invalid", params={"value": "it"}
            ) from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except (RecursionError, ValueError):
            return InvalidJSONInput(data)


class ReasonField(forms.CharField):
    """Why a person does something: it is kept, so it must say something that one can read."""

    default_error_messages = {
        "required": "Give a reason.",
        "max_length": "A reason has at most 300 characters.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=300, strip=False, **options)

    def to_python(self, value: Any) -> str:
        """The text without blanks and invisible letters at its ends."""
        return tidy(str(super().to_python(value)))


class ConflictForm(forms.Form):
    """Which of two values stays, and why."""

    choice = forms.ChoiceField(
        label="Which value stays?",
        choices=[(Choice.KEEP, "Keep the present value"), (Choice.TAKE, "Take the other value")],
        error_messages={"invalid_choice": "Which value stays: keep or take."},
    )
    reason = ReasonField(
        label="Reason",
        error_messages={
            "required": "Reason: say why; both values stay in the history.",
            "max_length": "Reason: at most 300 characters.",
        },
    )
    version = forms.IntegerField(widget=forms.HiddenInput, max_value=2**62)


class StartForm(forms.Form):
    """A job to start, on one channel or on all, for one business date or for every one."""

    job = forms.ChoiceField(
        choices=[(job.code, job.title) for job in JOBS.values()],
        error_messages={
            "required": "There is no such job.",
            "invalid_choice": "There is no such job.",
        },
    )
    channel = forms.ModelChoiceField(
        Channel.objects.filter(is_enabled=True),
        to_field_name="code",
        required=False,
        empty_label="All channels",
        error_messages={"invalid_choice": "There is no such channel, or it is switched off."},
    )
    date = forms.CharField(required=False)
    order = forms.CharField(required=False)

    def clean_date(self) -> datetime.date | None:
        """The day, by the rule of `run_job --date`."""
        typed = self.cleaned_data["date"]
        if typed and self.cleaned_data.get("job") not in DATED:
            raise forms.ValidationError(f"A business date goes with {', '.join(DATED)} only.")
        try:
            return business_date(typed) if typed else None
        except NoBusinessDate as error:
            raise forms.ValidationError(str(error)) from None

    def clean_order(self) -> str:
        """The confirmation number of an order that is there."""
        number: str = self.cleaned_data["order"]
        job = JOBS.get(self.cleaned_data.get("job", ""))
        if number and job and not job.takes_order:
            raise forms.ValidationError("An order goes with Synchronize orders only.")
        channel = self.cleaned_data.get("channel")
        codes = [channel.code] if channel else []
        if number and not RetailTransaction.objects.orders_numbered(number, codes).exists():
            raise forms.ValidationError("There is no such customer order.")
        return number

    @property
    def refusal(self) -> str:
        """The first thing that is wrong, in one sentence."""
        return str(next(iter(self.errors.values()))[0])


def field_for(kind: Kind, column: str) -> forms.Field:
    """The field to type a column in; lengths and words are left to the rules of upload."""
    options: dict[str, Any] = {"label": label(column), "required": False}
    types: dict[str, type[forms.Field]] = {"uuid": forms.UUIDField, "date": forms.DateField}
    refusals = {"uuid": "guid_format", "date": "date_format"}
    if kind.type_of(column) == "boolean":
        return forms.TypedChoiceField(
            choices=YES_OR_NO, coerce=lambda word: word == "true", empty_value=None, **options
        )
    if found := types.get(kind.type_of(column)):
        refusal = explain(refusals[kind.type_of(column)], label(column))
        return found(error_messages={"invalid": refusal}, **options)
    # People's texts run as their letters do, whatever the page does.
    typed = forms.TextInput(attrs={"dir": "auto"})
    return forms.CharField(empty_value=None, widget=typed, **options)


class EventForm(forms.Form):
    """The columns of one event, as a person corrects them."""

    operation = forms.ChoiceField(choices=Operation.choices)

    def __init__(self, kind: Kind, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for column in ("async_account", "account_number", *kind.columns):
            self.fields[column] = field_for(kind, column)

        own = [key for key in kind.key if kind.type_of(key) == "uuid"]
        # Whom and what the row is about, and what is done with it.
        self.identity = ["operation", "async_account", "account_number", *own]

    def blame(self, broken: Iterable[Rule]) -> None:
        """Say at each field which rule it breaks."""
        blame(self, broken)

    @property
    def values(self) -> dict[str, Any]:
        """The columns, as an event takes them."""
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


def blame(form: forms.Form, broken: Iterable[Rule]) -> None:
    """Say at each field which rule it breaks."""
    for rule in broken:
        text = explain(rule.code, label(rule.field))
        allowed = f" It may be {rule.allows}." if rule.allows else ""
        form.add_error(rule.field if rule.field in form.fields else None, text + allowed)


def as_typed(kind: Kind, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a row as the form shows them first; bytes that are no text are left out."""
    known = {column: values.get(column) for column in kind.sent}
    return {
        column: {1: "true", 0: "false", "t": "true"}.get(value, value)
        if kind.type_of(column) == "boolean"
        else value
        for column, value in known.items()
        if value is not None and not isinstance(value, bytes)
    }
