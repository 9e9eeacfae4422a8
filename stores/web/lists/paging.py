"""Pages of a list of any length at one price.

A list is walked along an index: a page begins after a row, whose key the address names, never after
a number of rows. The orders that an index carries are the table's `walks`. Any other order takes
the first MAX_COUNTED rows of the list's own order and sorts those; they are few enough to number
their pages.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Func, QuerySet, Value
from django.db.models.lookups import (
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
)
from django.http import QueryDict
from django_tables2.rows import BoundRow

from stores.web.counts import MAX_COUNTED, Length, length
from stores.web.lists.base import ListTable

PER_PAGE = 25
CSV_CHUNK = 2_000
# Between the values of a key in the address; only the last value may hold one itself.
KEY_SEPARATOR = "~"
# What says in an address where a list goes on.
PLACE_PARAMETERS = ("after", "before", "page")


@dataclass(frozen=True)
class Order:
    """A total order of rows: its columns, all rising or all falling."""

    columns: tuple[str, ...]
    is_falling: bool

    def key(self, record: models.Model) -> str:
        """The place of a row, as an address names it."""
        values = (getattr(record, column) for column in self.columns)
        return KEY_SEPARATOR.join(
            value.isoformat() if isinstance(value, datetime) else str(value) for value in values
        )

    def place(self, model: type[models.Model], key: str) -> list[Any]:
        """The values of a key, in its columns' types. Errors: ValueError for no key of ours."""
        texts = key.split(KEY_SEPARATOR, len(self.columns) - 1)
        fields = [field_of(model, column) for column in self.columns]
        try:
            return [value_of(field, text) for field, text in zip(fields, texts, strict=True)]
        except (ValidationError, OverflowError) as trouble:
            raise ValueError("a value of the key is of another type") from trouble

    def apply(self, rows: QuerySet[Any], *, backwards: bool = False) -> QuerySet[Any]:
        sign = "-" if self.is_falling != backwards else ""
        return rows.order_by(*(sign + column for column in self.columns))

    def beyond(
        self, rows: QuerySet[Any], place: list[Any], *, backwards: bool = False
    ) -> QuerySet[Any]:
        """The rows after a place, or those before it, nearest first."""
        compare = LessThan if self.is_falling != backwards else GreaterThan
        return self.apply(rows.filter(self.compared(compare, place)), backwards=backwards)

    def until(self, rows: QuerySet[Any], place: Iterable[Any]) -> QuerySet[Any]:
        compare = GreaterThanOrEqual if self.is_falling else LessThanOrEqual
        return rows.filter(self.compared(compare, place))

    def compared(self, compare: type[Any], place: Iterable[Any]) -> Any:
        return compare(row_value(map(F, self.columns)), row_value(map(Value, place)))


def value_of(field: Any, text: str) -> Any:
    """A text in a column's type. Errors: ValidationError; OverflowError for a time beyond all."""
    value = field.to_python(text)
    # The database is asked in UTC, where the first and the last hours of a zone do not exist.
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def row_value(parts: Iterable[Any]) -> Func:
    """Several values compared as one, in the way of an index of several columns."""
    return Func(*parts, function="ROW", output_field=models.TextField())


def field_of(model: type[models.Model], column: str) -> Any:
    return model._meta.pk if column == "pk" else model._meta.get_field(column)


def order_of(rows: QuerySet[Any]) -> tuple[str, ...]:
    return tuple(map(str, rows.query.order_by or rows.model._meta.ordering))


def index_order(table: ListTable, rows: QuerySet[Any]) -> Order | None:
    """The order of the rows, if an index carries it."""
    names = order_of(rows)
    columns = tuple(name.removeprefix("-") for name in names)
    falling = {name.startswith("-") for name in names}
    return Order(columns, falling.pop()) if columns in table.walks and len(falling) == 1 else None


@dataclass(frozen=True)
class Page:
    """Some rows of a list, with the addresses around them; an address is empty where none is."""

    object_list: list[BoundRow]
    number: int
    first: str = ""
    previous: str = ""
    next: str = ""


