"""From a query string to a queryset, through an allow-list of fields.

A count on a page comes from the same filter as the list it links to, so both always agree.
"""

from typing import Any
from uuid import UUID

import django_filters as filters
from django import forms
from django.db.models import Case, CharField, Exists, OuterRef, Q, QuerySet, Value, When

from stores.models import (
    AsyncCustomer,
    Channel,
    ChannelDatabase,
    Company,
    Customer,
    Delivery,
    DownloadSession,
    JobRun,
    Quarantine,
    UploadSession,
)
from stores.models.exchange import DownloadStatus, UploadStatus
from stores.models.quarantine import QuarantineStatus
from stores.models.reason import REASONS
from stores.models.run import RunStatus, StartedBy
from stores.models.staging import OPEN, Operation, StagingStatus
from stores.pipeline import JOBS

ANY = "any"
# Counting further would read a big table only to draw a page.
MOST_COUNTED = 10_000


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
    "not_synchronized": "Not synchronized",
    "waiting": "Waiting",
    "failed": "Failed",
    "synchronized": "Synchronized",
    "distributed": "Distributed",
    "erased": "Erased",
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
    return rows.order_by()[: MOST_COUNTED + 1].count()


def as_guid(text: str) -> UUID | None:
    """The GUID that a text is, if it is one."""
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def is_person(text: str) -> Q:
    """The exact e-mail or phone, or a part of the name."""
    found = Q(email__iexact=text) | Q(phone=text)
    for field in ("name", "first_name", "last_name"):
        found |= Q(**{f"{field}__icontains": text})
    words = text.split()
    if len(words) > 1:
        found |= Q(first_name__icontains=words[0], last_name__icontains=words[-1])
    return found


def channels() -> list[tuple[str, str]]:
    return [(channel.code, channel.name) for channel in Channel.objects.all()]


def companies() -> list[tuple[str, str]]:
    return [(company.code, company.name) for company in Company.objects.all()]


def databases() -> list[tuple[str, str]]:
    """The databases that can be owed something, by label."""
    labels = [database.label for database in ChannelDatabase.objects.enabled().with_channel()]
    return [(ANY, "Any channel"), *((label, label) for label in labels)]


def database_called(label: str) -> Q:
    code, _, register = label.partition("/")
    return Q(database__channel__code=code, database__name=register)


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


def day(label: str, field: str, lookup: str) -> filters.DateFilter:
    """A day; from its first or to its last moment."""
    typed = forms.DateInput(attrs={"type": "date"})
    return filters.DateFilter(
        label=label, field_name=field, lookup_expr=f"date__{lookup}", widget=typed
    )


class ListFilter(filters.FilterSet):  # type: ignore[misc]
    """A list's filters. What cannot be understood finds nothing, and says so."""

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.none() if self.form.errors else super().filter_queryset(queryset)


class AsyncCustomerFilter(ListFilter):
    q = text("Search", "GUID, account, e-mail, phone or part of a name", method="search")
    channel = choice(channels, "Channel", field="database__channel__code")
    state = choice(list(STATE_WORDS.items()), "State", method="in_state")
    operation = choice(Operation.choices, "Operation", field="operation")
    reason = choice(reasons, "Reason", field="reason")
    since = day("From", "occurred_at", "gte")
    until = day("To", "occurred_at", "lte")

    class Meta:
        model = AsyncCustomer
        fields: list[str] = []

    def search(
        self, events: QuerySet[AsyncCustomer], name: str, value: str
    ) -> QuerySet[AsyncCustomer]:
        if guid := as_guid(value):
            return events.filter(Q(async_account=guid) | Q(event_id=guid))
        account = Q(customer__account_number=value) | Q(account_number=value)
        return events.filter(account | is_person(value))

    def in_state(
        self, events: QuerySet[AsyncCustomer], name: str, value: str
    ) -> QuerySet[AsyncCustomer]:
        return events.filter(Q(status__in=OPEN) if value == "open" else STATES[value])


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
        return customers.filter(Q(account_number=value) | is_person(value))

    def is_active(self, customers: QuerySet[Customer], name: str, value: str) -> QuerySet[Customer]:
        return customers.filter(is_active=value == "yes")

    def is_owed(self, customers: QuerySet[Customer], name: str, value: str) -> QuerySet[Customer]:
        owed = owed_by(customer=OuterRef("pk"))
        if value != ANY:
            owed = owed.filter(database_called(value))
        return customers.filter(Exists(owed))


class RunFilter(ListFilter):
    job = choice([(job.code, job.title) for job in JOBS.values()], "Job", field="job")
    status = choice(RunStatus.choices, "Status", field="status")
    started_by = choice(StartedBy.choices, "Started by", field="started_by")
    since = day("From", "created_at", "gte")
    until = day("To", "created_at", "lte")

    class Meta:
        model = JobRun
        fields: list[str] = []


class SessionFilter(ListFilter):
    channel = choice(channels, "Channel", field="database__channel__code")
    since = day("From", "started_at", "gte")
    until = day("To", "started_at", "lte")
    # Followed from a run or a trace, not typed.
    run = filters.UUIDFilter(label="Run", field_name="run", widget=forms.HiddenInput)
    session = filters.UUIDFilter(label="Session", field_name="id", widget=forms.HiddenInput)


class UploadFilter(SessionFilter):
    status = choice(UploadStatus.choices, "Status", field="status")

    class Meta:
        model = UploadSession
        fields: list[str] = []


class DownloadFilter(SessionFilter):
    status = choice(DownloadStatus.choices, "Status", field="status")

    class Meta:
        model = DownloadSession
        fields: list[str] = []


class QuarantineFilter(ListFilter):
    channel = choice(channels, "Channel", field="database__channel__code")
    reason = choice(reasons, "Reason", field="reason")
    status = choice(QuarantineStatus.choices, "Status", field="status")
    event = filters.UUIDFilter(label="Event or GUID", method="about")

    class Meta:
        model = Quarantine
        fields: list[str] = []

    def about(self, rows: QuerySet[Quarantine], name: str, value: UUID) -> QuerySet[Quarantine]:
        return rows.filter(Q(event_id=value) | Q(async_account=value))


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
