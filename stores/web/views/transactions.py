"""Transactions of the tills: each of them, errors by cause, and their correction."""

from uuid import UUID

from django.contrib import messages
from django.db.models import Count, Max, Q, QuerySet
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from stores.models import FailedSale, RetailTransaction, Statement, TransactionChange
from stores.models.failed_sale import SaleCause
from stores.models.labels import counted, label
from stores.models.reason import explain
from stores.models.transaction import EntryStatus, TransactionType, being_corrected
from stores.pipeline.corrections.sale import (
    CorrectionRefused,
    correct_transaction,
    lease_transaction,
    release_lease,
    validation_message,
)
from stores.pipeline.corrections.sales import (
    CorrectionResult,
    correct_all,
    correctable_fields,
    retry_refused,
    undo_bulk_correction,
)
from stores.pipeline.sales.refused import REFUSAL_REASONS
from stores.web.forms.sale import BulkCorrectionForm, CorrectionForm, ScopeForm
from stores.web.lists.response import respond
from stores.web.lists.transactions import TransactionFilter, TransactionTable, all_transactions
from stores.web.permissions import check_permissions, require_permission
from stores.web.request import Request

CORRECTION_REFUSED = "You do not have permission to correct transactions."
may_correct = require_permission("stores.mend_transaction", CORRECTION_REFUSED)
# Causes on a page; transactions of one cause, and statements on the board.
MAX_TRANSACTION_CAUSES, MAX_TRANSACTIONS_SHOWN = 50, 100


@require_safe
def transaction_list(request: Request) -> HttpResponseBase:
    filters = TransactionFilter(request.GET, all_transactions())
    return respond(request, filters, TransactionTable, "transactions/list.html")


def with_all(sales: QuerySet[RetailTransaction]) -> QuerySet[RetailTransaction]:
    return sales.select_related(
        "channel",
        "customer",
        "sales_order",
        "statement__channel",
        "prepayment_statement__channel",
        "editing_by",
        "made_by",
        "exclusion",
    )