class Pager:
    """A list cut into pages: how long it is, and the page that an address asks for."""

    def __init__(self, table: ListTable, query: QueryDict) -> None:
        """Take the table's rows in the order that the address names, else in their own."""
        self.table, self.query = table, query
        self.own: QuerySet[Any] = table.data.data
        if sort := query.get("sort"):
            # Names of columns only: the library takes a dot for a path of another syntax.
            table.order_by = [name for name in sort.split(",") if "." not in name]
        self.rows: QuerySet[Any] = table.data.data
        self.order = index_order(table, self.rows)
        if self.order is None:
            self.rows = self.sorted_rows()

    def sorted_rows(self) -> QuerySet[Any]:
        """The rows in an order that no index carries: at most so many, the first of the list."""
        rows, own = (
            self.rows.order_by(*order_of(self.rows), "pk"),
            index_order(self.table, self.own),
        )
        if own and self.is_capped:
            last = self.own.values_list(*own.columns)[MAX_COUNTED - 1 : MAX_COUNTED]
            for place in last:
                return own.until(rows, place)
        return rows

    @cached_property
    def length(self) -> Length:
        return length(self.own)

    @property
    def count(self) -> int:
        return min(self.length.count, MAX_COUNTED) if self.length.is_exact else self.length.count

    @property
    def is_capped(self) -> bool:
        return self.length.count > MAX_COUNTED or not self.length.is_exact

    @property
    def sorts_only(self) -> int:
        """How many rows were sorted, where the list has more of them; else none."""
        return MAX_COUNTED if self.order is None and self.is_capped else 0

    @property
    def num_pages(self) -> int:
        """The number of the last page that can be asked for by its number."""
        return max(1, -(-min(self.length.count, MAX_COUNTED) // PER_PAGE))

    def page(self) -> Page:
        """The page after or before a row, else by its number; one that is not there is the last."""
        try:
            return self.page_after() or self.page_before() or self.numbered(self.asked_number)
        except ValueError:
            return self.numbered(1)

    @property
    def asked_number(self) -> int:
        text = self.query.get("page", "")
        return max(1, int(text)) if text.isdecimal() and len(text) < 10 else 1

    def page_after(self) -> Page | None:
        key = self.query.get("after")
        if not key or not self.order:
            return None
        following = self.order.beyond(self.rows, self.order.place(self.rows.model, key))
        records = list(following[: PER_PAGE + 1])
        return self.cut(records, self.asked_number, has_previous=True) if records else None

    def page_before(self) -> Page | None:
        key = self.query.get("before")
        if not key or not self.order:
            return None
        place = self.order.place(self.rows.model, key)
        records = list(self.order.beyond(self.rows, place, backwards=True)[: PER_PAGE + 1])[::-1]
        if len(records) <= PER_PAGE:
            return self.numbered(1)
        # One more row than fits comes before these, and at least the key's own after them.
        return self.cut([*records[1:], None], self.asked_number, has_previous=True)

    def numbered(self, number: int) -> Page:
        number = min(number, self.num_pages)
        start = (number - 1) * PER_PAGE
        records = list(self.rows[start : start + PER_PAGE + 1])
        return self.cut(records, number, has_previous=number > 1)

    def cut(self, records: list[Any], number: int, *, has_previous: bool) -> Page:
        """A page of the rows that fit on it; a further one says that there is a next page."""
        shown = records[:PER_PAGE]
        return Page(
            [BoundRow(record, table=self.table) for record in shown],
            number,
            first=self.address() if has_previous else "",
            previous=self.beside(shown, number, -1) if has_previous else "",
            next=self.beside(shown, number, +1) if len(records) > PER_PAGE else "",
        )

    def beside(self, shown: list[Any], number: int, step: int) -> str:
        page = str(max(1, number + step))
        if self.order is None:
            return self.address(page=page)
        if step > 0:
            return self.address(after=self.order.key(shown[-1]), page=page)
        return self.address(before=self.order.key(shown[0]), page=page)

    def address(self, **place: str) -> str:
        query = self.query.copy()
        for name in PLACE_PARAMETERS:
            query.pop(name, None)
        query.update(place)
        return f"?{query.urlencode()}"

    def every_row(self) -> Iterator[Any]:
        """All rows, in short queries: no list is too long for it, and nothing is held open.

        A list too long to be sorted comes in its own order.
        """
        rows = self.own if self.order is None and self.is_capped else self.rows
        order = index_order(self.table, rows)
        if order is None:
            yield from rows.iterator(chunk_size=CSV_CHUNK)
            return
        chunk = list(order.apply(rows)[:CSV_CHUNK])
        while chunk:
            yield from chunk
            place = [getattr(chunk[-1], column) for column in order.columns]
            chunk = list(order.beyond(rows, place)[:CSV_CHUNK])
