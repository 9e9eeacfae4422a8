"""Rows that HQ could not use: by cause, one by one, and what people do about them."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from stores.models import Case
from stores.models.case import CaseStatus, Cause
from stores.models.labels import counted
from stores.pipeline.corrections.case import CaseDetail, describe_case
from stores.pipeline.corrections.events import EventRefused
from stores.pipeline.corrections.quarantine import (
    ChangedMeanwhile,
    Resolution,
    dismiss_rows,
    release_rows,
    reopen_rows,
    same_cause,
)
from stores.roles import who_may
from stores.web.forms.document import DocumentForm, correction_form
from stores.web.forms.event import EventForm, lock
from stores.web.forms.reason import posted_reason
from stores.web.lists.quarantine import QuarantineFilter, QuarantineTable, all_quarantined
from stores.web.lists.response import respond
from stores.web.permissions import check_permissions, require_permission
from stores.web.request import Request

# Causes on the page, rows of one cause, and rows that one press of a button settles.
MAX_QUARANTINE_CAUSES, MAX_CASES_SHOWN, MAX_CASES_AT_ONCE = 20, 100, 10_000

may_resolve = require_permission(
    "stores.resolve_quarantine",
    ("You do not have permission to release or correct quarantined rows."),
)
may_dismiss = require_permission(
    "stores.dismiss_quarantine", ("You do not have permission to dismiss quarantined rows.")
)
may_reopen = require_permission(
    "stores.dismiss_quarantine", ("You do not have permission to reopen quarantined rows.")
)


@require_safe
def quarantine_list(request: Request) -> HttpResponseBase:
    """Causes, and every quarantined row, newest first: why, and never what it holds."""
    filters = QuarantineFilter(request.GET, all_quarantined())
    context = (
        {}
        if request.htmx
        else causes(limit=None if "causes" in request.GET else MAX_QUARANTINE_CAUSES)
    )
    return respond(request, filters, QuarantineTable, "quarantine/list.html", **context)


def causes(limit: int | None) -> dict[str, Any]:
    """The most frequent causes of what is not settled, and how many more there are."""
    causes = list(Case.objects.unsettled().by_cause())
    for row in causes[:limit]:
        row["cause"] = Cause.of_row(row)
    return {"causes": causes[:limit], "more_causes": len(causes) - len(causes[:limit])}


@require_safe
def cause_detail(request: Request) -> HttpResponse:
    """All rows of a cause, to be resolved together."""
    cause = Cause.parse(request.GET.get("cause", ""))
    if cause is None:
        raise Http404("No such cause.")
    cases = Case.objects.unsettled().with_cause(cause)
    context = {
        "cause": cause,
        "cases": cases.select_related("database__channel").order_by("since", "id")[
            :MAX_CASES_SHOWN
        ],
        "count": cases.count(),
        "rule": cases.values_list("rule", flat=True).first(),
        "most": MAX_CASES_SHOWN,
        "can_release": request.user.has_perm("stores.resolve_quarantine"),
        "can_dismiss": request.user.has_perm("stores.dismiss_quarantine")
        and cases.filter(status=CaseStatus.OPEN).exists(),
        "dismissed": Case.objects.filter(status=CaseStatus.DISMISSED).with_cause(cause).count(),
    }
    return render(request, "quarantine/cause.html", context)


@require_safe
def case_detail(request: Request, case: str) -> HttpResponse:
    """One row with what is wrong; its values only for those who may settle it."""
    return render(request, "quarantine/detail.html", case_context(request, detail_of(case)))


def detail_of(case: str) -> CaseDetail:
    cases = Case.objects.select_related("database__channel")
    return describe_case(get_object_or_404(cases, pk=case))


def case_context(request: Request, detail: CaseDetail) -> dict[str, Any]:
    user = request.user
    is_staged = detail.row is None
    may = user.has_perm("stores.resolve_quarantine")
    return {
        "case": detail.case,
        "detail": detail,
        "may_see": may or user.has_perm("stores.dismiss_quarantine"),
        "can_release": may and detail.case.status in (CaseStatus.OPEN, CaseStatus.FAILED),
        "can_correct": may and detail.can_be_corrected,
        "can_dismiss": user.has_perm("stores.dismiss_quarantine")
        and detail.case.status == CaseStatus.OPEN,
        "can_reopen": user.has_perm("stores.dismiss_quarantine")
        and detail.case.status == CaseStatus.DISMISSED,
        "is_staged": is_staged,
    }


@require_POST
@may_resolve
def release_cases(request: Request) -> HttpResponseRedirect:
    """Judge one row, or all of a cause, by today's rules again."""
    settled, again = apply_to_posted(request, lambda cases: release_rows(cases, by=request.user))
    remaining = len(settled.still_open)
    if settled.done:
        messages.success(request, count_message(settled.done, "released for the next run."))
    if remaining:
        messages.warning(
            request, count_message(remaining, "still invalid, for the reason now shown.")
        )
    return redirect(again)


