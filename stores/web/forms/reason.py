"""The reason for an action of a person, posted by a page or passed to a command."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError

from stores.values.characters import normalize_text
from stores.web.request import Request


class ReasonField(forms.CharField):
    """A reason of at most 300 characters that people can read; it is kept with the action."""

    default_error_messages = {
        "required": "Enter a reason.",
        "max_length": "A reason has at most 300 characters.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=300, strip=False, **options)

    def to_python(self, value: Any) -> str:
        """Strip spaces and invisible characters."""
        return normalize_text(str(super().to_python(value)))


def posted_reason(request: Request, **error_messages: str) -> str:
    """Return the posted reason; if it is invalid, "" and a message on the next page."""
    field = ReasonField(error_messages=error_messages)
    try:
        reason: str = field.clean(request.POST.get("reason"))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return ""
    return reason
