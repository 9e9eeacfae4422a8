"""From a query string to a queryset, through an allow-list of fields.

A count on a page comes from the same filter as the list it links to, so both always agree.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import django_filters as filters
from django import forms
from django.db.models import Case, CharField, Exists, OuterRef, Q, QuerySet, Value, When
from django.utils import timezone

from stores.hqdb.sql import fetch
from stores.jobs.catalog import JOBS
from stores.models import (
    AsyncCustomer,
    Channel,
    ChannelDatabase,
    Company,
    Customer,
    DayBalance,
    Delivery,
    DownloadSession,
    EditConflict,
    FieldToCorrect,
    GuidMap,
    Incident,
    JobRun,
    Quarantine,
    UploadSession,
)
from stores.models.characters import tidy_key
from stores.models.customer import GuidOrigin
from stores.models.incident import IncidentKind
from stores.models.labels import label
from stores.models.quarantine import QuarantineStatus
from stores.models.reason import REASONS
from stores.models.run import RunStatus, StartedBy
from stores.models.search import is_called, is_reached_at, key_of
from stores.models.session import DownloadStatus, UploadStatus
from stores.models.staging import OPEN, Operation, StagingStatus
from stores.pipeline.events.kinds import KINDS
from stores.pipeline.events.rules import OPTIONAL

ANY = "any"
# No channel code: those have no colon.
AT_HQ = "hq:"
# Counting further would read a big table only to draw a page.
MOST_COUNTED = 10_000
# What counting may cost, as the planner reckons: a twentieth of a second or so.
MOST_COST = 25_000
# A search that finds more people than this is answered with so many of them.
MOST_FOUND = 1_000
TOO_MANY = "Very many customers match, and these are only some of them: type more of the name."


def owed_by(**wanted: Any) -> QuerySet[Delivery]:
    """Deliveries that enabled databases still lack."""
    return Delivery.objects.owed().filter(
        database__is_enabled=True, database__channel__is_enabled=True, **wanted
    )


# The states of the contract as conditions on a staged event; exactly one holds for each row.
DONE = Q(status__in=[StagingStatus.APPLIED, StagingStatus.SUPERSEDED])
IS_OWED = Exists(owed_by(customer=OuterRef("customer")))
STATES = {
    "not_synchronized": Q(status=StagingStatus.PENDING, reason__isnull=True),
    "waiting": Q(status=StagingStatus.PENDING, reason__isnull=False),
    "failed": Q(status=StagingStatus.FAILED),
    "erased": Q(status=StagingStatus.ERASED),
    "synchronized": DONE & IS_OWED,
    "distributed": DONE & ~IS_OWED,
}
STATE_WORDS = {
    "open": "Not done yet",
    "pending": "Not synchronized or waiting",
    "converted": "Converted",
    "linked": "Linked to an account",
    "not_synchronized": "Not synchronized",
    "waiting": "Waiting",
    "failed": "Failed",
    "synchronized": "Synchronized",
    "distributed": "Distributed",
    "erased": "Erased",
}


IS_LINKED = Exists(
    GuidMap.objects.filter(async_account=OuterRef("async_account"), origin=GuidOrigin.LINKED)
)
# Several states at once, or a part of some; the numbers of the balance lead to them.
GROUPS = {
    "open": Q(status__in=OPEN),
    "pending": Q(status=StagingStatus.PENDING),
    "converted": DONE & ~IS_LINKED,
    "linked": DONE & IS_LINKED,
}


def with_state(events: QuerySet[Any]) -> QuerySet[Any]:
    """Say of each staged event what has become of it, in the words of the contract."""
    found: QuerySet[Any] = events.annotate(
        state=Case(
            *(When(condition, then=Value(state)) for state, condition in STATES.items()),
            output_field=CharField(),
        )
    )
    return found


def counted(rows: QuerySet[Any]) -> int:
    """How many rows there are; one more than MOST_COUNTED stands for any number beyond it."""
    return rows.order_by().values("pk")[: MOST_COUNTED + 1].count()


@dataclass(frozen=True)
class Length:
    """How long a list is: counted like `counted`, or the planner's guess."""

    count: int
    is_exact: bool = True


