"""The quarantine: rows by cause and one by one, and how people resolve them."""

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from stores.messages.labels import counted
from stores.models import Case
from stores.models.case import CaseStatus, Cause
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
from stores.web.forms.document import DocumentForm, correction_form
from stores.web.forms.event import EventForm, lock_fields
from stores.web.forms.reason import posted_reason
from stores.web.lists.quarantine import QuarantineFilter, QuarantineTable, all_quarantined
from stores.web.lists.response import list_response
from stores.web.permissions import check_permissions, refusal, require_permission
from stores.web.request import Request

MAX_CAUSES, MAX_CASES = 20, 100
MAX_CASES_RESOLVED = 10_000

may_resolve_rows = require_permission(
    "stores.resolve_quarantine",
    "release or correct quarantined rows",
)
may_dismiss_rows = require_permission("stores.dismiss_quarantine", "dismiss quarantined rows")
may_reopen_rows = require_permission("stores.dismiss_quarantine", "reopen quarantined rows")


@require_safe
def quarantine_list(request: Request) -> HttpResponseBase:
    """The causes of open rows, and every quarantined row, without its values."""
    filters = QuarantineFilter(request.GET, all_quarantined())
    context = {}
    if not request.htmx:
        context = cause_context(limit=None if "causes" in request.GET else MAX_CAUSES)
    return list_response(request, filters, QuarantineTable, "quarantine/list.html", **context)


def cause_context(limit: int | None) -> dict[str, Any]:
    """The most frequent causes with their counts, and the number of the others."""
    counts_by_cause = list(Case.objects.unsettled().by_cause())
    causes = [counts | {"cause": Cause.of(counts)} for counts in counts_by_cause[:limit]]
    return {"causes": causes, "more_causes": len(counts_by_cause) - len(causes)}


@require_safe
def cause_detail(request: Request) -> HttpResponse:
    """The rows of a cause, to be resolved together."""
    cause = Cause.parse(request.GET.get("cause", ""))
    if cause is None:
        raise Http404("No such cause.")
    cases = Case.objects.unsettled().with_cause(cause)
    oldest = cases.select_related("database__channel").order_by("since", "id")
    may_dismiss = request.user.has_perm("stores.dismiss_quarantine")
    context = {
        "cause": cause,
        "cases": oldest[:MAX_CASES],
        "count": cases.count(),
        "rule": cases.values_list("rule", flat=True).first(),
        "limit": MAX_CASES,
        "can_release": request.user.has_perm("stores.resolve_quarantine"),
        "can_dismiss": may_dismiss and cases.filter(status=CaseStatus.OPEN).exists(),
        "dismissed": Case.objects.filter(status=CaseStatus.DISMISSED).with_cause(cause).count(),
    }
    return render(request, "quarantine/cause.html", context)


@require_safe
def case_detail(request: Request, case: str) -> HttpResponse:
    """One row with its reason; its values only for users who may resolve it."""
    return render(request, "quarantine/detail.html", case_context(request, get_detail(case)))


def get_detail(case_id: str) -> CaseDetail:
    cases = Case.objects.select_related("database__channel")
    return describe_case(get_object_or_404(cases, pk=case_id))


def case_context(request: Request, detail: CaseDetail) -> dict[str, Any]:
    case = detail.case
    may_resolve = request.user.has_perm("stores.resolve_quarantine")
    may_dismiss = request.user.has_perm("stores.dismiss_quarantine")
    return {
        "case": case,
        "detail": detail,
        "is_staged": detail.row is None,
        "may_see": may_resolve or may_dismiss,
        "can_release": may_resolve and case.status in (CaseStatus.OPEN, CaseStatus.FAILED),
        "can_correct": may_resolve and detail.can_be_corrected,
        "can_dismiss": may_dismiss and case.status == CaseStatus.OPEN,
        "can_reopen": may_dismiss and case.status == CaseStatus.DISMISSED,
    }


@require_POST
@may_resolve_rows
def release_cases(request: Request) -> HttpResponseRedirect:
    """Validate one row, or all of a cause, by the current rules."""
    resolution = Resolution()
    for case_ids in posted_cases(request):
        resolution += release_rows(case_ids, by=request.user)
    if resolution.done:
        released = counted(resolution.done, "row")
        messages.success(request, f"{released} released for the next run.")
    if resolution.still_open:
        invalid = counted(len(resolution.still_open), "row")
        messages.warning(request, f"{invalid} still invalid, for the reason now shown.")
    cause = posted_cause(request)
    if cause and not Case.objects.unsettled().with_cause(cause).exists():
        return redirect("quarantine")
    return redirect(posted_page(request))


