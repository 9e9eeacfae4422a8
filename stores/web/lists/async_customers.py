"""The list of async customer operations: every customer event that a channel sent."""

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any

import django_tables2 as tables
from django.db.models import Case, CharField, Exists, OuterRef, Q, QuerySet, Value, When

from stores.models import AsyncCustomer, Customer, GuidMap, OpenEvent, SettledEvent
from stores.models.customer import GuidOrigin
from stores.models.open_event import OpenStatus
from stores.models.search import contact_key, matches_name, matches_own_contact, parse_guid
from stores.models.staging import OPEN_STATUSES, Operation, StagingStatus
from stores.values.characters import normalize_key
from stores.web.counts import MAX_COUNTED
from stores.web.lists import base
from stores.web.lists.customers import (
    ANY_DATABASE,
    NameColumn,
    chosen_recipients,
    pending_condition,
    pending_customers,
)
from stores.web.lists.search import MAX_FOUND, customer_ids

IS_DONE = Q(status__in=[StagingStatus.APPLIED, StagingStatus.SUPERSEDED])
IS_LINKED = Exists(
    GuidMap.objects.filter(async_account=OuterRef("async_account"), origin=GuidOrigin.LINKED)
)
# The states of operations that are not done.
OPEN_STATES = {
    "not_synchronized": Q(status=StagingStatus.PENDING, reason__isnull=True),
    "waiting": Q(status=StagingStatus.PENDING, reason__isnull=False),
    "failed": Q(status=StagingStatus.FAILED),
    "erased": Q(status=StagingStatus.ERASED),
}
# States in which an operation waits to be converted, or failed: `is_open` finds these quickly.
UNFINISHED = ("not_synchronized", "open", "pending")
# Those of them in which an operation has an open event.
OPENED = (OpenStatus.WAITING, OpenStatus.FAILED)
# Further choices of the filter, to which the numbers of the balance link. They overlap the states.
STATE_GROUPS = {
    "open": Q(status__in=OPEN_STATUSES),
    "pending": Q(status=StagingStatus.PENDING),
    "converted": IS_DONE & ~IS_LINKED,
    "linked": IS_DONE & IS_LINKED,
}
STATE_CHOICES = [
    ("open", "Not finished"),
    ("pending", "Not synchronized or waiting"),
    ("converted", "Converted"),
    ("linked", "Linked to an account"),
    ("not_synchronized", "Not synchronized"),
    ("waiting", "Waiting"),
    ("failed", "Failed"),
    ("synchronized", "Synchronized"),
    ("distributed", "Distributed"),
    ("erased", "Erased"),
]


def states() -> dict[str, Q]:
    """The state of each operation; exactly one of the conditions holds.

    Whether one is distributed depends on the positions of the channels.
    """
    is_pending = pending_condition(chosen_recipients(ANY_DATABASE), "customer")
    return OPEN_STATES | {
        "synchronized": IS_DONE & is_pending,
        "distributed": IS_DONE & ~is_pending,
    }


def matching_operations(text: str) -> Q:
    """The operations of the customers that a text names, and open ones that name it themselves."""
    if guid := parse_guid(text):
        customers = list(GuidMap.objects.filter(pk=guid).values_list("customer", flat=True))
        is_open = Q(async_account=guid, status__in=OPEN_STATUSES)
        return Q(pk=guid) | of_customers(customers) | is_open
    text = normalize_key(text)
    names_text = Q(account_number=text) | matches_name(text)
    if key := contact_key(text):
        names_text |= matches_own_contact(key)
    # An operation without a customer is found by its own columns, among the open ones.
    open_ids = AsyncCustomer.objects.open().filter(names_text).values_list("pk", flat=True)
    return of_customers(customer_ids(text)) | Q(pk__in=list(open_ids[: MAX_FOUND + 1]))


def of_customers(customers: Iterable[int]) -> Q:
    """The operations of some customers, found by their account numbers and GUIDs."""
    chosen = list(customers)
    guids = GuidMap.objects.filter(customer__in=chosen).values_list("pk", flat=True)
    accounts: dict[str, list[str]] = {}
    customer_accounts = Customer.objects.filter(pk__in=chosen)
    for company, account in customer_accounts.values_list("company", "account_number"):
        accounts.setdefault(company, []).append(account)
    names_customer = reduce(
        or_,
        (Q(company=company, account_number__in=names) for company, names in accounts.items()),
        Q(async_account__in=list(guids)),
    )
    return names_customer & Q(customer__in=chosen)


