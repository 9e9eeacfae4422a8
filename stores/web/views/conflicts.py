"""The pages of edit conflicts: the list, one conflict, and closing it.

Two places have edited one field of a customer without each other's change. One of the two values
was kept. Every user may see both; users with the permission confirm the kept value, or use the
other one instead.
"""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from stores.models import EditConflict
from stores.models.conflict import ConflictChoice
from stores.pipeline.corrections.conflict import (
    ALREADY_CLOSED,
    ConflictRefused,
    can_be_closed,
    current_value,
    resolve_conflict,
)
from stores.pipeline.corrections.customer import CustomersBusy
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
    # The form brings back the version of the customer that the user has seen.
    form = ConflictForm(initial={"version": conflict.customer.hq_version})
    return conflict_page(request, conflict, form)


@require_POST
@may_close_conflicts
def close_conflict(request: Request, number: int) -> HttpResponse:
    """Save the user's choice; it is refused if the customer has changed since the user saw it."""
    conflict = get_conflict(number)
    # Checked first, so that no one corrects a form for a conflict that is already closed.
    if not can_be_closed(conflict):
        messages.warning(request, ALREADY_CLOSED)
        return redirect(conflict)
    form = ConflictForm(request.POST)
    if not form.is_valid():
        return conflict_page(request, conflict, form)
    try:
        resolve_conflict(
            conflict,
            ConflictChoice(form.cleaned_data["choice"]),
            form.cleaned_data["reason"],
            version=form.cleaned_data["version"],
            by=request.user,
        )
    except (ConflictRefused, CustomersBusy) as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, f"Conflict {conflict.pk} closed.")
    return redirect(conflict)


def get_conflict(number: int) -> EditConflict:
    """The conflict with this number. Errors: Http404."""
    conflicts = EditConflict.objects.with_details().select_related("customer__company")
    return get_object_or_404(conflicts, pk=number)


def conflict_page(request: Request, conflict: EditConflict, form: ConflictForm) -> HttpResponse:
    """The page of a conflict, with the form only if the user may still close the conflict."""
    has_permission = request.user.has_perm(CLOSING_PERMISSION)
    context = {
        "conflict": conflict,
        "current_value": current_value(conflict),
        "form": form,
        "show_form": has_permission and can_be_closed(conflict),
    }
    return render(request, "conflicts/detail.html", context)