def length(rows: QuerySet[Any]) -> Length:
    """Count the rows of a list, but guess where counting would read a big table."""
    capped = rows.order_by().values("pk")[: MOST_COUNTED + 1]
    # Without a plan nothing can be found.
    plan = json.loads(capped.explain(format="json") or "[{}]")[0].get("Plan")
    if plan is None or plan["Total Cost"] <= MOST_COST:
        return Length(capped.count())
    return Length(plan["Plans"][0]["Plan Rows"], is_exact=False)


def as_guid(text: str) -> UUID | None:
    """The GUID that a text is, if it is one."""
    try:
        return UUID(tidy_key(text))
    except ValueError:
        return None


def people(text: str) -> list[int]:
    """Ids of the customers that a text means: by account, else by e-mail or phone, else by name.

    One more than MOST_FOUND stands for any number beyond it.
    """
    text = tidy_key(text)
    customers = Customer.objects.values_list("pk", flat=True)
    companies = list(Company.objects.values_list("pk", flat=True))
    for means in (
        Q(company__in=companies, account_number=text),
        *(is_reached_at(key) for key in [key_of(text)] if key),
        is_called(text),
    ):
        if found := list(customers.filter(means)[: MOST_FOUND + 1]):
            return found
    return []


def operations_of(text: str) -> Q:
    """The operations that a text means: those of customers, and those still on their way."""
    companies = list(Company.objects.values_list("pk", flat=True))
    waits = Q(status__in=OPEN, company__in=companies)
    if guid := as_guid(text):
        owner = list(GuidMap.objects.filter(pk=guid).values_list("customer", flat=True))
        return Q(pk=guid) | Q(customer__in=owner) | waits & Q(async_account=guid)
    text = tidy_key(text)
    key = key_of(text)
    means = Q(account_number=text) | is_called(text) | (is_reached_at(key) if key else Q())
    waiting = AsyncCustomer.objects.filter(waits & means).values_list("pk", flat=True)
    return Q(customer__in=people(text)) | Q(pk__in=list(waiting[: MOST_FOUND + 1]))


def owed_customers(**wanted: Any) -> list[int]:
    """Ids of the customers that enabled databases lack, newest first.

    One more than MOST_COUNTED stands for any number beyond it.
    """
    databases = ChannelDatabase.objects.enabled().filter(**wanted).values_list("pk", flat=True)
    # The newest of each by its index: all of them at once may be millions.
    rows = fetch(
        """SELECT DISTINCT owed.customer_id FROM unnest(%(databases)s::bigint[]) one (id),
                  LATERAL (SELECT d.customer_id FROM delivery d
                            WHERE d.database_id = one.id AND d.delivered_version < d.version
                            ORDER BY d.customer_id DESC LIMIT %(most)s) owed
            ORDER BY 1 DESC LIMIT %(most)s""",
        {"databases": list(databases), "most": MOST_COUNTED + 1},
    )
    return [customer for (customer,) in rows]


def channels() -> list[tuple[str, str]]:
    return [(channel.code, channel.name) for channel in Channel.objects.all()]


def companies() -> list[tuple[str, str]]:
    return [(company.code, company.name) for company in Company.objects.all()]


def databases() -> list[tuple[str, str]]:
    """The databases that can be owed something, by label."""
    labels = [database.label for database in ChannelDatabase.objects.enabled().with_channel()]
    return [(ANY, "Any channel"), *((label, label) for label in labels)]


def database_called(label: str) -> dict[str, str]:
    """The conditions on a database that a label means."""
    code, _, register = label.partition("/")
    return {"channel__code": code, "name": register}


def in_short(reason: str) -> str:
    """What a reason says of any field."""
    known = REASONS.get(reason)
    text = known.text.removeprefix("{field}: ").rstrip(".") if known else reason
    return text[:1].upper() + text[1:]


