"""The portal for a web server: `gunicorn portal.wsgi`."""

import os
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")


class Request(WSGIRequest):
    """A request that is read as UTF-8, whatever it says of itself; the middleware refuses others.

    Django takes any codec that Python knows. With some of them the first look at the query raises,
    before there is anything that could answer.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            found = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except (LookupError, ValueError):
            found = "", {"charset": "unknown"}
        self.content_type, self.content_params = found


class Handler(WSGIHandler):
    """Answers every request, also one that cannot be read."""

    request_class = Request


django.setup(set_prefix=False)
application = Handler()
