"""Customers with an account."""

from typing import Any

import django_tables2 as tables
from django.db.models import Exists, OuterRef, QuerySet

from stores.hqdb.sql import fetch
from stores.models import ChannelDatabase, Customer, Delivery
from stores.models.search import parse_guid
from stores.web.components import when
from stores.web.counts import MAX_COUNTED
from stores.web.format import breaks_at_sign
from stores.web.lists.base import (
    Cell,
    Formatted,
    ListFilter,
    ListTable,
    Rows,
    bidirectional,
    choice_filter,
    companies,
    text_filter,
    wide_only,
)
from stores.web.lists.search import MAX_FOUND, TOO_MANY_MESSAGE, customer_ids

ANY_DATABASE = "any"


def pending_deliveries(**filters: Any) -> QuerySet[Delivery]:
    return Delivery.objects.pending().filter(
        database__is_enabled=True, database__channel__is_enabled=True, **filters
    )


def pending_customers(**filters: Any) -> list[int]:
    """Ids of the customers that enabled databases lack, newest first.

    One more than MAX_COUNTED stands for any number beyond it.
    """
    databases = ChannelDatabase.objects.enabled().filter(**filters).values_list("pk", flat=True)
    # The newest of each by its index: all of them at once may be millions.
    rows = fetch(
        """SELECT DISTINCT pending.customer_id FROM unnest(%(databases)s::bigint[]) base (id),
                  LATERAL (SELECT d.customer_id FROM delivery d
                            WHERE d.database_id = base.id AND d.delivered_version < d.version
                            ORDER BY d.customer_id DESC LIMIT %(most)s) pending
            ORDER BY 1 DESC LIMIT %(most)s""",
        {"databases": list(databases), "most": MAX_COUNTED + 1},
    )
    return [customer for (customer,) in rows]


def databases() -> list[tuple[str, str]]:
    """The databases that deliveries can be pending for, by label."""
    labels = [database.label for database in ChannelDatabase.objects.enabled().with_channel()]
    return [(ANY_DATABASE, "Any channel"), *((label, label) for label in labels)]


def database_named(label: str) -> dict[str, str]:
    code, _, register = label.partition("/")
    return {"channel__code": code, "name": register}


class CustomerFilter(ListFilter):
    q = text_filter("Search", "Account, GUID, e-mail, phone or part of a name", method="search")
    company = choice_filter(companies, "Company", field="company")
    active = choice_filter([("yes", "Active"), ("no", "Not active")], "Active", method="is_active")
    owed = choice_filter(databases, "Delivery pending to", empty="-", method="is_pending")

    def search(self, customers: Rows, name: str, value: str) -> Rows:
        if guid := parse_guid(value):
            return customers.filter(guids__async_account=guid)
        ids = customer_ids(value)
        if len(ids) > MAX_FOUND:
            self.note = TOO_MANY_MESSAGE
        return customers.filter(pk__in=ids)

    def is_active(self, customers: Rows, name: str, value: str) -> Rows:
        return customers.filter(is_active=value == "yes")

    def is_pending(self, customers: Rows, name: str, value: str) -> Rows:
        filters = {} if value == ANY_DATABASE else database_named(value)
        condition = pending_customers(**filters)
        if len(condition) <= MAX_COUNTED:
            return customers.filter(pk__in=condition)
        databases = {f"database__{name}": deliveries for name, deliveries in filters.items()}
        return customers.filter(
            Exists(pending_deliveries(customer=OuterRef("pk"), **databases)), pk__lte=condition[0]
        )


def filter_customers(**filters: str) -> QuerySet[Customer]:
    rows: QuerySet[Customer] = CustomerFilter(filters, Customer.objects.all()).qs
    return rows


BY_NAME = ("last_name", "name", "first_name")


class NameColumn(tables.Column):  # type: ignore[misc]
    """What a customer is called; each name runs as its own letters do."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(
            "Name", accessor="display_name", order_by=BY_NAME, attrs=bidirectional(attrs)
        )


class CustomerTable(ListTable):
    caption = "Customers"
    walks = (("pk",), ("company_id", "account_number"))

    account_number = tables.Column(
        "Account", order_by=("company_id", "account_number"), linkify=True
    )
    name = NameColumn()
    email = Formatted(breaks_at_sign, verbose_name="E-mail", attrs=wide_only("lg", "mail"))
    phone = tables.Column("Phone", attrs=wide_only("xl", "text-nowrap"))
    company = tables.Column("Company", accessor="company_id", attrs=wide_only("xxl"))
    created_at = Formatted(when, verbose_name="Created", order_by="pk", attrs=wide_only("md"))
    is_pending = Cell("delivery", verbose_name="Delivery")
    is_active = Cell("active", verbose_name="Status", attrs=wide_only("sm"))

    class Meta(ListTable.Meta):
        empty_text = (
            "No customers yet. Uploaded customers get their accounts when they are synchronized:"
            " run the pipeline."
        )


def all_customers() -> QuerySet[Customer]:
    """Every customer, newest first, and whether a channel still lacks something of it."""
    pending = Exists(pending_deliveries(customer=OuterRef("pk")))
    return Customer.objects.newest_first().annotate(is_pending=pending)
