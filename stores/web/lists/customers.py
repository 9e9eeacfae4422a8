"""Customers with an account."""

from typing import Any

import django_tables2 as tables
from django.db.models import Exists, OuterRef, QuerySet

from stores.hqdb.sql import fetch
from stores.models import AsyncCustomer, ChannelDatabase, Customer, Delivery
from stores.web.components import when
from stores.web.counts import MOST_COUNTED
from stores.web.format import breaks_at_sign, name_of
from stores.web.lists.base import (
    Cell,
    Formatted,
    ListFilter,
    ListTable,
    choice,
    companies,
    either_way,
    text,
    wide,
)
from stores.web.lists.search import MOST_FOUND, TOO_MANY, as_guid, people

ANY = "any"


def owed_by(**wanted: Any) -> QuerySet[Delivery]:
    """Deliveries that enabled databases still lack."""
    return Delivery.objects.pending().filter(
        database__is_enabled=True, database__channel__is_enabled=True, **wanted
    )


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


def databases() -> list[tuple[str, str]]:
    """The databases that can be owed something, by label."""
    labels = [database.label for database in ChannelDatabase.objects.enabled().with_channel()]
    return [(ANY, "Any channel"), *((label, label) for label in labels)]


def database_called(label: str) -> dict[str, str]:
    """The conditions on a database that a label means."""
    code, _, register = label.partition("/")
    return {"channel__code": code, "name": register}


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


def customers(**wanted: str) -> QuerySet[Customer]:
    """The rows that /customers/ lists for these filters."""
    found: QuerySet[Customer] = CustomerFilter(wanted, Customer.objects.all()).qs
    return found


BY_NAME = ("last_name", "name", "first_name")


class PeopleTable(ListTable):
    def render_name(self, record: AsyncCustomer | Customer) -> str:
        return name_of(record)


class CustomerTable(PeopleTable):
    caption = "Customers"
    walks = (("pk",), ("company_id", "account_number"))

    account_number = tables.Column(
        "Account", order_by=("company_id", "account_number"), linkify=True
    )
    name = tables.Column("Name", empty_values=(), order_by=BY_NAME, attrs=either_way())
    email = Formatted(breaks_at_sign, verbose_name="E-mail", attrs=wide("lg", "mail"))
    phone = tables.Column("Phone", attrs=wide("xl", "text-nowrap"))
    company = tables.Column("Company", accessor="company_id", attrs=wide("xxl"))
    created_at = Formatted(when, verbose_name="Created", order_by="pk", attrs=wide("md"))
    owed = Cell("owed", verbose_name="Delivery")
    is_active = Cell("active", verbose_name="Status", attrs=wide("sm"))

    class Meta(ListTable.Meta):
        model = Customer
        fields: tuple[str, ...] = ()
        empty_text = (
            "No customers yet. Uploaded customers get their accounts when they are synchronized:"
            " run the pipeline."
        )


def all_customers() -> QuerySet[Customer]:
    """Every customer, newest first, and whether a channel still lacks something of it."""
    owed = Exists(owed_by(customer=OuterRef("pk")))
    return Customer.objects.newest_first().annotate(owed=owed)
