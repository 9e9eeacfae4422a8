"""HQ's customers: the list, and one of them with all that belongs to it."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from stores.filters import CustomerFilter, owed_by
from stores.models import ChannelDatabase, Customer, Delivery
from stores.tables import CustomerTable
from stores.views import Request
from stores.views.lists import respond

DETAILS = (
    "customer_type",
    "title",
    "first_name",
    "middle_name",
    "last_name",
    "name",
    "email",
    "phone",
    "receipt_email",
    "birth_date",
    "language",
    "currency",
    "customer_group",
    "vat_number",
)

LABELS = {"email": "E-mail", "receipt_email": "E-mail for receipts", "vat_number": "VAT number"}


@require_safe
def customer_list(request: Request) -> HttpResponseBase:
    """Every customer with an account, newest first."""
    owed = Exists(owed_by(customer=OuterRef("pk")))
    filters = CustomerFilter(request.GET, Customer.objects.newest_first().annotate(owed=owed))
    return respond(request, filters, CustomerTable, "customers/list.html")


@require_safe
def customer_detail(request: Request, account: str) -> HttpResponse:
    """One customer; where several companies have the account, a choice between them."""
    found = Customer.objects.filter(account_number=account).select_related("company")
    if company := request.GET.get("company"):
        found = found.filter(company__code=company)
    customers = list(found.order_by("company__code"))
    if not customers:
        raise Http404(f"No customer has the account {account}.")
    if len(customers) > 1:
        return render(request, "customers/choose.html", {"customers": customers})
    return render(request, "customers/detail.html", describe(customers[0]))


def describe(customer: Customer) -> dict[str, Any]:
    """All that belongs to a customer; what is active comes first."""
    return {
        "customer": customer,
        "details": [(label(field), getattr(customer, field)) for field in DETAILS],
        "addresses": customer.addresses.order_by("-is_active", "-is_primary", "purpose", "pk"),
        "contacts": customer.contacts.order_by("-is_active", "kind", "-is_primary", "pk"),
        "affiliations": customer.affiliations.order_by("-is_active", "affiliation"),
        "attributes": customer.attributes.order_by("-is_active", "attribute"),
        "guids": customer.guids.select_related("channel").order_by("created_at", "pk"),
        "deliveries": deliveries_of(customer),
    }


def label(field: str) -> str:
    return LABELS.get(field) or field.replace("_", " ").capitalize()


@dataclass(frozen=True)
class Reach:
    """A channel database of the customer's company, and what it has of the customer."""

    database: ChannelDatabase
    delivery: Delivery | None

    @property
    def state(self) -> str:
        if self.delivery and self.delivery.delivered_version == self.delivery.version:
            return "delivered"
        is_on = self.database.is_enabled and self.database.channel.is_enabled
        return "owed" if self.delivery and is_on else "off" if not is_on else "never"

    @property
    def knows_account(self) -> bool:
        """Whether some version has arrived, if not the present one."""
        return bool(self.delivery and self.delivery.delivered_version)


def deliveries_of(customer: Customer) -> list[Reach]:
    """What every channel database of the company has of the customer, in channel order."""
    found = {delivery.database_id: delivery for delivery in customer.deliveries.all()}
    databases = ChannelDatabase.objects.with_channel().filter(channel__company=customer.company)
    return [Reach(database, found.get(database.pk)) for database in databases]