def open_event_ids(**condition: str) -> QuerySet[Any, Any]:
    """The ids of the customers' open events that meet the condition."""
    events = OpenEvent.objects.filter(table=AsyncCustomer.log_table(), **condition)
    return events.values("event_id")


class AsyncCustomerFilter(base.ListFilter):
    q = base.search_filter("GUID, account, e-mail, phone or part of a name")
    channel = base.choice_filter(base.channels, "Channel", field="database__channel__code")
    state = base.choice_filter(STATE_CHOICES, "State", method="filter_state")
    operation = base.choice_filter(Operation.choices, "Operation", field="operation")
    reason = base.choice_filter(base.reasons, "Reason", method="filter_reason")
    since = base.FirstDayFilter("Arrived from", "staged_at")
    until = base.LastDayFilter("Arrived to", "staged_at")

    def search(self, operations: base.Rows, name: str, value: str) -> base.Rows:
        return operations.filter(matching_operations(value))

    def filter_reason(self, operations: base.Rows, name: str, value: str) -> base.Rows:
        if value == "corrected":
            corrected = SettledEvent.objects.filter(table=AsyncCustomer.log_table(), reason=value)
            return operations.filter(pk__in=corrected.values("event_id"))
        return operations.filter(pk__in=open_event_ids(reason=value), reason=value)

    def filter_state(self, operations: base.Rows, name: str, value: str) -> base.Rows:
        if value in UNFINISHED:
            operations = operations.filter(AsyncCustomer.is_open())
        if value in OPENED:
            operations = operations.filter(pk__in=open_event_ids(status=value))
        if value in STATE_GROUPS:
            return operations.filter(STATE_GROUPS[value])
        if value == "synchronized":
            return filter_synchronized(operations)
        # Only those who are done depend on the positions of the channels.
        return operations.filter(OPEN_STATES[value] if value in OPEN_STATES else states()[value])


def filter_synchronized(operations: QuerySet[AsyncCustomer]) -> QuerySet[AsyncCustomer]:
    """The operations of customers with a pending delivery."""
    customers = pending_customers(chosen_recipients(ANY_DATABASE))
    if len(customers) > MAX_COUNTED:
        return operations.filter(states()["synchronized"])
    # Few customers: look their operations up first, or the planner might read all operations.
    done = AsyncCustomer.objects.filter(IS_DONE & of_customers(customers))
    ids = done.values_list("pk", flat=True)
    return operations.filter(pk__in=list(ids[: MAX_COUNTED + 1]))


def filter_async_customers(**parameters: str) -> QuerySet[AsyncCustomer]:
    """The operations that the list shows for these parameters of its URL."""
    filters = AsyncCustomerFilter(parameters, AsyncCustomer.objects.all())
    operations: QuerySet[AsyncCustomer] = filters.qs
    return operations


class AsyncCustomerTable(base.ListTable):
    title = "Async customers"
    lead = "Every customer operation sent by the channels, newest first, with its current status."
    if_empty = "No operations yet. The P-job uploads customers saved at tills: run the pipeline."
    indexed_orders = (("staged_at", "pk"),)

    channel = tables.Column(
        "Channel", accessor="database__channel__name", empty_values=(), attrs=base.wide_only("md")
    )
    account = base.TemplateColumn(
        "Customer account", "account", accessor="customer__account_number"
    )
    async_account = base.TemplateColumn(
        "Async customer account", "trace_guid", attrs=base.wide_only("sm")
    )
    name = NameColumn(base.wide_only("xl"))
    operation = tables.Column("Operation", attrs=base.wide_only("xl"))
    occurred_at = base.TimeColumn("Operations timestamp", attrs=base.wide_only("md"))
    staged_at = base.TimeColumn(
        "Arrived", order_by=("staged_at", "pk"), attrs=base.wide_only("xxl")
    )
    state = base.TemplateColumn("Customer sync status", "state")
    reason = tables.Column("Reason", visible=False)

    def render_channel(self, record: AsyncCustomer) -> str:
        return record.database.channel.name if record.database else "Headquarters"


def all_async_customers() -> base.Rows:
    state = Case(
        *(When(condition, then=Value(state)) for state, condition in states().items()),
        output_field=CharField(),
    )
    operations = AsyncCustomer.objects.select_related("database__channel", "customer")
    newest_first: base.Rows = operations.annotate(state=state).order_by("-staged_at", "-pk")
    return newest_first
