"""What is answered when a page could not be made."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.template.loader import render_to_string

from stores.web.request import Request

# When to ask again; a server that was restarted needs about so long.
RETRY_S = 30


def server_error(request: Request) -> HttpResponse:
    """503 while HQ's database is away or too busy to answer, else 500."""
    trouble = sys.exc_info()[1]
    is_away = isinstance(trouble, OperationalError | InterfaceError)
    status = 503 if is_away else 500
    # Without the request: whoever looks up who is signed in asks the database again.
    page = render_to_string(f"{status}.html")
    return HttpResponse(page, status=status, headers={"Retry-After": RETRY_S} if is_away else {})
