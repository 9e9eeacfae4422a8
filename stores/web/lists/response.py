"""Responses of list pages.

A list page has *filters* (django-filter), and a *table* (django-tables2) with some of the rows that
the filters keep. The same URL answers in three ways:

- A browser gets the whole page.
- htmx, which asks again whenever a filter changes, gets only the part of the page with the table.
- The button CSV adds _export=csv to the URL, and gets a file of all rows that the filters keep.
"""

import csv
from collections.abc import Callable, Iterable
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
    template: str,
    **context: Any,
) -> HttpResponseBase:
    """The response of a list page.

    `context` is for the parts of its template beside the list; `table` and `filters` are added.
    """
    table = table_class(filters.qs)
    # django-tables2 renders the templates of cells with both. Some cells show a next step only to
    # users with the permission.
    table.request = request
    table.context = Context({"user": request.user})
    pager = Pager(table, request.GET)
    if wants_csv(request):
        # The page /transactions/ gives transactions.csv. No list is at the root.
        filename = request.path.strip("/").replace("/", "-")
        return csv_response(request, table, pager.all_rows(), filename)
    table.paginator = pager
    table.page = pager.page()
    if not table.page.object_list:
        table.empty_text = empty_text(table, filters)
    return part_or_page(
        request,
        {**context, "table": table, "filters": filters},
        part="_list.html",
        page=template,
    )


def empty_text(table: ListTable, filters: ListFilter) -> str:
    """What an empty page of a list says instead of rows."""
    if filters.form.errors:
        return "Nothing is listed: one of the filters is invalid."
    if filters.queryset.exists():
        return "No rows match the filters. Clear the filters to see all rows."
    # There are no rows at all: the table says how the first ones come about.
    return table.if_empty


def part_or_page(
    request: Request, context: dict[str, Any], *, part: str, page: str
) -> HttpResponse:
    """Render one of two templates: for htmx the part that it replaces on a page, else the page."""
    response = render(request, part if request.htmx else page, context)
    # Caches must not give the part to a browser that asks for the page.
    patch_vary_headers(response, ["HX-Request"])
    return response


def wants_csv(request: Request) -> bool:
    return request.GET.get("_export") == "csv"


def csv_response(
    request: Request, table: ListTable, rows: Iterable[Any], filename: str
) -> HttpResponseBase:
    """Stream rows as a CSV file to users with the permission.

    Errors: PermissionDenied for others.
    """
    check_permissions(request, "export lists as CSV", "stores.export")
    # All cells are quoted: some spreadsheets also split lines at semicolons.
    writer = csv.writer(EchoBuffer(), quoting=csv.QUOTE_ALL)
    # writerow() returns what the buffer's write() returns, which is the line.
    lines = (writer.writerow(row) for row in table.csv_rows(rows))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}.csv"'
    return response


class EchoBuffer:
    """A file that returns each line instead of keeping it, so that a long CSV needs no memory."""

    def write(self, line: str) -> str:
        return line
