"""The pages of transactions: the list, one transaction and its correction."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from stores.messages.labels import counted
from stores.models import RetailTransaction
from stores.models.transaction import EntryStatus, TransactionType
from stores.pipeline.corrections.sale import (
    CorrectionRefused,
    correct_transaction,
    lease_transaction,
    release_lease,
    validation_message,
)
from stores.web.forms.sale import CorrectionForm
from stores.web.lists.response import list_view
from stores.web.lists.transactions import TransactionFilter, TransactionTable, all_transactions
from stores.web.permissions import require_permission
from stores.web.request import Request

may_correct = require_permission("stores.mend_transaction", "correct transactions")

transaction_list = list_view(
    TransactionFilter, TransactionTable, all_transactions, "transactions/list.html"
)


@require_safe
def transaction_detail(request: Request, pk: int) -> HttpResponse:
    sales = RetailTransaction.objects.select_related(
        "channel",
        "customer",
        "sales_order",
        "statement__channel",
        "prepayment_statement__channel",
        "editing_by",
        "made_by",
        "exclusion",
    )
    sale = get_object_or_404(sales, pk=pk)
    is_open = sale.entry_status == EntryStatus.CONCLUDED and sale.sales_order_id is None
    is_order = sale.transaction_type == TransactionType.CUSTOMER_ORDER
    # An error of validation with the same reason already says why the order waits.
    has_order_error = sale.errors.filter(rule=sale.order_reason).exists()
    context = {
        "sale": sale,
        "lines": sale.lines.all(),
        "payments": sale.payments.all(),
        "errors": sale.errors.all(),
        "order_trouble": sale.order_reason and not has_order_error,
        "changes": sale.changes.select_related("changed_by"),
        "can_correct": request.user.has_perm("stores.mend_transaction")
        and is_open
        and sale.statement_id is None,
        "can_synchronize": is_order and is_open,
    }
    return render(request, "transactions/detail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@may_correct
def correct_one(request: Request, pk: int) -> HttpResponse:
    """Correct a transaction: the first POST leases it, the next one saves the values."""
    sale = get_object_or_404(RetailTransaction, pk=pk)
    form = CorrectionForm(sale, request.POST or None)
    context = {"sale": sale, "form": form, "is_open": request.method == "POST"}
    try:
        if "open" in request.POST:
            lease_transaction(sale, request.user)
            context["form"] = CorrectionForm(sale)
        elif request.method == "POST" and form.is_valid():
            count = correct_transaction(sale, request.user, form.reason, form.changes())
            corrected = counted(count, "value")
            messages.success(request, f"{corrected} corrected. {validation_message(sale)}")
            return redirect(sale)
    except CorrectionRefused as error:
        messages.error(request, str(error))
        return redirect(sale)
    return render(request, "transactions/correct.html", context)


@require_POST
@may_correct
def release_transaction(request: Request, pk: int) -> HttpResponseRedirect:
    """Give a transaction back to the jobs, unchanged."""
    sale = get_object_or_404(RetailTransaction, pk=pk)
    release_lease(sale, request.user)
    return redirect(sale)
