"""The pages of edit conflicts: the list, one conflict, and closing it."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from stores.models import EditConflict
from stores.models.conflict import ConflictChoice
from stores.pipeline.corrections.conflict import (
    ConflictRefused,
    can_be_closed,
    conflict_row,
    require_open,
    resolve_conflict,
)
from stores.pipeline.corrections.customer import Busy
from stores.web.forms.conflict import ConflictForm
from stores.web.lists.conflicts import ConflictFilter, ConflictTable, all_conflicts
from stores.web.lists.response import list_view
from stores.web.permissions import require_permission
from stores.web.request import Request

CLOSING_PERMISSION = "stores.change_customer"
may_close_conflicts = require_permission(CLOSING_PERMISSION, "close edit conflicts")

conflict_list = list_view(ConflictFilter, ConflictTable, all_conflicts)


@require_safe
def conflict_detail(request: Request, number: int) -> HttpResponse:
    conflict = get_conflict(number)
    form = ConflictForm(initial={"version": conflict.customer.hq_version})
    return conflict_page(request, conflict, form)


def get_conflict(number: int) -> EditConflict:
    conflicts = EditConflict.objects.with_details().select_related("customer__company")
    return get_object_or_404(conflicts, pk=number)


def conflict_page(request: Request, conflict: EditConflict, form: ConflictForm) -> HttpResponse:
    _, row = conflict_row(conflict)
    may_close = request.user.has_perm(CLOSING_PERMISSION)
    context = {
        "conflict": conflict,
        "current_value": getattr(row, conflict.field),
        "form": form,
        "can_close": may_close and can_be_closed(conflict),
    }
    return render(request, "conflicts/detail.html", context)


@require_POST
@may_close_conflicts
def close_conflict(request: Request, number: int) -> HttpResponse:
    """Close a conflict: keep the current value, or replace it with the other one."""
    conflict = get_conflict(number)
    form = ConflictForm(request.POST)
    try:
        require_open(conflict)
        if not form.is_valid():
            return conflict_page(request, conflict, form)
        resolve_conflict(
            conflict,
            ConflictChoice(form.cleaned_data["choice"]),
            form.cleaned_data["reason"],
            version=form.cleaned_data["version"],
            by=request.user,
        )
    except (ConflictRefused, Busy) as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, f"Conflict {conflict.pk} closed.")
    return redirect(conflict)
