"""Statements, and the board that says whether a day can be posted."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from stores.models import ExcludedSale, PostedPayment, Statement
from stores.models.reason import explain
from stores.models.statement import AggregateState
from stores.pipeline.sales import statement_sales
from stores.pipeline.sales.readiness import (
    LATE_DAYS,
    first_late_day,
    posted_lately,
    quarantined_documents,
    readiness,
    unposted_statements,
    voided_lately,
)
from stores.web.forms.reason import posted_reason
from stores.web.lists.response import csv_response, list_response
from stores.web.lists.statements import (
    AggregateTable,
    StatementFilter,
    StatementTable,
    all_statements,
)
from stores.web.permissions import require_permission
from stores.web.request import Request
from stores.web.views.transactions import MAX_TRANSACTIONS_SHOWN, beyond

may_cancel_statements = require_permission(
    "stores.cancel_statement", "You do not have permission to cancel statements."
)


@require_safe
def statement_list(request: Request) -> HttpResponseBase:
    filters = StatementFilter(request.GET, all_statements())
    return list_response(request, filters, StatementTable, "statements/list.html")


@require_safe
def statement_detail(request: Request, pk: int) -> HttpResponseBase:
    """One statement: totals, tenders, aggregated orders, also as CSV, and what happened to it."""
    statement = get_object_or_404(Statement.objects.select_related("channel", "company"), pk=pk)
    aggregates = statement.aggregates.select_related("customer", "sales_order")
    only_failures = request.GET.get("show") == "failures"
    shown = aggregates.filter(state=AggregateState.FAILED) if only_failures else aggregates
    if request.GET.get("_export") == "csv":
        table = AggregateTable(shown)
        return csv_response(request, table, shown.iterator(), filename=statement.number)
    context = {
        "statement": statement,
        "totals": statement.totals.all(),
        "tenders": statement.tenders.all(),
        "differences": PostedPayment.objects.differences_of(statement),
        "aggregates": shown[:500],
        "aggregate_count": aggregates.count(),
        "only_failures": only_failures,
        "excluded": ExcludedSale.objects.filter(
            channel=statement.channel_id, business_date=statement.business_date
        )
        .exclude(reason="statement_open")
        .by_reason(),
        "waits_for": explain(statement.reason, None) if statement.is_open else "",
        "events": statement.events.select_related("run", "user"),
    }
    return render(request, "statements/detail.html", context)


@require_POST
@may_cancel_statements
def cancel_statement(request: Request, pk: int) -> HttpResponseRedirect:
    """Give the sales of a statement that is not posted back."""
    statement = get_object_or_404(Statement.objects.select_related("channel"), pk=pk)
    reason = posted_reason(request)
    if not reason:
        return redirect(statement)
    try:
        sales = statement_sales.cancel_open_statement(statement, reason, by=request.user)
    except statement_sales.NotCancelled as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{statement} is cancelled, {sales:,} sales are released.")
    return redirect(statement)


@require_safe
def end_of_day(request: Request) -> HttpResponse:
    """Whether each store's days can be posted, and what stands in their way."""
    undone, posted = unposted_statements(), posted_lately()
    context = {
        "board": readiness(),
        "open_statements": undone[:MAX_TRANSACTIONS_SHOWN],
        "more_open": beyond(undone),
        "set_aside": quarantined_documents(),
        "posted": posted[:MAX_TRANSACTIONS_SHOWN],
        "more_posted": beyond(posted),
        "voided": voided_lately(),
        "late_days": LATE_DAYS,
        "first_late_day": first_late_day(),
    }
    return render(request, "statements/end_of_day.html", context)
