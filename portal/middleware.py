"""Refuse requests with text that no page could handle."""

import codecs
from collections.abc import Callable, Iterable
from urllib.parse import unquote_to_bytes

from django.http import Http404, HttpRequest, HttpResponse, QueryDict, UnreadablePostError
from django.shortcuts import render
from django.urls import reverse

HAS_NUL = "contains a NUL character, which is not allowed."


class Malformed(Exception):
    """Text of a request that no page can handle; the message is for the person who sent it."""


class RefuseMalformed:
    """Refuse requests with text that PostgreSQL cannot hold; ignore cookies of that kind.

    NUL can be in no text of the database, so each query with it would raise. Bytes that are no
    UTF-8 would be replaced, and saved otherwise than they were sent. What a text means, such as
    a date or a number, is judged by the forms.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\0" in request.path_info:
            raise Http404("An address cannot contain a NUL character.")
        # A browser sends its cookies again and again: refused, it could never sign in.
        request.COOKIES = {
            name: value for name, value in request.COOKIES.items() if value.isprintable()
        }
        try:
            require_utf8(request)
            require_no_nul("query", request.GET)
            require_no_nul("form", request.POST)
            # Django's admin would look for a column without a name.
            column_names = (request.GET.get("_to_field"), request.POST.get("_to_field"))
            if is_admin_page(request) and "" in column_names:
                raise Malformed("The field _to_field is empty.")
        except Malformed as error:
            return render(request, "400.html", {"reason": str(error)}, status=400)
        except UnreadablePostError:
            return render(request, "400.html", {"reason": "It broke off."}, status=400)
        return self.get_response(request)


def is_admin_page(request: HttpRequest) -> bool:
    return request.path_info.startswith(reverse("admin:index"))


def require_utf8(request: HttpRequest) -> None:
    """Refuse a query or a form in another encoding than UTF-8. Errors: Malformed."""
    if not is_utf8((request.content_params or {}).get("charset", "utf-8")):
        raise Malformed("The request must be in UTF-8.")
    sent = {"query": request.META.get("QUERY_STRING", "").encode("latin-1", "replace")}
    if request.content_type == "application/x-www-form-urlencoded":
        sent["form"] = request.body
    for part, text in sent.items():
        try:
            unquote_to_bytes(text).decode()
        except UnicodeDecodeError:
            raise Malformed(f"The {part} is not valid UTF-8.") from None


def is_utf8(charset: str) -> bool:
    try:
        return codecs.lookup(charset).name in ("utf-8", "ascii")
    except (LookupError, ValueError):
        return False


def require_no_nul(part: str, sent: QueryDict) -> None:
    """Name the first field with a NUL. Errors: Malformed."""
    for name, values in sent.lists():
        if "\0" in name:
            raise Malformed(f"The name of a field of the {part} {HAS_NUL}")
        if any("\0" in value for value in texts(values)):
            raise Malformed(f"The field {name[:60]} of the {part} {HAS_NUL}")


def texts(values: Iterable[object]) -> Iterable[str]:
    return (value for value in values if isinstance(value, str))
