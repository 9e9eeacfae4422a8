"""What all lists share: filters, order and page in the address, and the whole of it as CSV."""

import csv
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

from stores.filters import MOST_COUNTED, ListFilter, counted
from stores.tables import ListTable
from stores.views import Request

PER_PAGE = 25


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages of a list that is counted only up to a limit; a page that is not there is the last."""

    @cached_property
    def count(self) -> int:
        return min(self.found, MOST_COUNTED)

    @property
    def is_capped(self) -> bool:
        """Whether the list has more rows than are counted."""
        return self.found > MOST_COUNTED

    @cached_property
    def found(self) -> int:
        rows: Any = self.object_list
        return counted(rows.data.data)

    def validate_number(self, number: Any) -> int:
        return max(1, min(int(number), self.num_pages))


def respond(
    request: Request,
    filters: ListFilter,
    table_class: type[ListTable],
    template: str = "list.html",
    **context: Any,
) -> HttpResponseBase:
    """The page of a list; for htmx only the list; with ?_export=csv all its rows."""
    table = configured(table_class(filters.qs), request)
    if request.GET.get("_export") == "csv":
        return as_csv(table, filename=request.path.strip("/").replace("/", "-"))
    context |= {"table": table, "filters": filters}
    response = render(request, "_list.html" if request.htmx else template, context)
    patch_vary_headers(response, ["HX-Request"])
    return response


def configured(table: ListTable, request: Request) -> ListTable:
    """The table, ordered and cut as the address says."""
    table.request = request
    if order := request.GET.get("sort"):
        table.order_by = order
    table.data.data = steady(table.data.data)
    page = request.GET.get("page", "")
    wanted = int(page) if page.isdecimal() and len(page) < 10 else 1
    table.paginate(paginator_class=CappedPaginator, per_page=PER_PAGE, page=wanted)
    return table


def steady(rows: QuerySet[Any]) -> QuerySet[Any]:
    """One order for rows that compare equal, or some would show on two pages."""
    order = rows.query.order_by or tuple(rows.model._meta.ordering)
    return rows.order_by(*order, "pk")


class Echo:
    """A file that hands back what is written to it."""

    def write(self, line: str) -> str:
        return line


def as_csv(table: ListTable, filename: str) -> HttpResponseBase:
    """All rows of the list, sent while they are read."""
    writer = csv.writer(Echo())
    lines: Iterator[str] = map(writer.writerow, table.csv_rows())
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}.csv"'
    return response


def part_or_page(request: Request, part: str, page: str, context: dict[str, Any]) -> HttpResponse:
    """A page, or for htmx only the part that it refreshes."""
    response = render(request, part if request.htmx else page, context)
    patch_vary_headers(response, ["HX-Request"])
    return response
