"""The form that closes an edit conflict."""

from django import forms

from stores.models.conflict import Choice
from stores.web.forms.reason import ReasonField


class ConflictForm(forms.Form):
    choice = forms.ChoiceField(
        label="Which value do you want to keep?",
        choices=[(Choice.KEEP, "Keep the current value"), (Choice.TAKE, "Use the other value")],
        error_messages={"invalid_choice": "Choose which value to keep: keep or take."},
    )
    reason = ReasonField(
        label="Reason",
        error_messages={
            "required": "Reason: required. Both values are kept in the history.",
            "max_length": "Reason: at most 300 characters.",
        },
    )
    version = forms.IntegerField(widget=forms.HiddenInput, max_value=2**62)
