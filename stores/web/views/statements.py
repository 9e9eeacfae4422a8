"""The pages of statements, and the end-of-day board."""

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from stores.messages.reasons import explain
from stores.models import ExcludedSale, PostedPayment, Statement
from stores.models.statement_parts import AggregateState
from stores.pipeline.sales.end_of_day import (
    RECENT_DAYS,
    first_recent_day,
    open_statements,
    quarantined_documents,
    recently_posted,
    recently_voided,
)
from stores.pipeline.sales.readiness import readiness
from stores.pipeline.sales.statement_sales import CancellationRefused, cancel_open_statement
from stores.web.forms.reason import posted_reason
from stores.web.lists.response import csv_response, list_view, wants_csv
from stores.web.lists.statements import (
    AggregateTable,
    StatementFilter,
    StatementTable,
    all_statements,
)
from stores.web.permissions import require_permission
from stores.web.request import Request

MAX_AGGREGATES_SHOWN = 500
MAX_STATEMENTS_SHOWN = 100
# Sales with this reason only wait for their statement; they are not excluded from it.
IN_OPEN_STATEMENT = "statement_open"

may_cancel_statements = require_permission("stores.cancel_statement", "cancel statements")

statement_list = list_view(StatementFilter, StatementTable, all_statements)


@require_safe
def statement_detail(request: Request, pk: int) -> HttpResponseBase:
    """One statement with its totals and aggregated orders; with _export=csv the orders alone."""
    statement = get_object_or_404(Statement.objects.select_related("channel", "company"), pk=pk)
    aggregates = statement.aggregates.select_related("customer", "sales_order")
    only_failures = request.GET.get("show") == "failures"
    shown = aggregates.filter(state=AggregateState.FAILED) if only_failures else aggregates
    if wants_csv(request):
        table = AggregateTable(shown)
        return csv_response(request, table, shown.iterator(), filename=statement.number)
    excluded = ExcludedSale.objects.filter(
        ~Q(reason=IN_OPEN_STATEMENT),
        channel=statement.channel_id,
        business_date=statement.business_date,
    )
    # One more tells whether there are others.
    found = list(shown[: MAX_AGGREGATES_SHOWN + 1])
    context = {
        "statement": statement,
        "totals": statement.totals.all(),
        "tenders": statement.tenders.all(),
        "differences": PostedPayment.objects.differences_of(statement),
        "aggregates": found[:MAX_AGGREGATES_SHOWN],
        "shown_limit": MAX_AGGREGATES_SHOWN if len(found) > MAX_AGGREGATES_SHOWN else None,
        # Of the whole statement, whatever is shown.
        "aggregate_count": aggregates.count(),
        "only_failures": only_failures,
        "excluded": excluded.by_reason(),
        "waits_for": explain(statement.reason) if statement.is_open else "",
        "events": statement.events.select_related("run", "user"),
    }
    return render(request, "statements/detail.html", context)


@require_POST
@may_cancel_statements
def cancel_statement(request: Request, pk: int) -> HttpResponseRedirect:
    statement = get_object_or_404(Statement.objects.select_related("channel"), pk=pk)
    reason = posted_reason(request)
    if not reason:
        # posted_reason() has told the user so.
        return redirect(statement)
    try:
        released = cancel_open_statement(statement, reason, by=request.user)
    except CancellationRefused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{statement} is cancelled, {released:,} sales are released.")
    return redirect(statement)


@require_safe
def end_of_day(request: Request) -> HttpResponse:
    """Which days of each store can be posted, and what blocks the others."""
    statements, posted = open_statements(), recently_posted()
    context = {
        "board": readiness(),
        "open_statements": statements[:MAX_STATEMENTS_SHOWN],
        "more_open": max(0, statements.count() - MAX_STATEMENTS_SHOWN),
        "quarantined": quarantined_documents(),
        "posted": posted[:MAX_STATEMENTS_SHOWN],
        "more_posted": max(0, posted.count() - MAX_STATEMENTS_SHOWN),
        "voided": recently_voided(),
        "recent_days": RECENT_DAYS,
        "first_recent_day": first_recent_day(),
    }
    return render(request, "statements/end_of_day.html", context)
