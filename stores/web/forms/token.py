"""The form that makes a token of the real-time service."""

import re

from django import forms

from stores.models.rts import MAX_CALLS_PER_MINUTE
from stores.rts.tokens import (
    DEFAULT_CALLS_PER_MINUTE,
    DEFAULT_DAYS,
    MAX_DAYS,
    TokenRefused,
    parse_networks,
)


class TokenForm(forms.Form):
    days = forms.IntegerField(
        label="Valid for days", min_value=1, max_value=MAX_DAYS, initial=DEFAULT_DAYS
    )
    networks = forms.CharField(
        label="Networks",
        required=False,
        max_length=1000,
        help_text="Where the tills call from, for example 10.1.0.0/16; several with commas between."
        " Leave it empty to allow every address.",
    )
    calls_per_minute = forms.IntegerField(
        label="Calls per minute",
        min_value=1,
        max_value=MAX_CALLS_PER_MINUTE,
        initial=DEFAULT_CALLS_PER_MINUTE,
    )

    def clean_networks(self) -> list[str]:
        texts = [text for text in re.split(r"[\s,]+", self.cleaned_data["networks"]) if text]
        try:
            return parse_networks(texts)
        except TokenRefused as refusal:
            raise forms.ValidationError(str(refusal)) from None
