"""The pages of failed transactions by cause: correct all of a cause, retry them, or undo that."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Count, Max, Q
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from stores.messages.labels import counted, label
from stores.messages.reasons import explain
from stores.models import FailedSale, TransactionChange
from stores.models.failed_sale import SaleCause
from stores.models.transaction import being_corrected
from stores.pipeline.corrections.sales import (
    CorrectionResult,
    CorrectionScope,
    correct_all,
    correctable_fields,
    retry_refused,
)
from stores.pipeline.corrections.undo import can_undo, undo_bulk_correction
from stores.pipeline.sales.refused import REFUSAL_REASONS
from stores.web.forms.sale import BulkCorrectionForm, ScopeForm
from stores.web.permissions import check_permissions
from stores.web.request import Request
from stores.web.views.transactions import may_correct

MAX_CAUSES_SHOWN = 50
MAX_TRANSACTIONS_SHOWN = 100


@require_safe
def failed_sales(request: Request) -> HttpResponse:
    """The causes of failed transactions, the most frequent first."""
    form = ScopeForm(request.GET)
    failures = FailedSale.objects.by_cause()
    if channel := form.scope.channel:
        failures = failures.filter(channel=channel)
    counts_by_cause = list(failures)
    limit = None if "causes" in request.GET else MAX_CAUSES_SHOWN
    causes = []
    for counts in counts_by_cause[:limit]:
        cause = SaleCause.of(counts)
        causes.append(counts | {"cause": cause, "fields": correctable_fields(cause)})
    more_causes = len(counts_by_cause) - len(causes)
    context = {"causes": causes, "more_causes": more_causes, "form": form}
    return render(request, "transactions/failed.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def failed_cause(request: Request) -> HttpResponse:
    """All transactions of a cause, with the form that corrects them.

    A POST shows a preview; the same form, posted again with the digest of the preview in `sure`,
    saves it. A POST with `again` retries what the database refused.
    """
    cause = SaleCause.parse(request.GET.get("cause", ""))
    if cause is None:
        raise Http404("No such cause.")
    scope_form = ScopeForm(request.POST or request.GET)
    form = BulkCorrectionForm(cause, request.POST or None)
    preview = None
    if request.method == "POST":
        check_permissions(request, "correct transactions", "stores.mend_transaction")
        if "again" in request.POST and cause.reason in REFUSAL_REASONS:
            report_retried(request, retry_refused(cause, scope_form.scope, request.user))
            return redirect(request.get_full_path())
        if form.is_valid() and request.POST.get("sure") == form.digest:
            return correct_cause(request, cause, scope_form.scope, form)
        if form.is_valid():
            preview = correct_all(
                cause, scope_form.scope, request.user, form.reason, form.values, preview=True
            )
    context = {
        "cause": cause,
        "form": form,
        "scope": scope_form,
        "can_try_again": cause.reason in REFUSAL_REASONS,
        "preview": preview,
        "limit": MAX_TRANSACTIONS_SHOWN,
    }
    context |= affected_sales(request, cause, scope_form.scope)
    return render(request, "transactions/cause.html", context)


def affected_sales(request: Request, cause: SaleCause, scope: CorrectionScope) -> dict[str, Any]:
    """The failing transactions, as the page shows them.

    Shape: count; upto, the highest id; held, how many others are correcting; failures, the first of
    them; shows_values, whether any of these has an expected and a found value.
    """
    of_cause = scope.of(cause)
    by_others = being_corrected("transaction__") & ~Q(transaction__editing_by=request.user)
    totals = of_cause.aggregate(
        count=Count("transaction", distinct=True),
        upto=Max("transaction"),
        held=Count("transaction", distinct=True, filter=by_others),
    )
    oldest = of_cause.select_related("transaction__channel", "transaction__customer")
    failures = list(oldest.order_by("transaction", "id")[:MAX_TRANSACTIONS_SHOWN])
    shows_values = any(failure.found for failure in failures)
    return totals | {"failures": failures, "shows_values": shows_values}


def correct_cause(
    request: Request, cause: SaleCause, scope: CorrectionScope, form: BulkCorrectionForm
) -> HttpResponseRedirect:
    result = correct_all(cause, scope, request.user, form.reason, form.values)
    report_result(request, result)
    if result.corrected:
        return redirect("correction", result.correction)
    return redirect(request.get_full_path())


def report_retried(request: Request, result: CorrectionResult) -> None:
    if result.unchanged:
        retried = counted(result.unchanged, "transaction")
        messages.success(request, f"{retried} will be retried by the next run.")
    report_skipped(request, result)


def report_result(request: Request, result: CorrectionResult) -> None:
    if result.corrected:
        corrected = counted(result.corrected, "transaction")
        messages.success(request, f"{corrected} corrected. {validation_sentences(result)}")
    for cause, count in result.broken:
        reason = explain(cause.reason, label(cause.field))
        messages.warning(request, f"{counted(count, 'transaction')} of these: {reason}")
    if result.refused:
        refused = counted(result.refused, "transaction")
        messages.warning(request, f"{refused} left unchanged: they would still break the rule.")
    if result.unchanged:
        unchanged = counted(result.unchanged, "transaction")
        messages.info(request, f"{unchanged} already had these values.")
    report_skipped(request, result)
    if not (result.corrected or result.refused or result.unchanged or result.skipped):
        messages.info(request, "Nothing left to correct for this cause.")


def report_skipped(request: Request, result: CorrectionResult) -> None:
    if result.skipped:
        skipped = counted(result.skipped, "transaction")
        messages.warning(
            request, f"{skipped} skipped: someone is correcting them, or a job is processing them."
        )


def validation_sentences(result: CorrectionResult) -> str:
    sentences = []
    if result.valid:
        passes = "passes" if result.valid == 1 else "pass"
        sentences.append(f"{result.valid:,} of them now {passes} all rules.")
    if result.invalid:
        breaks = "breaks" if result.invalid == 1 else "break"
        sentences.append(f"{result.invalid:,} {breaks} another rule.")
    if result.waiting:
        sentences.append(f"{result.waiting:,} will be validated by the next run.")
    return " ".join(sentences)


@require_safe
def correction_detail(request: Request, correction: UUID) -> HttpResponse:
    changes = TransactionChange.objects.filter(correction=correction)
    first = changes.select_related("changed_by").order_by("id").first()
    if first is None:
        raise Http404("No such correction.")
    in_order = changes.select_related("transaction").order_by("transaction", "id")
    context = {
        "first": first,
        "count": changes.values("transaction").distinct().count(),
        "changes": in_order[:MAX_TRANSACTIONS_SHOWN],
        "limit": MAX_TRANSACTIONS_SHOWN,
        "can_undo": can_undo(correction),
    }
    return render(request, "transactions/correction.html", context)


@require_POST
@may_correct
def undo_correction(request: Request, correction: UUID) -> HttpResponseRedirect:
    undone, unchanged = undo_bulk_correction(correction, request.user, f"Undone: {correction}")
    if undone:
        messages.success(request, f"Undone in {counted(undone, 'transaction')}.")
    if unchanged:
        messages.warning(
            request,
            f"{counted(unchanged, 'transaction')} left unchanged: posted, locked or changed since.",
        )
    return redirect("failed-sales")
