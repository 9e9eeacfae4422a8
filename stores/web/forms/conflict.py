"""Which of two values stays."""

from django import forms

from stores.models.conflict import Choice
from stores.web.forms.reason import ReasonField


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
