"""The list of customers that have an account."""

from collections.abc import Sequence
from typing import Any

import django_tables2 as tables
from django.db.models import Exists, Min, OuterRef, Q, QuerySet

from stores.hqdb.sql import fetch_values
from stores.models import ChannelDatabase, Customer, DownloadException
from stores.models.channel import RECEIVED_UP_TO, ChannelDatabaseQuerySet
from stores.models.customer import AccountState
from stores.models.job import JobCode
from stores.models.search import parse_guid
from stores.web.counts import MAX_COUNTED
from stores.web.format import breaks_at_sign
from stores.web.lists import base
from stores.web.lists.search import MAX_FOUND, TOO_MANY_MESSAGE, customer_ids

ANY_DATABASE = "any"
NAME_ORDER = ("last_name", "name", "first_name")


def recipients() -> ChannelDatabaseQuerySet:
    """The enabled databases that are sent customers."""
    return ChannelDatabase.objects.enabled().recipients_of(JobCode.DOWNLOAD)


def database_choices() -> list[tuple[str, str]]:
    """The recipients of customers by label, and a choice that stands for any of them."""
    labels = [database.label for database in recipients().with_channel()]
    return [(ANY_DATABASE, "Any channel"), *((label, label) for label in labels)]


def chosen_recipients(choice: str) -> list[int]:
    """The ids of the recipients that a choice stands for."""
    databases = recipients()
    if choice != ANY_DATABASE:
        code, _, register = choice.partition("/")
        databases = databases.filter(channel__code=code, name=register)
    return list(databases.values_list("pk", flat=True))


def pending_condition(databases: Sequence[int], owner: str = "") -> Q:
    """Condition: one of the databases lacks the customer, or its latest change.

    `owner` is the path to the customer, if the rows are not customers themselves.
    """
    exceptions = DownloadException.objects.lacking().filter(database__in=databases)
    condition = Q(Exists(exceptions.filter(customer=OuterRef(owner or "pk"))))
    path = f"{owner}__" if owner else ""
    for company, received in least_received(databases):
        condition |= Q(**{f"{path}company": company, f"{path}change_no__gt": received})
    return condition


def least_received(databases: Sequence[int]) -> list[tuple[str, int]]:
    """For each company, the lowest change number up to which a database received every change."""
    rows = ChannelDatabase.objects.filter(pk__in=databases)
    lowest = rows.order_by().values("channel__company").annotate(lowest=Min(RECEIVED_UP_TO))
    return list(lowest.values_list("channel__company", "lowest"))


def pending_customers(databases: Sequence[int]) -> list[int]:
    """Ids of customers that one of the databases lacks.

    One more than MAX_COUNTED ids means that there may be more.
    """
    # Read by the index of change numbers: there can be millions.
    lowest = least_received(databases)
    return fetch_values(
        """SELECT pending.id
             FROM unnest(%(companies)s::text[], %(received)s::bigint[]) base (company, received),
                  LATERAL (SELECT k.id FROM customer k
                            WHERE k.company_id = base.company AND k.change_no > base.received
                            ORDER BY k.change_no LIMIT %(limit)s) pending
            UNION
           SELECT customer_id FROM download_exception
            WHERE database_id = ANY(%(databases)s) AND settled_at IS NULL AND reason <> 'requested'
            LIMIT %(limit)s""",
        {
            "companies": [company for company, _ in lowest],
            "received": [received for _, received in lowest],
            "databases": list(databases),
            "limit": MAX_COUNTED + 1,
        },
    )


class CustomerFilter(base.ListFilter):
    q = base.search_filter("Account, GUID, e-mail, phone or part of a name")
    company = base.choice_filter(base.companies, "Company", field="company")
    active = base.choice_filter(
        [("yes", "Active"), ("no", "Not active")], "Active", method="filter_active"
    )
    owed = base.choice_filter(
        database_choices, "Delivery pending to", empty="All customers", method="filter_pending"
    )

    def search(self, customers: base.Rows, name: str, value: str) -> base.Rows:
        if guid := parse_guid(value):
            return customers.filter(guids__async_account=guid)
        ids = customer_ids(value)
        if len(ids) > MAX_FOUND:
            self.note = TOO_MANY_MESSAGE
        return customers.filter(pk__in=ids)

    def filter_active(self, customers: base.Rows, name: str, value: str) -> base.Rows:
        return customers.filter(is_active=value == "yes")

    def filter_pending(self, customers: base.Rows, name: str, value: str) -> base.Rows:
        databases = chosen_recipients(value)
        ids = pending_customers(databases)
        if len(ids) <= MAX_COUNTED:
            return customers.filter(pk__in=ids)
        return customers.filter(pending_condition(databases))


def filter_customers(**parameters: str) -> QuerySet[Customer]:
    """The customers that the list shows for these parameters of its URL."""
    customers: QuerySet[Customer] = CustomerFilter(parameters, Customer.objects.all()).qs
    return customers


class NameColumn(tables.Column):  # type: ignore[misc]
    """The whole name of a customer, in the direction of its script."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(
            "Name", accessor="display_name", order_by=NAME_ORDER, attrs=base.bidirectional(attrs)
        )


class CustomerTable(base.ListTable):
    title = "Customers"
    lead = "Customers of headquarters, newest account first."
    if_empty = (
        "No customers yet. Uploaded customers get their accounts when they are synchronized:"
        " run the pipeline."
    )
    indexed_orders = (("pk",), ("company_id", "account_number"))

    account_number = tables.Column(
        "Account", order_by=("company_id", "account_number"), linkify=True
    )
    name = NameColumn()
    email = base.FormattedColumn("E-mail", breaks_at_sign, attrs=base.wide_only("xl", "mail"))
    phone = tables.Column("Phone", attrs=base.wide_only("xl", "text-nowrap"))
    company = tables.Column("Company", accessor="company_id", attrs=base.wide_only("xxl"))
    created_at = base.CreationColumn("Created", attrs=base.wide_only("md"))
    is_pending = base.TemplateColumn("Delivery", "delivery")
    is_active = base.TemplateColumn("Status", "active", attrs=base.wide_only("sm"))

    def value_is_pending(self, value: bool) -> str:
        return "Pending" if value else "Up to date"

    def value_is_active(self, record: Customer) -> str:
        """The word that the page shows as a badge."""
        if record.state != AccountState.ACTIVE:
            return str(record.get_state_display())
        if record.is_blocked:
            return "Blocked"
        return "Active" if record.is_active else "Inactive"


def all_customers() -> QuerySet[Customer]:
    """All customers, newest first; `is_pending` says whether a delivery is pending."""
    is_pending = pending_condition(chosen_recipients(ANY_DATABASE))
    return Customer.objects.newest_first().annotate(is_pending=is_pending)
