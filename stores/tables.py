"""One table per list: its columns in reading order, and what an empty one says."""

import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import django_tables2 as tables
from django_tables2.rows import BoundRow

from stores.models import (
    AsyncCustomer,
    ChannelDatabase,
    Customer,
    DayBalance,
    DownloadSession,
    EditConflict,
    FieldToCorrect,
    Incident,
    JobRun,
    Quarantine,
    UploadSession,
)
from stores.models.labels import label
from stores.models.reason import REASONS, explain

NOTHING = "\u2013"
# What cannot be seen, or only as a blank.
BLANK = (
    r"\s\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e"
    r"\u200b-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
# A spreadsheet takes a cell that begins with one of these for a formula, also after blanks; the
# last four are wide signs. It tries no place twice, however many blanks a text has.
FORMULA = re.compile(rf"(?<![;{BLANK}])(?:^|[;{BLANK}]++)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
# One that divides at other signs than commas begins a cell after each of these, too.
DIVIDERS = frozenset(";\t\r\n\v\f\x85\u2028\u2029")


class Cell(tables.TemplateColumn):  # type: ignore[misc]
    """A cell drawn by a template; the CSV gets the bare value."""

    def __init__(self, template: str, **options: Any) -> None:
        super().__init__(template_name=f"cells/{template}.html", **options)

    def value(self, value: Any) -> Any:
        return value


def wide(screen: str = "lg", css: str = "") -> dict[str, Any]:
    """Attributes of a column that only screens of some width show."""
    classes = f"d-none d-{screen}-table-cell {css}".strip()
    return {"th": {"class": classes}, "td": {"class": classes}}


def either_way(attrs: dict[str, Any] | None = None) -> dict[str, Any]:
    """Attributes of a column of people's texts: each cell runs as its own letters do."""
    given = attrs or {}
    return given | {"td": given.get("td", {}) | {"dir": "auto"}}


class Day(tables.DateColumn):  # type: ignore[misc]
    """A day, written as on all other pages."""

    def __init__(self, title: str, **options: Any) -> None:
        super().__init__(verbose_name=title, format="Y-m-d", **options)


BY_NAME = ("last_name", "name", "first_name")
NUMBER = {"th": {"class": "num"}, "td": {"class": "num"}}
WHOLE = {"td": {"class": "text-nowrap"}}


class ListTable(tables.Table):  # type: ignore[misc]
    """A list that keeps its order and page in the address."""

    caption = "List"
    # The columns of each order that an index carries, both ways; its rows can be walked to the end.
    walks: tuple[tuple[str, ...], ...] = (("pk",),)

    class Meta:
        attrs = {"class": "table"}
        default = NOTHING

    def csv_rows(self, records: Iterable[Any]) -> Iterator[list[Any]]:
        """Header and rows as CSV cells, one by one; also of columns that no page has room for."""
        columns = [column.name for column in self.columns.iterall()]
        yield [str(column.header) for column in self.columns.iterall()]
        for record in records:
            row = BoundRow(record, table=self)
            yield [as_cell(row.get_cell_value(name)) for name in columns]


def name_of(record: AsyncCustomer | Customer) -> str:
    """The name, or the parts of a person's name."""
    parts = [record.first_name, record.middle_name, record.last_name]
    return record.name or " ".join(part for part in parts if part) or NOTHING


def as_cell(value: Any) -> Any:
    """A value as it may stand in a CSV: a number stays one, and a text is never a formula."""
    if value is None or value == NOTHING:
        return ""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bool | int | float):
        return value
    text = FORMULA.sub(defused, str(value))
    return f"'{text}" if text.startswith(("\t", "\r", "\n")) else text


def defused(found: re.Match[str]) -> str:
    """The blanks before a sign, and an apostrophe where a cell may begin in them."""
    begins = found.start() == 0 or not DIVIDERS.isdisjoint(found[0])
    return f"{found[0]}'" if begins else found[0]


class PeopleTable(ListTable):
    def render_name(self, record: AsyncCustomer | Customer) -> str:
        return name_of(record)


class AsyncCustomerTable(PeopleTable):
    caption = "Async customer operations"
    walks = (("staged_at", "pk"),)

    channel = tables.Column(
        "Channel", accessor="database__channel__name", empty_values=(), attrs=wide("md")
    )
    account = Cell(
        "account",
        verbose_name="Customer account",
        accessor="customer__account_number",
    )
    async_account = Cell("trace_guid", verbose_name="Async customer account", attrs=wide("sm"))
    name = tables.Column("Name", empty_values=(), order_by=BY_NAME, attrs=either_way(wide("lg")))
    operation = Cell("operation", verbose_name="Operation", attrs=wide("md"))
    occurred_at = Cell("when", verbose_name="Operations timestamp", attrs=wide("md"))
    staged_at = Cell(
        "when", verbose_name="Arrived", order_by=("staged_at", "pk"), attrs=wide("xxl")
    )
    state = Cell("state", verbose_name="Customer sync status")
    reason = tables.Column("Reason", visible=False)

    class Meta(ListTable.Meta):
        model = AsyncCustomer
        fields: tuple[str, ...] = ()
        empty_text = (
            "No operation has arrived yet. Customers that tills have saved arrive here with the"
            " P-job: run the pipeline."
        )

    def render_channel(self, record: AsyncCustomer) -> str:
        return record.database.channel.name if record.database else "Headquarters"


class CustomerTable(PeopleTable):
    caption = "Customers"
    walks = (("pk",), ("company_id", "account_number"))

    account_number = Cell(
        "customer", verbose_name="Account", order_by=("company_id", "account_number")
    )
    name = tables.Column("Name", empty_values=(), order_by=BY_NAME, attrs=either_way())
    email = Cell("email", verbose_name="E-mail", attrs=wide("lg", "mail"))
    phone = tables.Column("Phone", attrs=wide("xl", "text-nowrap"))
    company = tables.Column("Company", accessor="company_id", attrs=wide("xxl"))
    created_at = Cell("when", verbose_name="Created", order_by="pk", attrs=wide("md"))
    owed = Cell("owed", verbose_name="Delivery")
    is_active = Cell("active", verbose_name="Status", attrs=wide("sm"))

    class Meta(ListTable.Meta):
        model = Customer
        fields: tuple[str, ...] = ()
        empty_text = (
            "There is no customer yet. Customers get their account when uploaded ones are"
            " synchronized: run the pipeline."
        )


class RunTable(ListTable):
    caption = "Runs"
    walks = (("created_at", "pk"),)

    created_at = Cell("run", verbose_name="Run", order_by=("created_at", "pk"))
    job = Cell("job", verbose_name="Job")
    status = Cell("outcome", verbose_name="Status")
    scope = Cell("scope", verbose_name="Channels", attrs=wide("md"))
    started_by = tables.Column("Started by", attrs=wide("lg"))
    seconds = Cell("took", verbose_name="Took", order_by="took", attrs=wide("md", "num"))
    message = tables.Column("Result", attrs=wide("lg"))

    class Meta(ListTable.Meta):
        model = JobRun
        fields: tuple[str, ...] = ()
        empty_text = "There is no run yet. Start one on the page Jobs."

    def render_started_by(self, record: JobRun) -> str:
        user = record.requested_by
        return f"{record.get_started_by_display()}{f' · {user.get_username()}' if user else ''}"


class SessionTable(ListTable):
    walks = (("started_at", "pk"),)

    started_at = Cell("when", verbose_name="Started", order_by=("started_at", "pk"))
    database = tables.Column("Channel", order_by=("database__channel__code", "database__name"))
    status = Cell("session_status", verbose_name="Status")


def count_of(title: str, screen: str = "") -> Cell:
    """A column of counts."""
    return Cell("number", verbose_name=title, attrs=wide(screen, "num") if screen else NUMBER)


class UploadTable(SessionTable):
    caption = "Upload sessions"

    read = count_of("Rows", "sm")
    staged = count_of("Staged")
    unchanged = count_of("Unchanged", "lg")
    quarantined = count_of("Quarantined", "md")
    waiting = count_of("Left", "xl")
    size_bytes = Cell("size", verbose_name="Size", attrs=wide("lg", "num"))
    run = Cell("run_link", verbose_name="Run", accessor="run_id", attrs=wide("md"))
    message = tables.Column("Message", visible=False)

    class Meta(ListTable.Meta):
        model = UploadSession
        fields: tuple[str, ...] = ()
        sequence = ("started_at", "database", "status", "...")
        empty_text = (
            "There is no upload yet. A session is made when a P-job finds events in a channel."
        )


class DownloadTable(SessionTable):
    caption = "Download sessions"

    job = tables.Column("Job", attrs=wide("lg"))
    customers = count_of("Customers")
    rows = count_of("Rows", "md")
    size_bytes = Cell("size", verbose_name="Size", attrs=wide("lg", "num"))
    run = Cell("run_link", verbose_name="Run", accessor="run_id", attrs=wide("md"))
    message = tables.Column("Message", visible=False)

    class Meta(ListTable.Meta):
        model = DownloadSession
        fields: tuple[str, ...] = ()
        sequence = ("started_at", "database", "status", "...")
        empty_text = (
            "There is no download yet. A session is made when 1010 owes a channel some customers."
        )


class QuarantineTable(ListTable):
    caption = "Quarantined rows"

    first_seen_at = Cell("when", verbose_name="Since", order_by="pk")
    database = tables.Column(
        "Channel", order_by=("database__channel__code", "database__name"), attrs=wide("sm")
    )
    table = Cell("code", verbose_name="Table", attrs=wide("md"))
    row_key = tables.Column("Row", attrs=wide("xxl", "num"))
    field = Cell("code", verbose_name="Field", attrs=wide("xl"))
    reason = Cell("quarantine_reason", verbose_name="Reason and next step")
    async_account = Cell("trace_guid", verbose_name="Async customer account", attrs=wide("lg"))
    status = Cell("badge", verbose_name="Status", attrs=wide("xl"))

    class Meta(ListTable.Meta):
        model = Quarantine
        fields: tuple[str, ...] = ()
        empty_text = (
            "No row is set aside here. Rows that HQ cannot use are kept in this list with the"
            " reason, and the rest of their upload goes on."
        )

    def value_reason(self, record: Quarantine) -> str:
        known = REASONS.get(record.reason)
        advice = known.advice(self.request.user.has_perm) if known else ""
        return f"{explain(record.reason, record.field)} {advice}".strip()


class IncidentTable(ListTable):
    caption = "Incidents"

    opened_at = Cell("when", verbose_name="Since", order_by="pk")
    database = tables.Column(
        "Channel", order_by=("database__channel__code", "database__name"), attrs=wide("sm")
    )
    message = Cell("incident", verbose_name="What is wrong and what to do", orderable=False)
    times = tables.Column("Seen", attrs=wide("lg", "num"))
    status = Cell("badge", verbose_name="Status", order_by="closed_at")

    class Meta(ListTable.Meta):
        model = Incident
        fields: tuple[str, ...] = ()
        empty_text = (
            "There is no incident here. A channel that was set back or copied, and a headquarters"
            " that was set back, show up in this list until a person has closed them."
        )


class ConflictTable(ListTable):
    caption = "Edit conflicts"

    found_at = Cell("conflict", verbose_name="Found", order_by="pk")
    customer = Cell(
        "conflict_customer", verbose_name="Customer", order_by="customer__account_number"
    )
    subject = tables.Column("Field", order_by=("table", "field"))
    kept_value = Cell("value", verbose_name="Value that stayed")
    kept_place = tables.Column(
        "Won by",
        order_by=("kept_database__channel__code", "kept_database__name"),
        attrs=wide("md"),
    )
    kept_at = Cell("when", verbose_name="Its time", attrs=wide("xxl"))
    lost_value = Cell("value", verbose_name="Other value")
    lost_place = tables.Column(
        "Came from",
        order_by=("lost_database__channel__code", "lost_database__name"),
        attrs=wide("md"),
    )
    lost_at = Cell("when", verbose_name="Its time", attrs=wide("xxl"))
    state = Cell("badge_of_conflict", verbose_name="Status", order_by=("closed_at", "choice"))

    class Meta(ListTable.Meta):
        model = EditConflict
        fields: tuple[str, ...] = ()
        empty_text = (
            "There is no conflict here. When two places change the same field of a customer without"
            " knowing of each other, both values are listed."
        )


class FieldTable(ListTable):
    caption = "Fields to correct"

    since = Cell("when", verbose_name="Since", order_by="pk")
    customer = Cell("field_customer", verbose_name="Customer", order_by="customer__account_number")
    field = tables.Column("Field")
    shown = Cell("value", verbose_name="Value", empty_values=(), orderable=False)
    sentence = tables.Column("What is wrong", order_by="rule", attrs=wide("md"))
    channel = tables.Column(
        "Channel",
        accessor="database",
        empty_values=(),
        order_by=("database__channel__code", "database__name"),
        attrs=wide("lg"),
    )
    settled_at = Cell("when", verbose_name="Settled", attrs=wide("lg"))

    class Meta(ListTable.Meta):
        model = FieldToCorrect
        fields: tuple[str, ...] = ()
        empty_text = (
            "No field is to be corrected here. A phone number, an address for receipts, a language,"
            " a currency or a date of birth that is not understood keeps nobody from an account;"
            " it stands here."
        )

    def render_field(self, record: FieldToCorrect) -> str:
        return label(record.field)

    def render_channel(self, record: FieldToCorrect) -> str:
        return record.database.label if record.database else "Headquarters"


class ChannelTable(ListTable):
    caption = "Channel databases"

    label = Cell("channel", verbose_name="Channel", order_by=("channel__code", "name"))
    kind = tables.Column("Kind", accessor="channel__kind", attrs=wide("lg"))
    company = tables.Column("Company", accessor="channel__company_id", attrs=wide("xl"))
    group = tables.Column("Group", order_by="group__name", attrs=wide("xl"))
    health = Cell(
        "health", verbose_name="Status", order_by=("-last_error", "is_enabled", "last_visited_at")
    )
    last_visited_at = Cell("when", verbose_name="Last visit")
    waiting = Cell("count", verbose_name="Waiting", attrs=wide("md", "num"))
    owed = Cell("owed_count", verbose_name="Owed", attrs=NUMBER)

    class Meta(ListTable.Meta):
        model = ChannelDatabase
        fields: tuple[str, ...] = ()
        empty_text = (
            "There is no channel yet. Add one with the command create_channel, which also makes"
            " its database."
        )

    def render_kind(self, record: ChannelDatabase) -> str:
        return record.channel.get_kind_display()

    def value_health(self, record: ChannelDatabase) -> str:
        return record.last_error


class BalanceTable(ListTable):
    caption = "Balance"
    day = Day("Day", attrs=WHOLE)
    database = tables.Column(
        "Channel",
        order_by=("database__channel__code", "database__name"),
    )
    table = Cell("table", verbose_name="Rows")
    captured = Cell("part", verbose_name="Captured", attrs=NUMBER)
    converted = Cell("part", verbose_name="Converted", attrs=NUMBER)
    linked = Cell("part", verbose_name="Linked", attrs=wide("xl", "num"))
    posted = Cell("part", verbose_name="Posted", attrs=NUMBER)
    voided = Cell("part", verbose_name="Voided", attrs=wide("xl", "num"))
    waiting = Cell("part", verbose_name="Waiting", attrs=NUMBER)
    failed = Cell("part", verbose_name="Failed", attrs=NUMBER)
    quarantined = Cell("part", verbose_name="In quarantine", attrs=NUMBER)
    erased = Cell("part", verbose_name="Erased", attrs=wide("xl", "num"))
    difference = Cell("difference", verbose_name="Difference", attrs=NUMBER)

    class Meta(ListTable.Meta):
        model = DayBalance
        fields: tuple[str, ...] = ()
        empty_text = "Nothing has arrived yet. The P-job brings what tills have written."
