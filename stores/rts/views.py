"""The addresses of the service."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from stores.rts.body import guid_of, read_customer
from stores.rts.customers import Answer, create_customer, look_up
from stores.rts.errors import ServiceError, service_view
from stores.rts.openapi import description
from stores.rts.tokens import authenticate


@require_POST
@service_view
def customers(request: HttpRequest) -> HttpResponse:
    """Create a customer: 201, or 200 if an earlier call or an upload has created it."""
    token = authenticate(request)
    answer, is_new = create_customer(token.channel, read_customer(request), token=token)
    return answer_response(answer, status=201 if is_new else 200)


@require_safe
@service_view
def account(request: HttpRequest, async_account: str) -> HttpResponse:
    """The account of a GUID."""
    token = authenticate(request)
    try:
        guid = guid_of(async_account)
    except ValueError:
        raise ServiceError(404, "unknown_guid", "This is not a GUID in lower case.") from None
    return answer_response(look_up(token, guid), status=200)


@require_safe
@service_view
def openapi(request: HttpRequest) -> HttpResponse:
    return JsonResponse(description(reverse("rts-customers").removesuffix("customers")))


@service_view
def not_found(request: HttpRequest, rest: str = "") -> HttpResponse:
    raise ServiceError(404, "not_found", "There is nothing at this address.")


def answer_response(answer: Answer, *, status: int) -> JsonResponse:
    """The answer with its status, or 202 while there is no account."""
    return JsonResponse(answer.body, status=202 if answer.account_number is None else status)
