"""Responses of list pages: the page, the part that htmx refreshes, and the CSV."""

import csv
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template import Context
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from stores.web.lists.base import ListFilter, ListTable
from stores.web.lists.paging import Pager
from stores.web.permissions import check_permissions
from stores.web.request import Request


def list_view(
    filter_class: type[ListFilter],
    table_class: type[ListTable],
    all_rows: Callable[[], QuerySet[Any]],
    template: str = "list.html",
) -> Callable[[Request], HttpResponseBase]:
    """The view of a page that shows a list and nothing else."""

    @require_safe
    def view(request: Request) -> HttpResponseBase:
        filters = filter_class(request.GET, all_rows())
        return list_response(request, filters, table_class, template)

    return view


def list_response(
    request: Request,
    filters: ListFilter,
    table_class: type[ListTable],
    template: str = "list.html",
    **context: Any,
) -> HttpResponseBase:
    """Render one page of a list: whole, only its table for htmx, or with _export=csv all rows."""
    table = table_class(filters.qs)
    table.request = request
    # Cells show some next steps only to users with the permission.
    table.context = Context({"user": request.user})
    table.paginator = Pager(table, request.GET)
    if request.GET.get("_export") == "csv":
        filename = request.path.strip("/").replace("/", "-")
        return csv_response(request, table, table.paginator.all_rows(), filename)
    table.page = table.paginator.page()
    if not table.page.object_list:
        table.empty_text = why_empty(filters) or table.empty_text
    context |= {"table": table, "filters": filters}
    return part_or_page(request, "_list.html", template, context)


def why_empty(filters: ListFilter) -> str:
    if filters.form.errors:
        return "Nothing is listed: one of the filters is invalid."
    if not filters.queryset.exists():
        return ""
    return "No rows match the filters. Clear the filters to see all rows."


class EchoBuffer:
    """A file that returns what is written to it."""

    def write(self, line: str) -> str:
        return line


def csv_response(
    request: Request, table: ListTable, rows: Iterable[Any], filename: str
) -> HttpResponseBase:
    """Stream rows as CSV to users with the permission. Errors: PermissionDenied."""
    check_permissions(request, "export lists as CSV", "stores.export")
    # Quotes keep a text in one cell, whichever separator a spreadsheet expects.
    writer = csv.writer(EchoBuffer(), quoting=csv.QUOTE_ALL)
    lines: Iterator[str] = map(writer.writerow, table.csv_rows(rows))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}.csv"'
    return response


def part_or_page(request: Request, part: str, page: str, context: dict[str, Any]) -> HttpResponse:
    """Render for htmx the part of a page that it refreshes, else the page."""
    response = render(request, part if request.htmx else page, context)
    patch_vary_headers(response, ["HX-Request"])
    return response
