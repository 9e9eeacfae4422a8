"""Why a person does something, as a page sends it."""

from django.contrib import messages
from django.core.exceptions import ValidationError

from stores.forms import ReasonField
from stores.views import Request


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
