"""A request as views get it."""

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class Request(HttpRequest):
    """A request that knows whether htmx sent it, as the middleware has found out."""

    htmx: HtmxDetails
