"""What holds for every response of the service, also where no view of it is reached."""

import json
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from stores.rts.errors import ServiceError, error_of_status, error_response

PREFIX = "/rts/"


class ServiceResponses:
    """Takes calls by HTTPS only, and answers in JSON that nobody keeps.

    A call by HTTP is not redirected: its token has been read by others already, and the till must
    not get used to it. It comes before the middleware that refuses requests in HTML.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(PREFIX):
            return self.get_response(request)
        if settings.PRODUCTION and not request.is_secure():
            response: HttpResponse = error_response(
                ServiceError(
                    403, "https_required", "Call the service by HTTPS, and use a new token."
                )
            )
        else:
            response = self.get_response(request)
        if response.status_code >= 300 and response.headers["Content-Type"] != "application/json":
            response.content = json.dumps(error_of_status(response.status_code).body).encode()
            response.headers["Content-Type"] = "application/json"
            response.headers["Content-Length"] = str(len(response.content))
        response.headers["Cache-Control"] = "no-store"
        return response