@require_POST
@may_dismiss_rows
def dismiss_cases(request: Request) -> HttpResponse:
    """Close one row, or all of a cause, with a reason, after a confirmation."""
    page = posted_page(request)
    reason = posted_reason(request, required="Enter a reason for dismissing.")
    if not reason:
        # posted_reason() has told the user so.
        return redirect(page)
    if "sure" not in request.POST:
        selected_by = "cause" if request.POST.get("cause") else "case"
        context = {
            "count": count_dismissible(request),
            "reason": reason,
            "selection": {selected_by: request.POST.get(selected_by, "")},
            "previous_page": page,
        }
        return render(request, "quarantine/dismiss.html", context)
    resolution = Resolution()
    for case_ids in posted_cases(request):
        resolution += dismiss_rows(case_ids, by=request.user, because=reason)
    dismissed = counted(resolution.done, "row")
    messages.success(request, f"{dismissed} dismissed. You can reopen dismissed rows here.")
    if resolution.still_open:
        still_open = counted(len(resolution.still_open), "row")
        messages.warning(
            request, f"{still_open} still open: failed events can only be released or corrected."
        )
    return redirect(page)


def count_dismissible(request: Request) -> int:
    """The number of open rows that were posted: failed events cannot be dismissed."""
    rows = Case.objects.filter(status=CaseStatus.OPEN)
    if cause := posted_cause(request):
        return rows.with_cause(cause).count()
    return rows.filter(pk=posted_case(request).pk).count()


@require_POST
@may_reopen_rows
def reopen_cases(request: Request) -> HttpResponseRedirect:
    if cause := posted_cause(request):
        count = sum(map(reopen_rows, same_cause(cause, statuses=[CaseStatus.DISMISSED])))
    else:
        count = reopen_rows([posted_case(request).pk])
    messages.success(request, f"{counted(count, 'row')} reopened.")
    return redirect(posted_page(request))


def posted_cause(request: Request) -> Cause | None:
    return Cause.parse(request.POST.get("cause", ""))


def posted_case(request: Request) -> Case:
    return get_object_or_404(Case, pk=request.POST.get("case", ""))


def posted_cases(request: Request) -> Iterator[list[str]]:
    """Yield the ids of the posted row or cause, in chunks; of a large cause only the first."""
    cause = posted_cause(request)
    if cause is None:
        yield [posted_case(request).pk]
        return
    count = 0
    for case_ids in same_cause(cause):
        yield case_ids
        count += len(case_ids)
        if count >= MAX_CASES_RESOLVED:
            return


def posted_page(request: Request) -> str:
    """The URL of the posted cause or row, or that of the list."""
    if cause := request.POST.get("cause"):
        return reverse("quarantine-cause", query={"cause": cause})
    try:
        return reverse("quarantine-case", args=[request.POST.get("case", "")])
    except NoReverseMatch:
        return reverse("quarantine")


@require_http_methods(["GET", "HEAD", "POST"])
@may_resolve_rows
def correct_case(request: Request, case: str) -> HttpResponse:
    """A form with the row's values; a POST saves them as an event or document of headquarters."""
    detail = get_detail(case)
    if not detail.can_be_corrected:
        messages.warning(request, "This row has been resolved in the meantime.")
        return redirect(detail.case)
    form = correction_form(detail, request.POST or None)
    read_only = lock_identity(request, detail, form)
    if request.method == "POST" and form.is_valid():
        try:
            form.save(case, by=request.user)
        except EventRefused as error:
            form.add_rule_errors(error.broken)
        except ChangedMeanwhile:
            messages.warning(request, "This row has been resolved in the meantime.")
            return redirect(detail.case)
        else:
            messages.success(request, "Corrected. The next run processes the replacement.")
            return redirect(detail.case)
    context = case_context(request, detail) | {"form": form, "read_only_sentence": read_only}
    return render(request, "quarantine/correct.html", context)


def lock_identity(request: Request, detail: CaseDetail, form: EventForm | DocumentForm) -> str:
    """Lock the fields that the user may not change. Returns the sentence for the form.

    A row of another customer, or a sale of another amount, needs the permission to change these.
    Errors: PermissionDenied if such a change was posted.
    """
    if detail.is_document:
        permission = "stores.mend_transaction"
        fields = "what was sold, to whom and for how much"
    else:
        permission = "stores.change_customer"
        fields = "which customer a row is about and what it does"
    if request.user.has_perm(permission):
        return ""
    if lock_fields(form, form.identity):
        check_permissions(request, f"change {fields}", permission)
    return refusal(f"change {fields}", permission)
