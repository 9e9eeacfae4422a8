"""What answers a browser. A view fetches, makes its table and renders; it never opens a channel."""

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class Request(HttpRequest):
    """A request that knows whether htmx sent it, as the middleware has found out."""

    htmx: HtmxDetails
