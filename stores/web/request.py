"""A request as views get it."""

import re

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

# Not more digits than PostgreSQL's bigint, and only those of ASCII.
ID_FORM = re.compile("[0-9]{1,18}")


class Request(HttpRequest):
    """A request that knows whether htmx sent it, as the middleware has found out."""

    htmx: HtmxDetails


def posted_id(request: Request, name: str) -> int:
    """The id of a row that a form names; 0, which no row has, if it is none."""
    number = request.POST.get(name, "")
    return int(number) if ID_FORM.fullmatch(number) else 0
