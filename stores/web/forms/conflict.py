"""The form that closes an edit conflict."""

from django import forms

from stores.models.conflict import ConflictChoice
from stores.web.forms.reason import ReasonField


class ConflictForm(forms.Form):
    choice = forms.ChoiceField(
        label="Which value do you want to keep?",
        choices=[
            (ConflictChoice.KEEP, "Keep the current value"),
            (ConflictChoice.TAKE, "Use the other value"),
        ],
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
