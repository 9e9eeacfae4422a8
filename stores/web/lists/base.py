"""The parts of a list page: filters, tables and columns.

A list declares its filters, so a query string can name no other column.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

import django_filters as filters
import django_tables2 as tables
from django import forms
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext
from django_tables2.columns import BoundColumn
from django_tables2.rows import BoundRow

from stores.messages.labels import label as field_label
from stores.messages.message import EMPTY
from stores.messages.reasons import REASONS, explain
from stores.models import Channel, Company
from stores.pipeline.events.document_tables import HEADER
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.pipeline.sales.refused import SALE_REFUSED, SUM_TOO_LARGE
from stores.pipeline.sales.rules import SALE_RULES
from stores.web.components import badge, when
from stores.web.format import EMPTY_VALUE, rows_word
from stores.web.lists.csv_cells import csv_cell
from stores.web.permissions import message_for

Rows = QuerySet[Any]

# The rules for sales in the order in which they are checked, those that posting checks last, each
# with its field.
RULE_FIELDS = {rule.code: rule.field for rule in SALE_RULES} | {
    SUM_TOO_LARGE: "amount",
    SALE_REFUSED: "transaction_id",
}


def channels() -> list[tuple[str, str]]:
    return [(channel.code, channel.name) for channel in Channel.objects.all()]


def companies() -> list[tuple[str, str]]:
    return [(company.code, company.name) for company in Company.objects.all()]


def reasons() -> list[tuple[str, str]]:
    return reason_choices({code: RULE_FIELDS.get(code) for code in REASONS})


def reason_choices(fields: Mapping[str, str | None]) -> list[tuple[str, str]]:
    """Each reason by its sentence; those with the same sentence are told apart by their fields."""
    titles = {code: short_reason(code) for code in fields}
    occurrences = Counter(titles.values())
    for code, field in fields.items():
        if field and occurrences[titles[code]] > 1:
            titles[code] = explain(code, field_label(field)).rstrip(".")
    return list(titles.items())


def short_reason(code: str) -> str:
    """The sentence of a reason without its field and its full stop."""
    reason = REASONS.get(code)
    text = gettext(reason.text).removeprefix("%(field)s: ").rstrip(".") if reason else code
    return text[:1].upper() + text[1:]


def choice_filter(
    choices: Any, label: str, empty: str = "All", method: str = "", field: str = ""
) -> filters.ChoiceFilter:
    """A drop-down list that filters by a column or by a method of the filter set."""
    target = {"method": method} if method else {"field_name": field}
    return filters.ChoiceFilter(choices=choices, label=label, empty_label=empty, **target)


def search_filter(placeholder: str) -> filters.CharFilter:
    """A search box for the method `search`; the placeholder says what can be searched for."""
    attrs = {"type": "search", "placeholder": placeholder, "maxlength": 300}
    return filters.CharFilter(label="Search", method="search", widget=forms.TextInput(attrs=attrs))


def date_filter(label: str, field: str, lookup: str) -> filters.DateFilter:
    """Compares a column of dates with a day."""
    return filters.DateFilter(
        label=label, field_name=field, lookup_expr=lookup, widget=date_input()
    )


def date_input() -> forms.DateInput:
    return forms.DateInput(attrs={"type": "date"})


class FirstDayFilter(filters.DateFilter):  # type: ignore[misc]
    """Keeps the rows whose time is on a day or later.

    It compares with the time at which the day begins, because times have an index.
    """

    def __init__(self, label: str, field: str) -> None:
        super().__init__(label=label, field_name=field, lookup_expr="gte", widget=date_input())

    def filter(self, rows: Rows, value: date | None) -> Rows:
        filtered: Rows = super().filter(rows, value and start_of(value))
        return filtered


class LastDayFilter(filters.DateFilter):  # type: ignore[misc]
    """Keeps the rows whose time is on a day or earlier."""

    def __init__(self, label: str, field: str) -> None:
        super().__init__(label=label, field_name=field, lookup_expr="lt", widget=date_input())

    def filter(self, rows: Rows, value: date | None) -> Rows:
        if value is None or value == date.max:
            return rows
        filtered: Rows = super().filter(rows, start_of(value + timedelta(days=1)))
        return filtered


def start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


EVENT_TABLE_CHOICES = [(kind.event, f"{kind.noun.capitalize()} events") for kind in EVENT_KINDS]

DOCUMENT_CHOICE = (HEADER.event, rows_word(HEADER.event))


class ListFilter(filters.FilterSet):  # type: ignore[misc]
    """The filters of a list. While one of them is invalid, the list is empty and says so.

    django-filter calls the `method` of a filter with the rows, the filter's name and its value.
    """

    # A sentence that the page shows above the list.
    note = ""

    def filter_queryset(self, queryset: Rows) -> Rows:
        return queryset.none() if self.form.errors else super().filter_queryset(queryset)


def status_filter(closed_at: str, closed: str = "closed") -> filters.ChoiceFilter:
    """Keeps open rows, or closed ones; `closed_at` is the column of the time of closing."""
    return filters.ChoiceFilter(
        choices=[("open", "Open"), (closed, closed.capitalize())],
        label="Status",
        empty_label="All",
        method=lambda rows, name, value: rows.filter(**{f"{closed_at}__isnull": value == "open"}),
    )


class PlainValue:
    """A column whose plain values are in the CSV: django-tables2 calls `value` for an export."""

    def value(self, value: Any) -> Any:
        return value


class FormattedColumn(PlainValue, tables.Column):  # type: ignore[misc]
    """A column whose values a function formats on the page."""

    def __init__(self, title: str, function: Callable[[Any], str], **options: Any) -> None:
        super().__init__(title, **options)
        self.function = function

    def render(self, value: Any) -> str:
        return self.function(value)


class TimeColumn(FormattedColumn):
    """A column of times, shown as how long ago they are."""

    def __init__(self, title: str, **options: Any) -> None:
        super().__init__(title, when, **options)


class CreationColumn(TimeColumn):
    """The times of creation, sorted by id: ids ascend with them, and have an index."""

    def __init__(self, title: str, **options: Any) -> None:
        super().__init__(title, order_by="pk", **options)


class DatabaseColumn(tables.Column):  # type: ignore[misc]
    """A column of channel databases, sorted by channel and register; `field` is their column."""

    def __init__(self, title: str = "Channel", field: str = "database", **options: Any) -> None:
        order_by = (f"{field}__channel__code", f"{field}__name")
        super().__init__(title, order_by=order_by, **options)


class StateColumn(PlainValue, tables.Column):  # type: ignore[misc]
    """A column of states as badges; `look` gives the state whose colour and icon are shown."""

    def __init__(self, title: str, look: Callable[[str], str] = str, **options: Any) -> None:
        super().__init__(title, **options)
        self.look = look

    def render(self, record: Any, bound_column: BoundColumn) -> str:
        state = getattr(record, bound_column.name)
        word = getattr(record, f"get_{bound_column.name}_display", str)()
        return badge(self.look(state), word)


class TemplateColumn(PlainValue, tables.TemplateColumn):  # type: ignore[misc]
    """A column whose cells a template of templates/cells/ renders."""

    def __init__(self, title: str, template: str, **options: Any) -> None:
        super().__init__(template_name=f"cells/{template}.html", verbose_name=title, **options)


def wide_only(screen: str = "xl", css: str = "") -> dict[str, Any]:
    """Attributes of a column that only screens of at least this size show."""
    classes = f"d-none d-{screen}-table-cell {css}".strip()
    return {"th": {"class": classes}, "td": {"class": classes}}


def bidirectional(attrs: dict[str, Any] | None = None) -> dict[str, Any]:
    """Attributes of a column whose text may be written from left to right or right to left."""
    attrs = attrs or {}
    return attrs | {"td": attrs.get("td", {}) | {"dir": "auto"}}


class DayColumn(tables.DateColumn):  # type: ignore[misc]
    """A column of days in ISO format, as on all pages."""

    def __init__(self, title: str, **options: Any) -> None:
        super().__init__(verbose_name=title, format="Y-m-d", **options)


class MessageColumn(tables.Column):  # type: ignore[misc]
    """A column of messages as the user may read them, sorted by their codes.

    Of an empty one nothing is shown.
    """

    empty_values = (*tables.Column.empty_values, EMPTY)

    def render(self, value: Any, table: "ListTable") -> str:
        return message_for(value, table.context["user"])


NUMERIC = {"th": {"class": "num"}, "td": {"class": "num"}}
NOWRAP = {"td": {"class": "text-nowrap"}}


class ListTable(tables.Table):  # type: ignore[misc]
    """The table of a list.

    django-tables2 calls the method render_COLUMN, if there is one, for the cells of the page, and
    value_COLUMN for those of the CSV.
    """

    # The heading of the page, what it says about the list, and about a list without rows.
    title = ""
    lead = ""
    if_empty = ""
    # The orders that have an index, each by its columns; the pages of such a list have no limit.
    indexed_orders: tuple[tuple[str, ...], ...] = (("pk",),)

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows, default=EMPTY_VALUE, empty_text=self.if_empty)

    def csv_rows(self, records: Iterable[Any]) -> Iterator[list[Any]]:
        """Yield the header and then each record as CSV cells, hidden columns included."""
        columns = list(self.columns.iterall())
        yield [str(column.header) for column in columns]
        for record in records:
            row = BoundRow(record, table=self)
            yield [csv_cell(row.get_cell_value(column.name)) for column in columns]
