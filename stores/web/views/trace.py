"""One customer's journey, from the till to every channel."""

import shlex

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from stores.models.characters import tidy_key
from stores.trace.documents import MOST_SHOWN
from stores.trace.match import matches
from stores.trace.timeline import story
from stores.trace.types import Match
from stores.web.request import Request


@require_safe
def search(request: Request) -> HttpResponse:
    """A box to type a reference; leads to the one customer it means, or lists several."""
    ref = tidy_key(request.GET.get("ref", ""))
    if not ref:
        return render(request, "trace/search.html")
    found = matches(ref)
    if len(found) == 1:
        # Not the e-mail or phone that was typed: addresses are kept in logs.
        return redirect("trace", found[0].ref)
    return matches_page(request, ref, found)


@require_safe
def detail(request: Request, ref: str) -> HttpResponse:
    """The journey of the customer that a reference means, from what HQ knows."""
    found = matches(ref)
    if len(found) != 1:
        return matches_page(request, ref, found)
    words = shlex.join(["trace", ref])
    context = {
        "ref": ref,
        "trace": story(found[0]),
        "words": words,
        "most_documents": MOST_SHOWN,
    }
    return render(request, "trace/detail.html", context)


def matches_page(request: Request, ref: str, found: list[Match]) -> HttpResponse:
    """Several customers to choose from, or none and what that may mean."""
    context = {"ref": ref, "found": found}
    return render(request, "trace/matches.html", context, status=200 if found else 404)