@require_safe
def transaction_detail(request: Request, pk: int) -> HttpResponse:
    """One document: its lines, payments, broken rules, and what people changed in it."""
    sale = get_object_or_404(with_all(RetailTransaction.objects.all()), pk=pk)
    context = {
        "sale": sale,
        "lines": sale.lines.all(),
        "payments": sale.payments.all(),
        "errors": sale.errors.all(),
        # A rule that the order breaks is among the errors, with what was expected and found.
        "order_trouble": sale.order_reason
        and not sale.errors.filter(rule=sale.order_reason).exists(),
        "changes": sale.changes.select_related("changed_by"),
        "can_correct": request.user.has_perm("stores.mend_transaction")
        and sale.entry_status == EntryStatus.CONCLUDED
        and sale.sales_order_id is None
        and sale.statement_id is None,
        "can_synchronize": sale.transaction_type == TransactionType.CUSTOMER_ORDER
        and sale.entry_status == EntryStatus.CONCLUDED
        and sale.sales_order_id is None,
    }
    return render(request, "transactions/detail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@may_correct
def correct_one(request: Request, pk: int) -> HttpResponse:
    """Correct one document under a lease; it is validated again by the next run."""
    sale = get_object_or_404(RetailTransaction, pk=pk)
    form = CorrectionForm(sale, request.POST or None)
    try:
        if request.method != "POST":
            return render(request, "transactions/correct.html", {"sale": sale, "form": form})
        if "open" in request.POST:
            lease_transaction(sale, request.user)
            form = CorrectionForm(sale)
        elif form.is_valid():
            changed = correct_transaction(sale, request.user, form.reason, form.changes())
            words = counted(changed, "value")
            messages.success(request, f"{words} corrected. {validation_message(sale)}")
            return redirect(sale)
    except CorrectionRefused as refused:
        messages.error(request, str(refused))
        return redirect(sale)
    return render(
        request, "transactions/correct.html", {"sale": sale, "form": form, "is_open": True}
    )


@require_POST
@may_correct
def release_transaction(request: Request, pk: int) -> HttpResponseRedirect:
    """Give a document back to the jobs without a change."""
    sale = get_object_or_404(RetailTransaction, pk=pk)
    release_lease(sale, request.user)
    return redirect(sale)


@require_safe
def failed_sales(request: Request) -> HttpResponse:
    form = ScopeForm(request.GET)
    causes_found = FailedSale.objects.by_cause()
    if channel := form.scope.channel:
        causes_found = causes_found.filter(channel=channel)
    everything = list(causes_found)
    causes = everything if "causes" in request.GET else everything[:MAX_TRANSACTION_CAUSES]
    for row in causes:
        row["cause"] = SaleCause.of_row(row)
        row["fields"] = correctable_fields(row["cause"])
    more = len(everything) - len(causes)
    context = {"causes": causes, "more_causes": more, "form": form}
    return render(request, "transactions/failed.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def failed_cause(request: Request) -> HttpResponse:
    """All transactions that failed for one cause, to be corrected with one correction."""
    cause = SaleCause.parse(request.GET.get("cause", ""))
    if cause is None:
        raise Http404("No such cause.")
    scope = ScopeForm(request.POST or request.GET)
    form = BulkCorrectionForm(cause, request.POST or None)
    preview = None
    if request.method == "POST":
        check_permissions(request, CORRECTION_REFUSED, "stores.mend_transaction")
        if "again" in request.POST and cause.reason in REFUSAL_REASONS:
            done = retry_refused(cause, scope.scope, request.user)
            report_released(request, done)
            return redirect(request.get_full_path())
        if form.is_valid():
            correction = (cause, scope.scope, request.user, form.reason, form.values)
            if request.POST.get("sure") == form.digest:
                done = correct_all(*correction)
                report_results(request, done)
                if done.corrected:
                    return redirect("correction", done.correction)
                return redirect(request.get_full_path())
            preview = correct_all(*correction, preview=True)
    sales = scope.scope.of(cause)
    brought = sales.select_related("transaction__channel", "transaction__customer")
    in_order = brought.order_by("transaction", "id")
    context = {
        "cause": cause,
        "form": form,
        "scope": scope,
        "can_try_again": cause.reason in REFUSAL_REASONS,
        "failed": in_order[:MAX_TRANSACTIONS_SHOWN],
        "preview": preview,
        "most": MAX_TRANSACTIONS_SHOWN,
        **sales.aggregate(
            count=Count("transaction", distinct=True),
            upto=Max("transaction"),
            held=Count(
                "transaction",
                distinct=True,
                filter=being_corrected("transaction__") & ~Q(transaction__editing_by=request.user),
            ),
        ),
    }
    return render(request, "transactions/cause.html", context)


def report_released(request: Request, done: CorrectionResult) -> None:
    if done.unchanged:
        messages.success(request, f"{sales_word(done.unchanged)} will be retried by the next run.")
    if done.skipped:
        messages.warning(
            request,
            f"{sales_word(done.skipped)} skipped: someone is correcting them,"
            " or a job is processing them.",
        )


def report_results(request: Request, done: CorrectionResult) -> None:
    if done.corrected:
        messages.success(
            request, f"{sales_word(done.corrected)} corrected. {result_sentences(done)}"
        )
    for cause, count in done.broken:
        broken = explain(cause.reason, label(cause.field))
        messages.warning(request, f"{sales_word(count)} of these: {broken}")
    if done.refused:
        messages.warning(
            request,
            f"{sales_word(done.refused)} left unchanged: they would still break the rule.",
        )
    if done.unchanged:
        messages.info(request, f"{sales_word(done.unchanged)} already had these values.")
    if done.skipped:
        messages.warning(
            request,
            f"{sales_word(done.skipped)} skipped: someone is correcting them,"
            " or a job is processing them.",
        )
    if not (done.corrected or done.refused or done.unchanged or done.skipped):
        messages.info(request, "Nothing left to correct for this cause.")


def result_sentences(done: CorrectionResult) -> str:
    sentences = [f"{done.valid:,} of them now pass all rules."] if done.valid else []
    sentences += [f"{done.invalid:,} break another rule."] if done.invalid else []
    sentences += [f"{done.waiting:,} will be validated by the next run."] if done.waiting else []
    return " ".join(sentences)


@require_safe
def correction_detail(request: Request, correction: UUID) -> HttpResponse:
    """What was corrected at once, and whether it can be undone."""
    changes = TransactionChange.objects.filter(correction=correction)
    first = changes.select_related("changed_by").order_by("id").first()
    if first is None:
        raise Http404("No such correction.")
    shown = changes.select_related("transaction").order_by("transaction", "id")
    context = {
        "first": first,
        "count": changes.values("transaction").distinct().count(),
        "changes": shown[:MAX_TRANSACTIONS_SHOWN],
        "most": MAX_TRANSACTIONS_SHOWN,
        "can_undo": changes.filter(
            transaction__statement=None, transaction__sales_order=None
        ).exists(),
    }
    return render(request, "transactions/correction.html", context)


@require_POST
@may_correct
def undo_correction(request: Request, correction: UUID) -> HttpResponseRedirect:
    """Undo a bulk correction, as far as nothing is posted or changed since."""
    undone, unchanged = undo_bulk_correction(correction, request.user, f"Undone: {correction}")
    if undone:
        messages.success(request, f"Undone in {sales_word(undone)}.")
    if unchanged:
        messages.warning(
            request, f"{sales_word(unchanged)} left unchanged: posted, locked or changed since."
        )
    return redirect("failed-sales")


def sales_word(count: int) -> str:
    return counted(count, "transaction")


def beyond(statements: QuerySet[Statement]) -> int:
    """How many statements the board has no room for; their list has all."""
    return max(0, statements.count() - MAX_TRANSACTIONS_SHOWN)
