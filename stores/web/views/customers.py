"""HQ's customers: the list, and one of them with all that belongs to it."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from stores.models import ChannelDatabase, Customer, Delivery
from stores.models.customer import AccountState
from stores.models.labels import counted, label
from stores.pipeline.corrections.customer import Busy, EditsRefused, Stale, save_edits
from stores.web.forms.customer import CustomerForms
from stores.web.lists.customers import CustomerFilter, CustomerTable, all_customers
from stores.web.lists.response import respond
from stores.web.permissions import require_permission
from stores.web.request import Request

may_change = require_permission(
    "stores.change_customer", "You do not have permission to change customers."
)

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


@require_safe
def customer_list(request: Request) -> HttpResponseBase:
    filters = CustomerFilter(request.GET, all_customers())
    return respond(request, filters, CustomerTable, "customers/list.html")


@require_safe
def customer_detail(request: Request, account: str) -> HttpResponse:
    """One customer; where several companies have the account, a choice between them."""
    customers = customers_with_account(request, account)
    if len(customers) > 1:
        return render(request, "customers/choose.html", {"customers": customers})
    can_change = customers[0].state == AccountState.ACTIVE and request.user.has_perm(
        "stores.change_customer"
    )
    context = customer_details(customers[0]) | {"can_change": can_change}
    return render(request, "customers/detail.html", context)


def customers_with_account(request: Request, account: str) -> list[Customer]:
    """The customers with an account, of the company asked for or of all."""
    matching = Customer.objects.filter(account_number=account).select_related("company")
    if company := request.GET.get("company"):
        matching = matching.filter(company__code=company)
    customers = list(matching.order_by("company__code"))
    if not customers:
        raise Http404(f"No customer has account {account}.")
    return customers


@require_http_methods(["GET", "HEAD", "POST"])
@may_change
def change_customer(request: Request, account: str) -> HttpResponse:
    """The customer with all that belongs to it; what is changed becomes events of headquarters."""
    customers = customers_with_account(request, account)
    if len(customers) > 1:
        return render(request, "customers/choose.html", {"customers": customers})
    customer = customers[0]
    if customer.state != AccountState.ACTIVE:
        messages.error(request, f"Account {customer} is {customer.get_state_display().lower()}.")
        return redirect(customer)
    changed = CustomerForms(customer, request.POST if request.method == "POST" else None)
    if request.method == "POST" and (answer := save_or_none(request, customer, changed)):
        return answer
    return render(request, "customers/change.html", {"customer": customer, "forms": changed})


def save_or_none(
    request: Request, customer: Customer, changed: CustomerForms
) -> HttpResponseRedirect | None:
    """Save what was typed; where to go then, or nothing if it is shown again with its flaws."""
    if changed.seen != customer.hq_version:
        return redirect_outdated(request, customer)
    if not changed.is_valid():
        return None
    edits = [edit for _, edit in changed.edits()]
    if not edits:
        messages.info(request, "No changes.")
        return redirect(customer)
    try:
        save_edits(customer, edits, version=changed.seen, by=request.user)
    except Stale:
        return redirect_outdated(request, customer)
    except EditsRefused as refused:
        changed.add_errors(refused)
        return None
    except Busy as occupied:
        messages.warning(request, str(occupied))
        return None
    saved = counted(len(edits), "change")
    messages.success(request, f"{saved} saved. 1010 sends them to the channels.")
    return redirect(customer)


def redirect_outdated(request: Request, customer: Customer) -> HttpResponseRedirect:
    """Nothing is saved; the person sees what somebody else, or a channel, has changed."""
    messages.warning(request, str(Stale()))
    company = {"company": customer.company_id}
    return redirect(reverse("change-customer", args=[customer.account_number], query=company))


def customer_details(customer: Customer) -> dict[str, Any]:
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


@dataclass(frozen=True)
class ChannelReach:
    """A channel database of the customer's company, and what it has of the customer."""

    database: ChannelDatabase
    delivery: Delivery | None

    @property
    def state(self) -> str:
        if self.delivery and self.delivery.delivered_version == self.delivery.version:
            return "delivered"
        is_on = self.database.is_enabled and self.database.channel.is_enabled
        return "pending" if self.delivery and is_on else "off" if not is_on else "never"

    @property
    def knows_account(self) -> bool:
        """Whether some version has arrived, if not the present one."""
        return bool(self.delivery and self.delivery.delivered_version)


def deliveries_of(customer: Customer) -> list[ChannelReach]:
    """What every channel database of the company has of the customer, in channel order."""
    deliveries = {delivery.database_id: delivery for delivery in customer.deliveries.all()}
    databases = ChannelDatabase.objects.with_channel().filter(channel__company=customer.company)
    return [ChannelReach(database, deliveries.get(database.pk)) for database in databases]
