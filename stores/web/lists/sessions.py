"""Upload and download sessions: what went up from the channels, and down to them."""

import django_filters as filters
import django_tables2 as tables
from django import forms
from django.db.models import QuerySet

from stores.models import DownloadSession, UploadSession
from stores.models.session import DownloadStatus, UploadStatus
from stores.web.format import number, size
from stores.web.lists import base

# A session is started only while its transaction lasts, which nobody sees.
UPLOAD_STATUSES = [choice for choice in UploadStatus.choices if choice[0] != UploadStatus.STARTED]


class SessionFilter(base.ListFilter):
    channel = base.choice_filter(base.channels, "Channel", field="database__channel__code")
    since = base.FirstDayFilter("From", "started_at")
    until = base.LastDayFilter("To", "started_at")
    # Followed from a run or a trace, not typed.
    run = filters.UUIDFilter(label="Run", field_name="run", widget=forms.HiddenInput)
    session = filters.UUIDFilter(label="Session", field_name="id", widget=forms.HiddenInput)


class UploadFilter(SessionFilter):
    status = base.choice_filter(UPLOAD_STATUSES, "Status", field="status")


class DownloadFilter(SessionFilter):
    status = base.choice_filter(DownloadStatus.choices, "Status", field="status")


class SessionTable(base.ListTable):
    indexed_orders = (("started_at", "pk"),)

    started_at = base.TimeColumn("Started", order_by=("started_at", "pk"))
    database = base.DatabaseColumn()
    status = base.TemplateColumn("Status", "session_status")


def count_column(title: str, screen: str) -> base.FormattedColumn:
    """A column of numbers, on screens of at least this size."""
    return base.FormattedColumn(title, number, attrs=base.wide_only(screen, "num"))


class UploadTable(SessionTable):
    title = "Upload sessions"
    lead = "Uploads of events from the channels to headquarters, newest first."
    if_empty = "No uploads yet. A session is created when a P-job finds events in a channel."

    read = count_column("Rows", "md")
    staged = count_column("Staged", "sm")
    unchanged = count_column("Unchanged", "xl")
    quarantined = count_column("Quarantined", "md")
    waiting = count_column("Left", "xl")
    size_bytes = base.FormattedColumn("Size", size, attrs=base.wide_only("xl", "num"))
    run = base.TemplateColumn("Run", "run_link", accessor="run_id", attrs=base.wide_only("md"))
    message = base.MessageColumn("Message", visible=False)


class DownloadTable(SessionTable):
    title = "Download sessions"
    lead = "Downloads of accounts and changes to the channels, newest first."
    if_empty = (
        "No downloads yet. A session is created when 1010 has customers to send to a channel."
    )

    # The link is here, because narrow windows leave out the package.
    started_at = base.TimeColumn("Started", order_by=("started_at", "pk"), linkify=True)
    package = tables.Column("Package", empty_values=(), attrs=base.wide_only("lg"))
    tries = count_column("Tries", "xl")
    customers = count_column("Customers", "sm")
    rows = count_column("New or newer rows", "md")
    size_bytes = base.FormattedColumn("Size", size, attrs=base.wide_only("xl", "num"))
    run = base.TemplateColumn("Run", "run_link", accessor="run_id", attrs=base.wide_only("md"))
    message = base.MessageColumn("Message", visible=False)

    def render_package(self, record: DownloadSession) -> str:
        if record.sends_single_customers:
            return "Single customers"
        return str(record.package or "Not made")


def all_uploads() -> QuerySet[UploadSession]:
    return UploadSession.objects.select_related("database__channel")


def all_downloads() -> QuerySet[DownloadSession]:
    return DownloadSession.objects.select_related("database__channel", "package")
