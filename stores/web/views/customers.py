"""The pages of customers: the lists, one customer, and the form that changes it."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from stores.jobs.catalog import JOBS
from stores.jobs.push import PushRefused, push_customers
from stores.messages.labels import counted, label
from stores.models import ChannelDatabase, Customer, CustomerDelivery, DownloadException
from stores.models.customer import AccountState
from stores.models.job import JobCode
from stores.models.package import ExceptionReason
from stores.models.run import StartedBy
from stores.pipeline.corrections.customer import CustomersBusy, EditsRefused, Stale, save_edits
from stores.pipeline.download.exceptions import add_exceptions
from stores.pipeline.download.sessions import next_download
from stores.pipeline.events.kinds import CUSTOMER
from stores.trace.distribution import load_distribution
from stores.trace.missing import missing_step
from stores.trace.types import MissingStep
from stores.web.forms.customer import CustomerForms
from stores.web.lists.async_customers import (
    AsyncCustomerFilter,
    AsyncCustomerTable,
    all_async_customers,
)
from stores.web.lists.customers import CustomerFilter, CustomerTable, all_customers
from stores.web.lists.fields_to_correct import FieldFilter, FieldTable, all_fields_to_correct
from stores.web.lists.response import list_view
from stores.web.permissions import check_permissions, require_permission, sees_errors
from stores.web.request import Request, posted_id
from stores.web.views.runs import add_start_message

may_change_customers = require_permission("stores.change_customer", "change customers")
MAY_PUSH = ("stores.control_job", *JOBS[JobCode.DOWNLOAD].permissions)
may_resend = require_permission("stores.control_job", "send customers again")

customer_list = list_view(CustomerFilter, CustomerTable, all_customers)
async_customer_list = list_view(AsyncCustomerFilter, AsyncCustomerTable, all_async_customers)
field_list = list_view(FieldFilter, FieldTable, all_fields_to_correct)


@require_safe
def customer_detail(request: Request, account: str) -> HttpResponse:
    """One customer, or a choice if several companies have the account."""
    customers = customers_with_account(request, account)
    if len(customers) > 1:
        return render(request, "customers/choose.html", {"customers": customers})
    [customer] = customers
    may_change = request.user.has_perm("stores.change_customer")
    can_change = may_change and customer.state == AccountState.ACTIVE
    context = customer_details(customer, with_errors=sees_errors(request.user))
    context["can_change"] = can_change
    return render(request, "customers/detail.html", context)


def customers_with_account(request: Request, account: str) -> list[Customer]:
    """The customers with an account, in one company or in any. Errors: Http404."""
    customers = Customer.objects.filter(account_number=account).select_related("company")
    if company := request.GET.get("company"):
        customers = customers.filter(company__code=company)
    matches = list(customers.order_by("company__code"))
    if not matches:
        raise Http404(f"No customer has account {account}.")
    return matches


@require_http_methods(["GET", "HEAD", "POST"])
@may_change_customers
def change_customer(request: Request, account: str) -> HttpResponse:
    """Forms for a customer with its parts; a POST saves the changes as events of headquarters."""
    customers = customers_with_account(request, account)
    if len(customers) > 1:
        return render(request, "customers/choose.html", {"customers": customers})
    [customer] = customers
    if customer.state != AccountState.ACTIVE:
        messages.error(request, f"Account {customer} is {customer.get_state_display().lower()}.")
        return redirect(customer)
    forms = CustomerForms(customer, request.POST or None)
    if request.method == "POST" and (response := save_changes(request, customer, forms)):
        return response
    return render(request, "customers/change.html", {"customer": customer, "forms": forms})


def save_changes(
    request: Request, customer: Customer, forms: CustomerForms
) -> HttpResponseRedirect | None:
    """Save the posted changes. Returns None if the forms must be shown again with errors."""
    if forms.posted_version != customer.hq_version:
        return redirect_stale(request, customer)
    if not forms.is_valid():
        return None
    edits = forms.edits()
    if not edits:
        messages.info(request, "No changes.")
        return redirect(customer)
    try:
        save_edits(customer, edits, version=forms.posted_version, by=request.user)
    except Stale:
        return redirect_stale(request, customer)
    except EditsRefused as error:
        forms.add_errors(error)
        return None
    except CustomersBusy as error:
        messages.warning(request, str(error))
        return None
    saved = counted(len(edits), "change")
    messages.success(request, f"{saved} saved. 1010 sends the customer to the channels.")
    return redirect(customer)


def redirect_stale(request: Request, customer: Customer) -> HttpResponseRedirect:
    """Show the form again, with the values that someone else or a channel saved meanwhile."""
    messages.warning(request, str(Stale()))
    company = {"company": customer.company_id}
    return redirect(reverse("change-customer", args=[customer.account_number], query=company))


def customer_details(customer: Customer, *, with_errors: bool) -> dict[str, Any]:
    return {
        "customer": customer,
        "details": [
            *((label(field), getattr(customer, field)) for field in CUSTOMER.columns),
            ("Receipt preference", customer.get_receipt_preference_display()),
            ("Financial dimensions", customer.financial_dimensions),
        ],
        "addresses": customer.addresses.order_by("-is_active", "-is_primary", "purpose", "pk"),
        "contacts": customer.contacts.order_by("-is_active", "kind", "-is_primary", "pk"),
        "affiliations": customer.affiliations.order_by("-is_active", "affiliation"),
        "attributes": customer.attributes.order_by("-is_active", "attribute"),
        "guids": customer.guids.select_related("channel").order_by("created_at", "pk"),
        "deliveries": deliveries_of(customer, with_errors=with_errors),
    }


@require_POST
@may_resend
def resend(request: Request, account: str) -> HttpResponseRedirect:
    """Send a customer to one channel database again, with its next download."""
    customer = customers_with_account(request, account)[0]
    databases = ChannelDatabase.objects.with_channel().filter(channel__company=customer.company)
    database = get_object_or_404(databases, pk=posted_id(request, "database"))
    if customer.change_no is None:
        messages.error(request, f"Account {customer} is for no channel.")
    else:
        add_exceptions(database, [customer.pk], ExceptionReason.REQUESTED, by=request.user)
        effect = f"sends {customer} to {database.label} again"
        messages.success(request, next_download(database, effect))
    return redirect(customer)


@require_POST
def push(request: Request, account: str) -> HttpResponseRedirect:
    """Start a download that sends a customer to one channel database, and show its run."""
    check_permissions(request, "push customers to a channel", *MAY_PUSH)
    customer = customers_with_account(request, account)[0]
    databases = ChannelDatabase.objects.with_channel().filter(channel__company=customer.company)
    database = get_object_or_404(databases, pk=posted_id(request, "database"))
    if customer.change_no is None:
        messages.error(request, f"Account {customer} is for no channel.")
        return redirect(customer)
    try:
        started = push_customers(
            database, [customer.pk], by=request.user, started_by=StartedBy.PAGE
        )
    except PushRefused as refusal:
        messages.error(request, str(refusal))
        return redirect(customer)
    if started.is_new:
        add_start_message(request, started.run)
    else:
        messages.info(request, f"1010 is already running. It, or the next one, sends {customer}.")
    return redirect(started.run)


@dataclass(frozen=True)
class ChannelReach:
    """Whether a channel database of the customer's company has the customer."""

    database: ChannelDatabase
    # The last delivery that the database still holds.
    delivery: CustomerDelivery | None
    # Whether it lacks the customer's present version, and why.
    is_lacking: bool
    missing: MissingStep | None
    # Whether the customer is sent to channels at all.
    is_sent: bool
    # Whether 1010 leaves out this database, because it is that of a register.
    is_excluded: bool
    # The open request of a person to send the customer again.
    request: DownloadException | None

    @property
    def state(self) -> str:
        if self.is_excluded:
            return "excluded"
        if self.is_sent and not self.is_lacking:
            return "delivered"
        if not self.database.is_visited:
            return "off"
        return "pending" if self.is_sent else "never"


def deliveries_of(customer: Customer, *, with_errors: bool) -> list[ChannelReach]:
    """Whether each channel database of the company has the customer, in channel order."""
    databases = list(
        ChannelDatabase.objects.with_channel().filter(channel__company=customer.company)
    )
    distribution = load_distribution(customer, databases)
    requested = customer.exceptions.open().filter(reason=ExceptionReason.REQUESTED)
    requests = {row.database_id: row for row in requested.select_related("requested_by")}
    return [
        ChannelReach(
            database,
            distribution.held[database.pk][-1] if database.pk in distribution.held else None,
            is_lacking=database.pk in distribution.lacking,
            missing=missing_step(database, distribution, with_errors=with_errors),
            is_sent=customer.change_no is not None,
            is_excluded=database.pk in distribution.left_out,
            request=requests.get(database.pk),
        )
        for database in databases
    ]
