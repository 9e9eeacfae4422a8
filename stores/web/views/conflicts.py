"""Conflicting edits: both values of each, and which of them stays."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from stores.models import EditConflict
from stores.models.conflict import Choice
from stores.pipeline.corrections.customer import (
    Busy,
    EditsRefused,
    Stale,
    can_be_closed,
    conflict_row,
    resolve_conflict,
)
from stores.web.forms.conflict import ConflictForm
from stores.web.lists.conflicts import ConflictFilter, ConflictTable, all_conflicts
from stores.web.lists.response import respond
from stores.web.permissions import require_permission
from stores.web.request import Request

may_close_conflicts = require_permission(
    "stores.change_customer", "You do not have permission to close edit conflicts."
)


@require_safe
def conflict_list(request: Request) -> HttpResponseBase:
    """Every field that two places changed without knowing of each other, newest first."""
    filters = ConflictFilter(request.GET, all_conflicts())
    return respond(request, filters, ConflictTable, "conflicts/list.html")


@require_safe
def conflict_detail(request: Request, number: int) -> HttpResponse:
    conflict = with_customer(number)
    form = ConflictForm(initial={"version": conflict.customer.hq_version})
    return conflict_page(request, conflict, form)


def with_customer(number: int) -> EditConflict:
    conflicts = EditConflict.objects.with_places().select_related("customer__company")
    return get_object_or_404(conflicts, pk=number)


def conflict_page(request: Request, conflict: EditConflict, form: ConflictForm) -> HttpResponse:
    kind, row = conflict_row(conflict)
    context = {
        "conflict": conflict,
        "now": getattr(row, conflict.field),
        "kind": kind,
        "form": form,
        "can_close": can_be_closed(conflict) and request.user.has_perm("stores.change_customer"),
    }
    return render(request, "conflicts/detail.html", context)


@require_http_methods(["POST"])
@may_close_conflicts
def close_conflict(request: Request, number: int) -> HttpResponse:
    """Keep the present value, or take the other by an event of headquarters."""
    conflict = with_customer(number)
    form = ConflictForm(request.POST)
    if not can_be_closed(conflict):
        return redirect_with_message(request, conflict, "The conflict is already closed.")
    if not form.is_valid():
        return conflict_page(request, conflict, form)
    try:
        is_closed_now = resolve_conflict(
            conflict,
            Choice(form.cleaned_data["choice"]),
            form.cleaned_data["reason"],
            version=form.cleaned_data["version"],
            by=request.user,
        )
    except (Stale, Busy) as hindrance:
        return redirect_with_message(request, conflict, str(hindrance))
    except EditsRefused as refused:
        broken = ", ".join(refused.fields)
        return redirect_with_message(
            request, conflict, f"The other value breaks a current rule: {broken}."
        )
    if not is_closed_now:
        return redirect_with_message(request, conflict, "The conflict is already closed.")
    messages.success(request, f"Conflict {conflict.pk} closed.")
    return redirect(conflict)


def redirect_with_message(
    request: Request, conflict: EditConflict, sentence: str
) -> HttpResponseRedirect:
    messages.warning(request, sentence)
    return redirect(conflict)