@require_POST
@may_dismiss
def dismiss_cases(request: Request) -> HttpResponse:
    """Close one row, or all of a cause; it says why, and asks first."""
    because = posted_reason(request, required="Enter a reason for dismissing.")
    if not because:
        return redirect(return_url(request))
    if "sure" not in request.POST:
        context = {"count": posted_count(request), "because": because, "back": return_url(request)}
        return render(request, "quarantine/dismiss.html", context)
    settled, _ = apply_to_posted(
        request, lambda cases: dismiss_rows(cases, by=request.user, because=because)
    )
    messages.success(
        request, count_message(settled.done, "dismissed. You can reopen dismissed rows here.")
    )
    if settled.still_open:
        messages.warning(
            request,
            count_message(
                len(settled.still_open),
                ("still open: failed events can only be released or corrected."),
            ),
        )
    return redirect(return_url(request))


def posted_count(request: Request) -> int:
    """How many rows would be dismissed of the row or the cause that was posted."""
    cause = Cause.parse(request.POST.get("cause", ""))
    rows = Case.objects.filter(status=CaseStatus.OPEN)
    if cause:
        return rows.with_cause(cause).count()
    return rows.filter(pk=get_object_or_404(Case, pk=request.POST.get("case", "")).pk).count()


@require_POST
@may_reopen
def reopen_cases(request: Request) -> HttpResponseRedirect:
    """Open one dismissed row, or all that were dismissed of a cause, again."""
    cause = Cause.parse(request.POST.get("cause", ""))
    if cause:
        count = sum(map(reopen_rows, same_cause(cause, statuses=[CaseStatus.DISMISSED])))
    else:
        count = reopen_rows([get_object_or_404(Case, pk=request.POST.get("case", "")).pk])
    messages.success(request, count_message(count, "reopened."))
    return redirect(return_url(request))


def apply_to_posted(
    request: Request, action: Callable[[list[str]], Resolution]
) -> tuple[Resolution, str]:
    """Do something about the row or the cause that was posted; and where to go then."""
    cause = Cause.parse(request.POST.get("cause", ""))
    if cause is None:
        case = get_object_or_404(Case, pk=request.POST.get("case", ""))
        return action([case.pk]), return_url(request)
    total = Resolution()
    for case_ids in same_cause(cause):
        total += action(case_ids)
        if total.done + len(total.still_open) >= MAX_CASES_AT_ONCE:
            break
    is_over = not Case.objects.unsettled().with_cause(cause).exists()
    return total, reverse("quarantine") if is_over else return_url(request)


def return_url(request: Request) -> str:
    """The page of the row or the cause that was posted; else the list."""
    if cause := request.POST.get("cause"):
        return f"{reverse('quarantine-cause')}?{urlencode({'cause': cause})}"
    try:
        return reverse("quarantine-case", args=[request.POST.get("case", "")])
    except NoReverseMatch:
        return reverse("quarantine")


def count_message(count: int, what: str) -> str:
    return f"{counted(count, 'row')} {what}"


@require_http_methods(["GET", "HEAD", "POST"])
@may_resolve
def correct_case(request: Request, case: str) -> HttpResponse:
    """A form with the row's values; what is sent becomes an event of headquarters."""
    detail = detail_of(case)
    if not detail.can_be_corrected:
        messages.warning(request, "This row has been resolved in the meantime.")
        return redirect(detail.case)
    form, settle_it = correction_form(detail, request.POST or None)
    keeps = read_only_message(request, detail, form)
    if request.method == "POST" and form.is_valid():
        try:
            settle_it(case, form.values, by=request.user)
        except EventRefused as refused:
            form.add_rule_errors(refused.broken)
        except ChangedMeanwhile:
            messages.warning(request, "This row has been resolved in the meantime.")
            return redirect(detail.case)
        else:
            messages.success(request, "Corrected. The next run processes the replacement.")
            return redirect(detail.case)
    context = case_context(request, detail) | {"form": form, "keeps": keeps}
    return render(request, "quarantine/correct.html", context)


def read_only_message(request: Request, detail: CaseDetail, form: EventForm | DocumentForm) -> str:
    """The sentence on what this user cannot change in the form, which then stays as it came.

    Whom a row is about is nothing to settle: another GUID, account or operation is a change of that
    customer, another amount or buyer a correction of the sale. Errors: PermissionDenied when the
    form was sent with such a change.
    """
    right, what = (
        ("stores.mend_transaction", "what was sold, to whom and for how much")
        if detail.is_document
        else ("stores.change_customer", "which customer a row is about and what it does")
    )
    if request.user.has_perm(right):
        return ""
    sentence = f"You do not have permission to change {what}."
    if lock(form, form.identity):
        check_permissions(request, sentence, right)
    return f"{sentence} {who_may(right)}"
