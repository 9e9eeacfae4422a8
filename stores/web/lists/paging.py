"""Pages of a list of any length, each at the same cost.

Where an index has the order of a list (`ListTable.indexed_orders`), a page begins after a row whose
key the URL names (`after` or `before`). In any other order the first MAX_COUNTED rows are sorted,
and the URL names the number of the page (`page`).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Func, QuerySet, Value
from django.db.models.lookups import GreaterThan, GreaterThanOrEqual, LessThan, LessThanOrEqual
from django.http import QueryDict
from django_tables2.rows import BoundRow

from stores.web.counts import MAX_COUNTED, Length, length
from stores.web.lists.base import ListTable

PER_PAGE = 25
CSV_CHUNK = 2_000
# Separates the values of a key in a URL; only the last value can contain it.
KEY_SEPARATOR = "~"
PAGE_PARAMETERS = ("after", "before", "page")


@dataclass(frozen=True)
class Order:
    """A total order of rows by columns that are all ascending or all descending."""

    columns: tuple[str, ...]
    is_descending: bool

    def apply(self, rows: QuerySet[Any], *, backwards: bool = False) -> QuerySet[Any]:
        sign = "-" if self.is_descending != backwards else ""
        return rows.order_by(*(sign + column for column in self.columns))

    def rows_after(self, rows: QuerySet[Any], values: list[Any]) -> QuerySet[Any]:
        compare = LessThan if self.is_descending else GreaterThan
        return self.apply(rows.filter(self.compare(compare, values)))

    def rows_before(self, rows: QuerySet[Any], values: list[Any]) -> QuerySet[Any]:
        """The rows before the one with these values in the columns, the nearest first."""
        compare = GreaterThan if self.is_descending else LessThan
        return self.apply(rows.filter(self.compare(compare, values)), backwards=True)

    def rows_up_to(self, rows: QuerySet[Any], values: list[Any]) -> QuerySet[Any]:
        compare = GreaterThanOrEqual if self.is_descending else LessThanOrEqual
        return rows.filter(self.compare(compare, values))

    def compare(self, lookup: type[Any], values: list[Any]) -> Any:
        """Compare the columns with the values as one row, as an index of several columns does."""
        return lookup(row_value(map(F, self.columns)), row_value(map(Value, values)))

    def values(self, record: models.Model) -> list[Any]:
        return [getattr(record, column) for column in self.columns]

    def key(self, record: models.Model) -> str:
        """The values of a row as a URL names them."""
        return KEY_SEPARATOR.join(
            value.isoformat() if isinstance(value, datetime) else str(value)
            for value in self.values(record)
        )

    def parse_key(self, model: type[models.Model], key: str) -> list[Any]:
        """Convert a key to the values of the columns. Errors: ValueError."""
        texts = key.split(KEY_SEPARATOR, len(self.columns) - 1)
        try:
            return [
                parse_value(model, column, text)
                for column, text in zip(self.columns, texts, strict=True)
            ]
        except (ValidationError, OverflowError) as error:
            raise ValueError("a value of the key has another type") from error


def parse_value(model: type[models.Model], column: str, text: str) -> Any:
    """Convert a text to the type of a column. Errors: ValidationError, OverflowError."""
    field: Any = model._meta.pk if column == "pk" else model._meta.get_field(column)
    value = field.to_python(text)
    # PostgreSQL refuses the first and last hours of other time zones.
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def row_value(expressions: Iterable[Any]) -> Func:
    return Func(*expressions, function="ROW", output_field=models.TextField())


def column_order(rows: QuerySet[Any]) -> tuple[str, ...]:
    """The columns by which the rows are ordered; a minus marks a descending one."""
    return tuple(str(column) for column in rows.query.order_by or rows.model._meta.ordering)


def indexed_order(table: ListTable, rows: QuerySet[Any]) -> Order | None:
    columns = column_order(rows)
    names = tuple(column.removeprefix("-") for column in columns)
    if names not in table.indexed_orders:
        return None
    descending = [column.startswith("-") for column in columns]
    if any(descending) != all(descending):
        return None
    return Order(names, all(descending))


@dataclass(frozen=True)
class Page:
    """A page with the URLs of its neighbours; the URL of a page that does not exist is empty."""

    object_list: list[BoundRow]
    number: int
    first: str = ""
    previous: str = ""
    next: str = ""


class Pager:
    """Cuts the rows of a table into pages; `default_rows` have the list's own order."""

    def __init__(self, table: ListTable, query: QueryDict) -> None:
        self.table, self.query = table, query
        self.default_rows: QuerySet[Any] = table.data.data
        if sort := query.get("sort"):
            # django_tables2 would take a dot for an old syntax of relations.
            table.order_by = [column for column in sort.split(",") if "." not in column]
        self.rows: QuerySet[Any] = table.data.data
        self.order = indexed_order(table, self.rows)
        if self.order is None:
            self.rows = self.limited_rows()

    def limited_rows(self) -> QuerySet[Any]:
        rows = self.rows.order_by(*column_order(self.rows), "pk")
        default_order = indexed_order(self.table, self.default_rows)
        if default_order is None or not self.is_capped:
            return rows
        last = self.default_rows.values_list(*default_order.columns)[MAX_COUNTED - 1 : MAX_COUNTED]
        for values in last:
            return default_order.rows_up_to(rows, list(values))
        return rows

    @cached_property
    def length(self) -> Length:
        return length(self.default_rows)

    @property
    def count(self) -> int:
        """The number of rows, at most MAX_COUNTED unless it is an estimate."""
        return min(self.length.count, MAX_COUNTED) if self.length.is_exact else self.length.count

    @property
    def is_capped(self) -> bool:
        """Whether the list has more rows than were counted."""
        return self.length.count > MAX_COUNTED or not self.length.is_exact

    @property
    def sorts_only(self) -> int:
        """The number of rows that were sorted if the list has more, else 0."""
        return MAX_COUNTED if self.order is None and self.is_capped else 0

    @property
    def num_pages(self) -> int:
        """The number of the last page that has a number."""
        return max(1, math.ceil(min(self.length.count, MAX_COUNTED) / PER_PAGE))

    @property
    def requested_number(self) -> int:
        number = self.query.get("page", "")
        return max(1, int(number)) if number.isdecimal() and len(number) < 10 else 1

    def page(self) -> Page:
        """The requested page; the first one if the URL has an invalid key."""
        try:
            return (
                self.page_after_key()
                or self.page_before_key()
                or self.numbered_page(self.requested_number)
            )
        except ValueError:
            return self.numbered_page(1)

    def page_after_key(self) -> Page | None:
        key = self.query.get("after")
        if not key or not self.order:
            return None
        values = self.order.parse_key(self.rows.model, key)
        records = list(self.order.rows_after(self.rows, values)[: PER_PAGE + 1])
        if not records:
            return None
        return self.make_page(
            records[:PER_PAGE],
            self.requested_number,
            has_previous=True,
            has_next=len(records) > PER_PAGE,
        )

    def page_before_key(self) -> Page | None:
        key = self.query.get("before")
        if not key or not self.order:
            return None
        values = self.order.parse_key(self.rows.model, key)
        records = list(self.order.rows_before(self.rows, values)[: PER_PAGE + 1])
        if len(records) <= PER_PAGE:
            return self.numbered_page(1)
        page = records[:PER_PAGE]
        page.reverse()
        # At least the row of the key comes after these.
        return self.make_page(page, self.requested_number, has_previous=True, has_next=True)

    def numbered_page(self, number: int) -> Page:
        """The page with a number; the last page if there are not as many."""
        number = min(number, self.num_pages)
        start = (number - 1) * PER_PAGE
        records = list(self.rows[start : start + PER_PAGE + 1])
        if not records and number > 1:
            # The length was estimated, or rows have left the list.
            return self.numbered_page(1)
        return self.make_page(
            records[:PER_PAGE], number, has_previous=number > 1, has_next=len(records) > PER_PAGE
        )

    def make_page(
        self, records: list[Any], number: int, *, has_previous: bool, has_next: bool
    ) -> Page:
        return Page(
            [BoundRow(record, table=self.table) for record in records],
            number,
            first=self.url() if has_previous else "",
            previous=self.url_beside("before", records[0], number - 1) if has_previous else "",
            next=self.url_beside("after", records[-1], number + 1) if has_next else "",
        )

    def url_beside(self, side: str, record: Any, number: int) -> str:
        """The URL of the page before or after a row; `number` is the page's."""
        key = {side: self.order.key(record)} if self.order else {}
        return self.url(**key, page=str(max(1, number)))

    def url(self, **parameters: str) -> str:
        query = self.query.copy()
        for name in PAGE_PARAMETERS:
            query.pop(name, None)
        query.update(parameters)
        return f"?{query.urlencode()}"

    def all_rows(self) -> Iterator[Any]:
        """Yield all rows in short queries; a list too long to be sorted has its default order."""
        rows = self.default_rows if self.order is None and self.is_capped else self.rows
        order = indexed_order(self.table, rows)
        if order is None:
            yield from rows.iterator(chunk_size=CSV_CHUNK)
            return
        chunk = list(order.apply(rows)[:CSV_CHUNK])
        while chunk:
            yield from chunk
            chunk = list(order.rows_after(rows, order.values(chunk[-1]))[:CSV_CHUNK])