def reasons() -> list[tuple[str, str]]:
    return [(code, in_short(code)) for code in REASONS]


def choice(
    choices: Any, label: str, empty: str = "All", method: str = "", field: str = ""
) -> filters.ChoiceFilter:
    """A list to choose one word from; any other word is an error."""
    how: dict[str, Any] = {"method": method} if method else {"field_name": field}
    return filters.ChoiceFilter(choices=choices, label=label, empty_label=empty, **how)


def text(label: str, hint: str, **how: Any) -> filters.CharFilter:
    """A line to type; its hint says what is looked for."""
    typed = forms.TextInput(attrs={"type": "search", "placeholder": hint, "maxlength": 300})
    return filters.CharFilter(label=label, widget=typed, **how)


class DayFilter(filters.DateFilter):  # type: ignore[misc]
    """From the first moment of a day on, or until its last; an index on the moment serves both."""

    def filter(self, rows: QuerySet[Any], value: date | None) -> QuerySet[Any]:
        if value is None:
            return rows
        is_last = self.lookup_expr == "lt"
        if is_last and value == date.max:
            return rows
        start = datetime.combine(value + timedelta(days=is_last), time.min)
        found: QuerySet[Any] = super().filter(rows, timezone.make_aware(start))
        return found


DATE = forms.DateInput(attrs={"type": "date"})


def day(label: str, field: str, lookup: str) -> DayFilter:
    """A day; from its first or to its last moment."""
    return DayFilter(label=label, field_name=field, lookup_expr=lookup, widget=DATE)


FIELDS = [
    (column, label(column))
    for column in sorted({"is_active", *(name for kind in KINDS for name in kind.columns)})
]
OPTIONAL_FIELDS = [(rule.field, label(rule.field)) for rule in OPTIONAL]
TABLES = [(kind.event, f"{kind.name.capitalize()} events") for kind in KINDS]

DOCUMENTS = ("retail_transaction", "Sales and orders")
PARTS_OF_DOCUMENTS = [
    ("retail_transaction_line", "Lines"),
    ("retail_transaction_payment", "Payments"),
]


class ListFilter(filters.FilterSet):  # type: ignore[misc]
    """A list's filters. What cannot be understood finds nothing, and says so."""

    # What a reader of the list must know about it.
    note = ""

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.none() if self.form.errors else super().filter_queryset(queryset)


class AsyncCustomerFilter(ListFilter):
    q = text("Search", "GUID, account, e-mail, phone or part of a name", method="search")
    channel = choice(channels, "Channel", field="database__channel__code")
    state = choice(list(STATE_WORDS.items()), "State", method="in_state")
    operation = choice(Operation.choices, "Operation", field="operation")
    reason = choice(reasons, "Reason", field="reason")
    since = day("Arrived from", "staged_at", "gte")
    until = day("Arrived to", "staged_at", "lt")

    class Meta:
        model = AsyncCustomer
        fields: list[str] = []

    def search(
        self, events: QuerySet[AsyncCustomer], name: str, value: str
    ) -> QuerySet[AsyncCustomer]:
        return events.filter(operations_of(value))

    def in_state(
        self, events: QuerySet[AsyncCustomer], name: str, value: str
    ) -> QuerySet[AsyncCustomer]:
        if group := GROUPS.get(value):
            return events.filter(group)
        if value == "synchronized" and len(owed := owed_customers()) <= MOST_COUNTED:
            # Few among many: found by their customers first, or the planner might walk all.
            done = AsyncCustomer.objects.filter(DONE, customer__in=owed).values_list(
                "pk", flat=True
            )
            return events.filter(pk__in=list(done[: MOST_COUNTED + 1]))
        return events.filter(STATES[value])


