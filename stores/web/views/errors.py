"""The response to an exception in a view."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.template.loader import render_to_string

from stores.web.request import Request

# About the time that a restarted database needs.
RETRY_AFTER_S = 30


def server_error(request: Request) -> HttpResponse:
    """Answer 503 while HQ's database is unavailable, else 500."""
    is_away = isinstance(sys.exception(), OperationalError | InterfaceError)
    status = 503 if is_away else 500
    # Rendered without the request, because its user would be read from the database.
    page = render_to_string(f"{status}.html")
    return HttpResponse(
        page, status=status, headers={"Retry-After": RETRY_AFTER_S} if is_away else {}
    )
