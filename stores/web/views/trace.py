"""The pages that trace a customer from the till to headquarters and the channels."""

import shlex

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from stores.trace.documents import MAX_DOCUMENTS
from stores.trace.match import matches, names_of
from stores.trace.timeline import build_trace
from stores.trace.types import Match
from stores.values.characters import normalize_key
from stores.web.permissions import sees_errors
from stores.web.request import Request


@require_safe
def search(request: Request) -> HttpResponse:
    """A search box; with ?ref= a redirect to the matching customer, or a list of several."""
    ref = normalize_key(request.GET.get("ref", ""))
    if not ref:
        return render(request, "trace/search.html")
    customers = matches(ref)
    if len(customers) == 1:
        # The match has a reference without personal data, which may be logged with the URL.
        return redirect("trace", customers[0].ref)
    return matches_page(request, ref, customers)


@require_safe
def detail(request: Request, ref: str) -> HttpResponse:
    """The timeline of the customer that matches a reference."""
    customers = matches(ref)
    if len(customers) != 1:
        return matches_page(request, ref, customers)
    context = {
        "ref": ref,
        "name": names_of(customers).get(customers[0].ref, ""),
        "trace": build_trace(customers[0], with_errors=sees_errors(request.user)),
        "words": shlex.join(["trace", ref]),
        "most_documents": MAX_DOCUMENTS,
    }
    return render(request, "trace/detail.html", context)


def matches_page(request: Request, ref: str, customers: list[Match]) -> HttpResponse:
    """A choice between several customers; a 404 if none matches."""
    names = names_of(customers)
    context = {
        "ref": ref,
        "found": [(customer, names.get(customer.ref, "")) for customer in customers],
        "words": shlex.join(["trace", ref, "--look-in-channels"]),
    }
    return render(request, "trace/matches.html", context, status=200 if customers else 404)
