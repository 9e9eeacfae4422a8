"""One customer's journey, from the till to every channel."""

import shlex

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from stores.models.characters import tidy_key
from stores.trace.documents import MAX_DOCUMENTS
from stores.trace.match import matches
from stores.trace.timeline import build_trace
from stores.trace.types import Match
from stores.web.request import Request


@require_safe
def search(request: Request) -> HttpResponse:
    """A box to type a reference; leads to the one customer it means, or lists several."""
    ref = tidy_key(request.GET.get("ref", ""))
    if not ref:
        return render(request, "trace/search.html")
    matching = matches(ref)
    if len(matching) == 1:
        # Not the e-mail or phone that was typed: addresses are kept in logs.
        return redirect("trace", matching[0].ref)
    return matches_page(request, ref, matching)


@require_safe
def detail(request: Request, ref: str) -> HttpResponse:
    """The journey of the customer that a reference means, from what HQ knows."""
    matching = matches(ref)
    if len(matching) != 1:
        return matches_page(request, ref, matching)
    words = shlex.join(["trace", ref])
    context = {
        "ref": ref,
        "trace": build_trace(matching[0]),
        "words": words,
        "most_documents": MAX_DOCUMENTS,
    }
    return render(request, "trace/detail.html", context)


def matches_page(request: Request, ref: str, matching: list[Match]) -> HttpResponse:
    context = {"ref": ref, "found": matching}
    return render(request, "trace/matches.html", context, status=200 if matching else 404)
