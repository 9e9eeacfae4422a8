"""Why a person does something, typed on a page or given to a command."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError

from stores.models.characters import tidy
from stores.web.request import Request


class ReasonField(forms.CharField):
    """Why a person does something: it is kept, so it must say something that one can read."""

    default_error_messages = {
        "required": "Enter a reason.",
        "max_length": "A reason has at most 300 characters.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=300, strip=False, **options)

    def to_python(self, value: Any) -> str:
        """The text without blanks and invisible letters at its ends."""
        return tidy(str(super().to_python(value)))


def posted_reason(request: Request, **sentences: str) -> str:
    """The reason that was typed; nothing, and the next page says why, if it is none.

    Shape: sentences replace those of the field.
    """
    try:
        reason: str = ReasonField(error_messages=sentences).clean(request.POST.get("reason"))
    except ValidationError as flaw:
        messages.error(request, " ".join(flaw.messages))
        return ""
    return reason
