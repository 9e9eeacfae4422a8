"""Errors of the service: a status, a code for programs, and a sentence for people."""

import logging
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from stores.hqdb.retry import describe_error
from stores.models.run import StepFailed

logger = logging.getLogger(__name__)
View = Callable[..., HttpResponse]
# How many seconds a till waits before it calls again, if HQ is away or busy.
RETRY_AFTER_S = 5
# The codes and sentences of what Django refuses before there is a view, by status.
BY_STATUS = {
    400: ("bad_request", "The request cannot be read."),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take this method."),
    413: ("body_too_large", "The request is too large."),
    500: ("internal_error", "The service has an error. It is in the log of headquarters."),
}


class ServiceError(Exception):
    """A call that is refused. `fields` has a sentence for each wrong field of the body."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message
        self.fields, self.headers = fields or {}, headers or {}

    @property
    def body(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "fields": dict(self.fields)}


def unavailable(code: str, message: str) -> ServiceError:
    """Return the error of a call that may succeed later. A till writes its event meanwhile."""
    return ServiceError(503, code, message, headers={"Retry-After": str(RETRY_AFTER_S)})


def error_of_status(status: int) -> ServiceError:
    return ServiceError(status, *BY_STATUS.get(status, BY_STATUS[500 if status >= 500 else 400]))


def service_view(view: View) -> View:
    """Make a view of the service, for programs: without users and forms, and with errors in JSON.

    HQ's database may be down at any of its statements, so this is the one place that notices.
    """

    @login_not_required
    @csrf_exempt
    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except ServiceError as error:
            return error_response(error)
        except StepFailed as error:
            return error_response(unavailable("not_issuing", str(error.message)))
        except (DatabaseError, InterfaceError) as error:
            # The text of a database error may quote the customer.
            logger.error("headquarters' database failed (%s)", describe_error(error) or "no code")
            return error_response(
                unavailable(
                    "headquarters_unavailable",
                    "Headquarters cannot do this now. Call again, or write the event into the"
                    " channel's database.",
                )
            )

    return answer


def error_response(error: ServiceError) -> JsonResponse:
    return JsonResponse(error.body, status=error.status, headers=dict(error.headers))