class CustomerFilter(ListFilter):
    q = text("Search", "Account, GUID, e-mail, phone or part of a name", method="search")
    company = choice(companies, "Company", field="company")
    active = choice([("yes", "Active"), ("no", "Not active")], "Active", method="is_active")
    owed = choice(databases, "Delivery pending to", empty="-", method="is_owed")

    class Meta:
        model = Customer
        fields: list[str] = []

    def search(self, customers: QuerySet[Customer], name: str, value: str) -> QuerySet[Customer]:
        if guid := as_guid(value):
            return customers.filter(guids__async_account=guid)
        found = people(value)
        if len(found) > MOST_FOUND:
            self.note = TOO_MANY
        return customers.filter(pk__in=found)

    def is_active(self, customers: QuerySet[Customer], name: str, value: str) -> QuerySet[Customer]:
        return customers.filter(is_active=value == "yes")

    def is_owed(self, customers: QuerySet[Customer], name: str, value: str) -> QuerySet[Customer]:
        wanted = {} if value == ANY else database_called(value)
        owed = owed_customers(**wanted)
        if len(owed) <= MOST_COUNTED:
            return customers.filter(pk__in=owed)
        databases = {f"database__{name}": what for name, what in wanted.items()}
        return customers.filter(
            Exists(owed_by(customer=OuterRef("pk"), **databases)), pk__lte=owed[0]
        )


class RunFilter(ListFilter):
    job = choice([(job.code, job.title) for job in JOBS.values()], "Job", field="job")
    status = choice(RunStatus.choices, "Status", field="status")
    started_by = choice(StartedBy.choices, "Started by", field="started_by")
    since = day("From", "created_at", "gte")
    until = day("To", "created_at", "lt")

    class Meta:
        model = JobRun
        fields: list[str] = []


def said(statuses: Any, never: set[str]) -> list[tuple[str, str]]:
    """The states that a session can be found in; the others are words that nothing sets yet."""
    return [(one.value, one.label) for one in statuses if one.name not in never]


class SessionFilter(ListFilter):
    channel = choice(channels, "Channel", field="database__channel__code")
    since = day("From", "started_at", "gte")
    until = day("To", "started_at", "lt")
    # Followed from a run or a trace, not typed.
    run = filters.UUIDFilter(label="Run", field_name="run", widget=forms.HiddenInput)
    session = filters.UUIDFilter(label="Session", field_name="id", widget=forms.HiddenInput)


class UploadFilter(SessionFilter):
    status = choice(said(UploadStatus, {"STARTED"}), "Status", field="status")

    class Meta:
        model = UploadSession
        fields: list[str] = []


class DownloadFilter(SessionFilter):
    status = choice(
        said(
            DownloadStatus,
            {"STARTED", "REQUESTED", "CREATE_FAILED", "APPLY_FAILED", "NO_DATA", "SUSPENDED"},
        ),
        "Status",
        field="status",
    )

    class Meta:
        model = DownloadSession
        fields: list[str] = []


class QuarantineFilter(ListFilter):
    q = text("Search", "GUID, account, e-mail, phone or words of a name", method="search")
    channel = choice(channels, "Channel", field="database__channel__code")
    reason = choice(reasons, "Reason", field="reason")
    status = choice(QuarantineStatus.choices, "Status", field="status")
    table = choice([*TABLES, DOCUMENTS], "Rows", field="table")
    since = day("Arrived from", "first_seen_at", "gte")
    until = day("Arrived to", "first_seen_at", "lt")
    event = filters.UUIDFilter(label="Event or GUID", method="about")

    class Meta:
        model = Quarantine
        fields: list[str] = []

    def search(self, rows: QuerySet[Quarantine], name: str, value: str) -> QuerySet[Quarantine]:
        if guid := as_guid(value):
            return rows.filter(Q(event_id=guid) | Q(async_account=guid))
        key = key_of(value)
        found = Quarantine.objects.reached_at(key) if key else Quarantine.objects.called(value)
        # Their ids first: the planner cannot know how few they are.
        return rows.filter(
            Q(account_number=value) | Q(pk__in=list(found.values_list("pk", flat=True)))
        )

    def about(self, rows: QuerySet[Quarantine], name: str, value: UUID) -> QuerySet[Quarantine]:
        return rows.filter(Q(event_id=value) | Q(async_account=value))


