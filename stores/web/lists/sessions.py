"""Upload and download sessions: what went up from the channels, and down to them."""

from typing import Any

import django_filters as filters
import django_tables2 as tables
from django import forms
from django.db.models import QuerySet

from stores.models import DownloadSession, UploadSession
from stores.models.session import DownloadStatus, UploadStatus
from stores.web.components import when
from stores.web.format import number, size
from stores.web.lists.base import (
    NUMERIC,
    Cell,
    Formatted,
    ListFilter,
    ListTable,
    channels,
    choice_filter,
    first_day_filter,
    last_day_filter,
    wide_only,
)


def status_choices(statuses: Any, never: set[str]) -> list[tuple[str, str]]:
    """The states that a session can be found in; the others are words that nothing sets yet."""
    return [(status.value, status.label) for status in statuses if status.name not in never]


class SessionFilter(ListFilter):
    channel = choice_filter(channels, "Channel", field="database__channel__code")
    since = first_day_filter("From", "started_at")
    until = last_day_filter("To", "started_at")
    # Followed from a run or a trace, not typed.
    run = filters.UUIDFilter(label="Run", field_name="run", widget=forms.HiddenInput)
    session = filters.UUIDFilter(label="Session", field_name="id", widget=forms.HiddenInput)


class UploadFilter(SessionFilter):
    status = choice_filter(status_choices(UploadStatus, {"STARTED"}), "Status", field="status")


class DownloadFilter(SessionFilter):
    status = choice_filter(
        status_choices(
            DownloadStatus,
            {"STARTED", "CREATE_FAILED", "NO_DATA", "SUSPENDED"},
        ),
        "Status",
        field="status",
    )


class SessionTable(ListTable):
    indexed_orders = (("started_at", "pk"),)

    started_at = Formatted(when, verbose_name="Started", order_by=("started_at", "pk"))
    database = tables.Column("Channel", order_by=("database__channel__code", "database__name"))
    status = Cell("session_status", verbose_name="Status")


def count_cell(title: str, screen: str = "") -> Formatted:
    return Formatted(
        number, verbose_name=title, attrs=wide_only(screen, "num") if screen else NUMERIC
    )


class UploadTable(SessionTable):
    caption = "Upload sessions"

    read = count_cell("Rows", "sm")
    staged = count_cell("Staged")
    unchanged = count_cell("Unchanged", "xl")
    quarantined = count_cell("Quarantined", "md")
    waiting = count_cell("Left", "xl")
    size_bytes = Formatted(size, verbose_name="Size", attrs=wide_only("xl", "num"))
    run = Cell("run_link", verbose_name="Run", accessor="run_id", attrs=wide_only("md"))
    message = tables.Column("Message", visible=False)

    class Meta(ListTable.Meta):
        sequence = ("started_at", "database", "status", "...")
        empty_text = "No uploads yet. A session is created when a P-job finds events in a channel."


class DownloadTable(SessionTable):
    caption = "Download sessions"

    package = tables.Column("Package", linkify=True, empty_values=(), attrs=wide_only("lg"))
    tries = count_cell("Tries", "xl")
    customers = count_cell("Customers")
    rows = count_cell("Rows", "md")
    size_bytes = Formatted(size, verbose_name="Size", attrs=wide_only("xl", "num"))
    run = Cell("run_link", verbose_name="Run", accessor="run_id", attrs=wide_only("md"))
    message = tables.Column("Message", visible=False)

    def render_package(self, record: DownloadSession) -> str:
        return str(record.package or "Single customers")

    class Meta(ListTable.Meta):
        sequence = ("started_at", "database", "status", "...")
        empty_text = (
            "No downloads yet. A session is created when 1010 has customers to send to a channel."
        )


def all_uploads() -> QuerySet[UploadSession]:
    return UploadSession.objects.select_related("database__channel")


def all_downloads() -> QuerySet[DownloadSession]:
    return DownloadSession.objects.select_related("database__channel", "package")
