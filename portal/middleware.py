"""What every request must hold to before any page looks at it."""

import codecs
from collections.abc import Callable, Iterable
from urllib.parse import unquote_to_bytes

from django.http import Http404, HttpRequest, HttpResponse, QueryDict, UnreadablePostError
from django.shortcuts import render
from django.urls import reverse

Answer = Callable[[HttpRequest], HttpResponse]

NO_TEXT = "is not valid UTF-8."
HAS_NUL = "contains a NUL character, which is not allowed."


class Malformed(Exception):
    """What a request holds that no page can take; its message is for the person who sent it."""


class RefuseMalformed:
    """Refuse requests with text that PostgreSQL cannot hold; ignore cookies of that kind.

    NUL can be in no text of the database, so each query with it would raise. Bytes that are no
    UTF-8 would be replaced, and saved otherwise than they were sent. What a text means, such as
    a date or a number, is judged by the forms.
    """

    def __init__(self, get_response: Answer) -> None:
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
            # Django's set-up pages would look for a column without a name.
            asked = (request.GET.get("_to_field"), request.POST.get("_to_field"))
            if is_set_up(request) and "" in asked:
                raise Malformed("The field _to_field is empty.")
        except Malformed as trouble:
            return render(request, "400.html", {"reason": str(trouble)}, status=400)
        except UnreadablePostError:
            return render(request, "400.html", {"reason": "It broke off."}, status=400)
        return self.get_response(request)


def is_set_up(request: HttpRequest) -> bool:
    return request.path_info.startswith(reverse("admin:index"))


def require_utf8(request: HttpRequest) -> None:
    """Refuse another coding, and bytes that are none. Errors: Malformed."""
    if not is_utf8((request.content_params or {}).get("charset", "utf-8")):
        raise Malformed("The request must be in UTF-8.")
    sent = {"query": request.META.get("QUERY_STRING", "").encode("latin-1", "replace")}
    if request.content_type == "application/x-www-form-urlencoded":
        sent["form"] = request.body
    for part, text in sent.items():
        try:
            unquote_to_bytes(text).decode()
        except UnicodeDecodeError:
            raise Malformed(f"The {part} {NO_TEXT}") from None


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
