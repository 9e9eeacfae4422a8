"""What all lists share: filters, order and page in the address, and the whole of it as CSV."""

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template import Context
from django.utils.cache import patch_vary_headers

from stores.web.lists.base import ListFilter, ListTable
from stores.web.lists.paging import Pager
from stores.web.permissions import check_permissions
from stores.web.request import Request


def respond(
    request: Request,
    filters: ListFilter,
    table_class: type[ListTable],
    template: str = "list.html",
    **context: Any,
) -> HttpResponseBase:
    """The page of a list; for htmx only the list; with ?_export=csv all its rows."""
    table = table_class(filters.qs)
    table.request = request
    # What a cell may say depends on who reads it.
    table.context = Context({"user": request.user})
    table.paginator = Pager(table, request.GET)
    if request.GET.get("_export") == "csv":
        rows = table.paginator.every_row()
        return as_csv(request, table, rows, filename=request.path.strip("/").replace("/", "-"))
    table.page = table.paginator.page()
    if not table.page.object_list:
        table.empty_text = why_empty(filters) or table.empty_text
    context |= {"table": table, "filters": filters}
    response = render(request, "_list.html" if request.htmx else template, context)
    patch_vary_headers(response, ["HX-Request"])
    return response


def why_empty(filters: ListFilter) -> str:
    """That only the filters leave nothing over; empty where the list has no row at all."""
    if filters.form.errors:
        return "Nothing is listed: one of the filters is invalid."
    if not filters.queryset.exists():
        return ""
    return "No rows match the filters. Clear the filters to see all rows."


class EchoBuffer:
    """A file that returns what is written to it."""

    def write(self, line: str) -> str:
        return line


def as_csv(
    request: Request, table: ListTable, rows: Iterable[Any], filename: str
) -> HttpResponseBase:
    """Rows of a list, sent while they are read, to those who may have them."""
    check_permissions(
        request, "You do not have permission to export lists as CSV.", "stores.export"
    )
    # In quotes a text stays one cell, whatever a spreadsheet divides cells by.
    writer = csv.writer(EchoBuffer(), quoting=csv.QUOTE_ALL)
    lines: Iterator[str] = map(writer.writerow, table.csv_rows(rows))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}.csv"'
    return response


def part_or_page(request: Request, part: str, page: str, context: dict[str, Any]) -> HttpResponse:
    """A page, or for htmx only the part that it refreshes."""
    response = render(request, part if request.htmx else page, context)
    patch_vary_headers(response, ["HX-Request"])
    return response
