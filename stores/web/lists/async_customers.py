"""What channels sent: every async customer operation, with what became of it."""

import django_tables2 as tables
from django.db.models import Case, CharField, Exists, OuterRef, Q, QuerySet, Value, When

from stores.models import AsyncCustomer, Company, GuidMap
from stores.models.characters import tidy_key
from stores.models.customer import GuidOrigin
from stores.models.search import contact_key, matches_name, matches_own_contact, parse_guid
from stores.models.staging import OPEN_STATUSES, Operation, StagingStatus
from stores.web.components import when
from stores.web.counts import MAX_COUNTED
from stores.web.lists.base import (
    Cell,
    Formatted,
    ListFilter,
    ListTable,
    Rows,
    channels,
    choice_filter,
    day_filter,
    reasons,
    text_filter,
    wide_only,
)
from stores.web.lists.customers import NameColumn, pending_customers, pending_deliveries
from stores.web.lists.search import MAX_FOUND, customer_ids

# The states of the contract as conditions on a staged event; exactly one holds for each row.
DONE_CONDITION = Q(status__in=[StagingStatus.APPLIED, StagingStatus.SUPERSEDED])
IS_PENDING = Exists(pending_deliveries(customer=OuterRef("customer")))
STATES = {
    "not_synchronized": Q(status=StagingStatus.PENDING, reason__isnull=True),
    "waiting": Q(status=StagingStatus.PENDING, reason__isnull=False),
    "failed": Q(status=StagingStatus.FAILED),
    "erased": Q(status=StagingStatus.ERASED),
    "synchronized": DONE_CONDITION & IS_PENDING,
    "distributed": DONE_CONDITION & ~IS_PENDING,
}
STATE_WORDS = {
    "open": "Not finished",
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
    "open": Q(status__in=OPEN_STATUSES),
    "pending": Q(status=StagingStatus.PENDING),
    "converted": DONE_CONDITION & ~IS_LINKED,
    "linked": DONE_CONDITION & IS_LINKED,
}


def with_state(events: Rows) -> Rows:
    """Say of each staged event what has become of it, in the words of the contract."""
    annotated: Rows = events.annotate(
        state=Case(
            *(When(condition, then=Value(state)) for state, condition in STATES.items()),
            output_field=CharField(),
        )
    )
    return annotated


def operations_matching(text: str) -> Q:
    """The operations that a text means: those of customers, and those still on their way."""
    companies = list(Company.objects.values_list("pk", flat=True))
    waits = Q(status__in=OPEN_STATUSES, company__in=companies)
    if guid := parse_guid(text):
        owner = list(GuidMap.objects.filter(pk=guid).values_list("customer", flat=True))
        return Q(pk=guid) | Q(customer__in=owner) | waits & Q(async_account=guid)
    text = tidy_key(text)
    key = contact_key(text)
    condition = (
        Q(account_number=text) | matches_name(text) | (matches_own_contact(key) if key else Q())
    )
    waiting = AsyncCustomer.objects.filter(waits & condition).values_list("pk", flat=True)
    return Q(customer__in=customer_ids(text)) | Q(pk__in=list(waiting[: MAX_FOUND + 1]))


class AsyncCustomerFilter(ListFilter):
    q = text_filter("Search", "GUID, account, e-mail, phone or part of a name", method="search")
    channel = choice_filter(channels, "Channel", field="database__channel__code")
    state = choice_filter(list(STATE_WORDS.items()), "State", method="in_state")
    operation = choice_filter(Operation.choices, "Operation", field="operation")
    reason = choice_filter(reasons, "Reason", field="reason")
    since = day_filter("Arrived from", "staged_at", "gte")
    until = day_filter("Arrived to", "staged_at", "lt")

    def search(self, events: Rows, name: str, value: str) -> Rows:
        return events.filter(operations_matching(value))

    def in_state(self, events: Rows, name: str, value: str) -> Rows:
        if group := GROUPS.get(value):
            return events.filter(group)
        if value == "synchronized" and len(is_pending := pending_customers()) <= MAX_COUNTED:
            # Few among many: found by their customers first, or the planner might walk all.
            done = AsyncCustomer.objects.filter(
                DONE_CONDITION, customer__in=is_pending
            ).values_list("pk", flat=True)
            return events.filter(pk__in=list(done[: MAX_COUNTED + 1]))
        return events.filter(STATES[value])


def filter_async_customers(**filters: str) -> QuerySet[AsyncCustomer]:
    rows: QuerySet[AsyncCustomer] = AsyncCustomerFilter(filters, AsyncCustomer.objects.all()).qs
    return rows


class AsyncCustomerTable(ListTable):
    caption = "Async customer operations"
    walks = (("staged_at", "pk"),)

    channel = tables.Column(
        "Channel", accessor="database__channel__name", empty_values=(), attrs=wide_only("md")
    )
    account = Cell(
        "account",
        verbose_name="Customer account",
        accessor="customer__account_number",
    )
    async_account = Cell("trace_guid", verbose_name="Async customer account", attrs=wide_only("sm"))
    name = NameColumn(wide_only("lg"))
    operation = tables.Column("Operation", attrs=wide_only("md"))
    occurred_at = Formatted(when, verbose_name="Operations timestamp", attrs=wide_only("md"))
    staged_at = Formatted(
        when, verbose_name="Arrived", order_by=("staged_at", "pk"), attrs=wide_only("xxl")
    )
    state = Cell("state", verbose_name="Customer sync status")
    reason = tables.Column("Reason", visible=False)

    class Meta(ListTable.Meta):
        empty_text = (
            "No operations yet. The P-job uploads customers saved at tills: run the pipeline."
        )

    def render_channel(self, record: AsyncCustomer) -> str:
        return record.database.channel.name if record.database else "Headquarters"


def all_async_customers() -> Rows:
    newest = AsyncCustomer.objects.order_by("-staged_at", "-pk")
    return with_state(newest.select_related("database__channel", "customer"))
