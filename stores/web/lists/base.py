"""What all lists are made of: filters from an allow-list of fields, tables, columns.

A count on a page comes from the same filter as the list it links to, so both always agree.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

import django_filters as filters
import django_tables2 as tables
from django import forms
from django.db.models import QuerySet
from django.utils import timezone
from django_tables2.columns import BoundColumn
from django_tables2.rows import BoundRow

from stores.models import Channel, Company
from stores.models.reason import REASONS
from stores.pipeline.events.document_tables import HEADER
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.web.components import badge
from stores.web.format import EMPTY_VALUE, rows_word
from stores.web.lists.csv_cells import csv_cell

Rows = QuerySet[Any]


def channels() -> list[tuple[str, str]]:
    return [(channel.code, channel.name) for channel in Channel.objects.all()]


def companies() -> list[tuple[str, str]]:
    return [(company.code, company.name) for company in Company.objects.all()]


def short_reason(reason: str) -> str:
    known = REASONS.get(reason)
    text = known.text.removeprefix("{field}: ").rstrip(".") if known else reason
    return text[:1].upper() + text[1:]


def reasons() -> list[tuple[str, str]]:
    return [(code, short_reason(code)) for code in REASONS]


def choice_filter(
    choices: Any, label: str, empty: str = "All", method: str = "", field: str = ""
) -> filters.ChoiceFilter:
    """A list to choose one word from; any other word is an error."""
    how: dict[str, Any] = {"method": method} if method else {"field_name": field}
    return filters.ChoiceFilter(choices=choices, label=label, empty_label=empty, **how)


def text_filter(label: str, hint: str, **how: Any) -> filters.CharFilter:
    """A line to type; its hint says what is looked for."""
    typed = forms.TextInput(attrs={"type": "search", "placeholder": hint, "maxlength": 300})
    return filters.CharFilter(label=label, widget=typed, **how)


class DayFilter(filters.DateFilter):  # type: ignore[misc]
    """From the first moment of a day on, or until its last; an index on the moment serves both."""

    def filter(self, rows: Rows, value: date | None) -> Rows:
        if value is None:
            return rows
        is_last = self.lookup_expr == "lt"
        if is_last and value == date.max:
            return rows
        start = datetime.combine(value + timedelta(days=is_last), time.min)
        filtered: Rows = super().filter(rows, timezone.make_aware(start))
        return filtered


DATE_INPUT = forms.DateInput(attrs={"type": "date"})


def day_filter(label: str, field: str, lookup: str) -> DayFilter:
    return DayFilter(label=label, field_name=field, lookup_expr=lookup, widget=DATE_INPUT)


EVENT_TABLE_CHOICES = [(kind.event, f"{kind.name.capitalize()} events") for kind in EVENT_KINDS]

DOCUMENT_CHOICE = (HEADER.event, rows_word(HEADER.event))


class ListFilter(filters.FilterSet):  # type: ignore[misc]
    """A list's filters. What cannot be understood finds nothing, and says so."""

    # What a reader of the list must know about it.
    note = ""

    def filter_queryset(self, queryset: Rows) -> Rows:
        return queryset.none() if self.form.errors else super().filter_queryset(queryset)


def business_day_filter(
    label: str, lookup: str, field: str = "business_date"
) -> filters.DateFilter:
    """A day of the store's own, which has no hours."""
    return filters.DateFilter(label=label, field_name=field, lookup_expr=lookup, widget=DATE_INPUT)


def status_filter(closed_at: str, closed: str = "closed") -> filters.ChoiceFilter:
    """Rows that are open, or those that have been closed: a moment says so."""
    return filters.ChoiceFilter(
        choices=[("open", "Open"), (closed, closed.capitalize())],
        label="Status",
        empty_label="All",
        method=lambda rows, name, value: rows.filter(**{f"{closed_at}__isnull": value == "open"}),
    )


class Formatted(tables.Column):  # type: ignore[misc]
    """A cell that a function formats; the CSV gets the bare value."""

    def __init__(self, function: Callable[[Any], str], **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def render(self, value: Any) -> str:
        return self.function(value)

    def value(self, value: Any) -> Any:
        return value


class State(tables.Column):  # type: ignore[misc]
    """A cell with the badge of a state; the CSV gets its word."""

    def __init__(self, look: Callable[[str], str] = str, **options: Any) -> None:
        super().__init__(**options)
        self.look = look

    def render(self, record: Any, bound_column: BoundColumn) -> str:
        state = getattr(record, bound_column.name)
        word = getattr(record, f"get_{bound_column.name}_display", str)()
        return badge(self.look(state), word)

    def value(self, value: Any) -> Any:
        return value


class Cell(tables.TemplateColumn):  # type: ignore[misc]
    """A cell drawn by a template; the CSV gets the bare value."""

    def __init__(self, template: str, **options: Any) -> None:
        super().__init__(template_name=f"cells/{template}.html", **options)

    def value(self, value: Any) -> Any:
        return value


def wide_only(screen: str = "lg", css: str = "") -> dict[str, Any]:
    """Attributes of a column that only screens of some width show."""
    classes = f"d-none d-{screen}-table-cell {css}".strip()
    return {"th": {"class": classes}, "td": {"class": classes}}


def bidirectional(attrs: dict[str, Any] | None = None) -> dict[str, Any]:
    """Attributes of a column of people's texts: each cell runs as its own letters do."""
    given = attrs or {}
    return given | {"td": given.get("td", {}) | {"dir": "auto"}}


class DayColumn(tables.DateColumn):  # type: ignore[misc]
    """A day, written as on all other pages."""

    def __init__(self, title: str, **options: Any) -> None:
        super().__init__(verbose_name=title, format="Y-m-d", **options)


NUMERIC = {"th": {"class": "num"}, "td": {"class": "num"}}
NOWRAP = {"td": {"class": "text-nowrap"}}


class ListTable(tables.Table):  # type: ignore[misc]
    caption = "List"
    # The columns of each order that an index carries, both ways; its rows can be walked to the end.
    walks: tuple[tuple[str, ...], ...] = (("pk",),)

    class Meta:
        attrs = {"class": "table"}
        default = EMPTY_VALUE

    def csv_rows(self, records: Iterable[Any]) -> Iterator[list[Any]]:
        """Header and rows as CSV cells, one by one; also of columns that no page has room for."""
        columns = [column.name for column in self.columns.iterall()]
        yield [str(column.header) for column in self.columns.iterall()]
        for record in records:
            row = BoundRow(record, table=self)
            yield [csv_cell(row.get_cell_value(name)) for name in columns]
