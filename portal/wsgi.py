"""The portal for a web server: `gunicorn portal.wsgi`."""

import os
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")


class Request(WSGIRequest):
    """A request that is always read as UTF-8; the middleware refuses those in another encoding.

    Django would use any codec that Python knows. With some of them reading the query raises before
    there is a view or a middleware that could respond.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            header = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except (LookupError, ValueError):
            header = "", {"charset": "unknown"}
        self.content_type, self.content_params = header


class Handler(WSGIHandler):
    """Responds to every request, even to one whose header cannot be parsed."""

    request_class = Request


django.setup(set_prefix=False)
application = Handler()