class BalanceFilter(ListFilter):
    channel = choice(channels, "Channel", field="database__channel__code")
    table = choice([*TABLES, DOCUMENTS, *PARTS_OF_DOCUMENTS], "Rows", field="table")
    since = filters.DateFilter(label="From", field_name="day", lookup_expr="gte", widget=DATE)
    until = filters.DateFilter(label="To", field_name="day", lookup_expr="lte", widget=DATE)
    odd = choice([("yes", "Only these")], "Does not add up", method="is_odd")

    class Meta:
        model = DayBalance
        fields: list[str] = []

    def is_odd(self, rows: QuerySet[DayBalance], name: str, value: str) -> QuerySet[DayBalance]:
        return rows.exclude(difference=0)


class IncidentFilter(ListFilter):
    status = choice([("open", "Open"), ("closed", "Closed")], "Status", method="in_status")
    kind = choice(IncidentKind.choices, "Kind", field="kind")
    channel = choice(channels, "Channel", field="database__channel__code")

    class Meta:
        model = Incident
        fields: list[str] = []

    def in_status(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        return rows.filter(closed_at__isnull=value == "open")


def places() -> list[tuple[str, str]]:
    """Headquarters, and every channel."""
    return [(AT_HQ, "Headquarters"), *channels()]


def of_place(side: str, code: str) -> Q:
    """That one side of a conflict is a channel, or headquarters."""
    if code == AT_HQ:
        return Q((f"{side}_database__isnull", True))
    return Q((f"{side}_database__channel__code", code))


class ConflictFilter(ListFilter):
    status = choice([("open", "Open"), ("closed", "Closed")], "Status", method="in_status")
    field = choice(FIELDS, "Field", field="field")
    place = choice(places, "Channel", method="of_any")
    won = choice(places, "Won by", method="won_by")
    since = day("Found from", "found_at", "gte")
    until = day("Found to", "found_at", "lt")

    class Meta:
        model = EditConflict
        fields: list[str] = []

    def in_status(
        self, rows: QuerySet[EditConflict], name: str, value: str
    ) -> QuerySet[EditConflict]:
        return rows.filter(closed_at__isnull=value == "open")

    def of_any(self, rows: QuerySet[EditConflict], name: str, value: str) -> QuerySet[EditConflict]:
        return rows.filter(of_place("lost", value) | of_place("kept", value))

    def won_by(self, rows: QuerySet[EditConflict], name: str, value: str) -> QuerySet[EditConflict]:
        return rows.filter(of_place("kept", value))


class FieldFilter(ListFilter):
    """Fields to correct."""

    status = choice([("open", "Open"), ("settled", "Settled")], "Status", method="in_status")
    field = choice(OPTIONAL_FIELDS, "Field", field="field")
    rule = choice(reasons, "Reason", field="rule")
    channel = choice(channels, "Channel", field="database__channel__code")
    since = day("Since", "since", "gte")
    until = day("Until", "since", "lt")

    class Meta:
        model = FieldToCorrect
        fields: list[str] = []

    def in_status(
        self, rows: QuerySet[FieldToCorrect], name: str, value: str
    ) -> QuerySet[FieldToCorrect]:
        return rows.filter(settled_at__isnull=value == "open")


def async_customers(**wanted: str) -> QuerySet[AsyncCustomer]:
    """The rows that /async-customers/ lists for these filters."""
    found: QuerySet[AsyncCustomer] = AsyncCustomerFilter(wanted, AsyncCustomer.objects.all()).qs
    return found


def customers(**wanted: str) -> QuerySet[Customer]:
    """The rows that /customers/ lists for these filters."""
    found: QuerySet[Customer] = CustomerFilter(wanted, Customer.objects.all()).qs
    return found


def quarantine(**wanted: str) -> QuerySet[Quarantine]:
    """The rows that /quarantine/ lists for these filters."""
    found: QuerySet[Quarantine] = QuarantineFilter(wanted, Quarantine.objects.all()).qs
    return found
