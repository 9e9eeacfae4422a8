"""The page of a till: whoever may use it works in a channel's database, as at a till of the store.

A request opens the database, which has time limits, as on the pages that add channels. Which
register it is, whether that is offline and whether headquarters can be reached is part of the URL:
it changes nothing at headquarters. See docs/till.md.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.db import DatabaseError, InterfaceError
from django.forms import Form
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from stores.channeldb.errors import ChannelError
from stores.hqdb.sql import fetch_value
from stores.models import Channel
from stores.models.run import StepFailed
from stores.rts.body import customer_values
from stores.rts.customers import create_customer as create_at_headquarters
from stores.rts.errors import ServiceError
from stores.till.counter import OpenTill, Till
from stores.till.customers import (
    LOYALTY_CARD,
    add_address,
    create_customer,
    edit_customer,
    issue_loyalty_card,
    warn,
    why_not_created,
)
from stores.till.look_up import (
    Found,
    addresses_of,
    attribute_of,
    by_ref,
    current_state,
    expectation,
    search,
)
from stores.till.refusals import InvalidValues, Refused, UnknownCustomer
from stores.till.sales import order, sell
from stores.till.service import Answer, ServiceUnreachable, refusal_of
from stores.till.settings import TillSettings
from stores.web.forms.till import (
    CUSTOMER_COLUMNS,
    AddressForm,
    BasketForm,
    CardForm,
    CustomerForm,
    EditForm,
    OrderForm,
    PlaceForm,
    TillForm,
)
from stores.web.permissions import require_permission
from stores.web.request import Request

# Half of the threads of a web process.
MAX_OPEN = 4
LOOK_ALIKES = "look-alikes"
RECONNECT = "reconnect"
LOCK = "hashtextextended('till', %s)"

may_use_till = require_permission("stores.use_till", "use the till of a channel")


@dataclass(frozen=True)
class PortalService:
    """The real-time service, called in this process; `is_away` as if it could not be reached."""

    channel: Channel
    is_away: bool

    def create(self, event: Mapping[str, str]) -> Answer:
        self.reach()
        try:
            answer, _ = create_at_headquarters(self.channel, customer_values(event))
        except ServiceError as error:
            raise refusal_of(error.status, error.body) from None
        except (StepFailed, DatabaseError, InterfaceError):
            raise ServiceUnreachable("Headquarters cannot do this now.") from None
        return Answer(answer.account_number, answer.message)

    def reach(self) -> None:
        if self.is_away:
            raise ServiceUnreachable("Headquarters could not be reached.")


@dataclass(frozen=True)
class Action:
    """What a form of the page does. The names are those of the command."""

    form: type[TillForm]
    run: Callable[[Till, str, Any], Any]
    needs_customer: bool = True
    # The feature without which the till refuses it.
    feature: str = ""


ACTIONS = {
    "create-customer": Action(
        CustomerForm, lambda till, ref, form: create_customer(till, form.new), needs_customer=False
    ),
    "edit-customer": Action(
        EditForm,
        lambda till, ref, form: edit_customer(
            till, ref, form.values, based_on=form.cleaned_data["based_on"], save_id=form.save
        ),
        feature="async_edit",
    ),
    "add-address": Action(
        AddressForm,
        lambda till, ref, form: add_address(till, ref, form.values, save_id=form.save),
        feature="async_addresses",
    ),
    "issue-loyalty-card": Action(
        CardForm,
        lambda till, ref, form: issue_loyalty_card(
            till, ref, form.cleaned_data["card"], save_id=form.save
        ),
    ),
    "sell": Action(
        BasketForm,
        lambda till, ref, form: sell(
            till,
            form.basket,
            ref,
            is_return=form.cleaned_data["kind"] == "return",
            save_id=form.save,
        ),
        needs_customer=False,
    ),
    "order": Action(
        OrderForm,
        lambda till, ref, form: order(
            till,
            form.basket,
            ref,
            prepaid=form.cleaned_data["prepaid"] or Decimal(0),
            delivers=form.cleaned_data["delivers"],
            save_id=form.save,
        ),
    ),
}


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@may_use_till
def till(request: Request, code: str) -> HttpResponse:
    """A till of a channel; a POST does an action, reconnects or looks for look-alikes."""
    channel = get_object_or_404(Channel.objects.select_related("company"), code=code)
    if not channel.is_enabled:
        messages.error(request, f"Channel {code} is switched off, so nobody can use its tills.")
        return redirect(channel)
    place = PlaceForm(channel, request.GET)
    if not place.is_valid():
        raise Http404
    page = TillPage(request, channel, place, till_of(request, channel, place))
    is_post = request.method == "POST"
    try:
        with one_of_few():
            return page.respond()
    except TillsBusy:
        nothing = "Nothing was saved. " if is_post else ""
        trouble = f"Too many tills are in use here. {nothing}Try again."
    except ChannelError as error:
        trouble = f"{error} It works when the database can be used again."
        if is_post:
            trouble += " Look whether it was saved before you enter it again."
    if request.POST.get("action") == LOOK_ALIKES:
        # It fills a part of the page, which stays as it is.
        return HttpResponse(status=204)
    return page.render_page({"trouble": trouble})


class TillsBusy(Exception):
    """As many requests as may wait for a channel do so."""


@contextmanager
def one_of_few() -> Iterator[None]:
    """Let only some requests at a time open a channel: one that is slow must not stop the portal.

    Errors: TillsBusy.
    """
    for place in range(MAX_OPEN):
        if fetch_value(f"SELECT pg_try_advisory_lock({LOCK})", [place]):
            break
    else:
        raise TillsBusy
    try:
        yield
    finally:
        fetch_value(f"SELECT pg_advisory_unlock({LOCK})", [place])


def till_of(request: Request, channel: Channel, place: PlaceForm) -> Till:
    values = place.cleaned_data
    databases = {database.name: database for database in channel.databases.with_channel()}
    if "" not in databases:
        raise Http404
    return Till(
        databases[""],
        databases[values["register"]] if values["register"] else None,
        is_offline=values["offline"],
        service=PortalService(channel, is_away=values["hq"] == "no"),
        staff_id=request.user.get_username()[:25],
        terminal_id=(values["register"] or "PORTAL")[:10],
    )


@dataclass
class TillPage:
    """One request to the page of a till."""

    request: Request
    channel: Channel
    place: PlaceForm
    till: Till

    @property
    def ref(self) -> str:
        """The customer whom the page shows; empty if none."""
        return self.request.GET.get("customer", "")

    def url(self, **query: Any) -> str:
        """The URL of the page at the same place."""
        here = {name: self.request.GET.get(name, "") for name in self.place.fields}
        query = {name: value for name, value in (here | query).items() if value}
        return reverse("till", args=[self.channel.code], query=query)

    def respond(self) -> HttpResponse:
        if self.request.method != "POST":
            return self.render_page({})
        name = self.request.POST.get("action", "")
        if name == RECONNECT:
            self.reconnect()
            return redirect(self.url(customer=self.ref))
        if name in ACTIONS:
            # At a register that is online again, what it has saved meanwhile comes first.
            self.reconnect()
        with self.till.open() as opened:
            settings = opened.settings
            is_known = not self.ref or self.is_known(opened)
        if name == LOOK_ALIKES:
            return self.render_alike(CustomerForm(settings, self.request.POST))
        action = ACTIONS.get(name)
        if action is None or (action.needs_customer and not self.ref):
            raise Http404
        if not is_known:
            return self.render_page({})
        form = action.form(settings, self.request.POST)
        if form.is_valid() and (saved := self.carry_out(action, form)):
            messages.success(self.request, saved.message)
            return redirect(self.url(customer=saved.customer.ref if saved.customer else ""))
        return self.render_page({"posted": name, "form": form})

    def is_known(self, opened: OpenTill) -> bool:
        """Whether the page shows a customer: of an e-mail or a phone number it shows nobody."""
        try:
            by_ref(opened, self.ref)
        except UnknownCustomer:
            return False
        return True

    def reconnect(self) -> None:
        """Bring what a register that is online again has saved meanwhile, and say so."""
        counts = self.till.bring_new()
        if counts.copied:
            messages.success(self.request, f"Register {self.till.register_name}: {counts}")
        elif counts.behind:
            messages.warning(self.request, f"Register {self.till.register_name}: {counts}")

    def carry_out(self, action: Action, form: TillForm) -> Any:
        """Do the action. None if the till refuses; the form then says why."""
        try:
            if isinstance(form, CustomerForm) and not form.cleaned_data["confirmed"]:
                form.alike = warn(self.till, form.new)
                if form.alike:
                    return None
            return action.run(self.till, self.ref, form)
        except InvalidValues as refusal:
            form.add_problems(refusal.fields)
        except Refused as refusal:
            form.add_error(None, str(refusal))
        return None

    def render_alike(self, form: CustomerForm) -> HttpResponse:
        """The customers who look like the one that is being entered, for htmx."""
        if form.is_valid():
            form.alike = warn(self.till, form.new)
        return render(self.request, "till/_alike.html", {"form": form})

    def render_page(self, context: dict[str, Any]) -> HttpResponse:
        context |= {
            "channel": self.channel,
            "place": self.place,
            "till": self.till,
            "url": self.url(),
            "q": self.request.GET.get("q", ""),
        }
        if "trouble" not in context:
            context["lacking"] = self.till.count_new()
            with self.till.open() as opened:
                context |= self.read(opened, context)
        return render(self.request, "till/page.html", context)

    def read(self, opened: OpenTill, context: Mapping[str, Any]) -> dict[str, Any]:
        """What the page shows of the till's database."""
        text = self.request.GET.get("q", "")
        try:
            found = by_ref(opened, self.ref) if self.ref else None
            results = search(opened, text) if text else []
        except UnknownCustomer as refusal:
            is_post = self.request.method == "POST"
            unknown = f"{refusal} Nothing was saved." if is_post else str(refusal)
            return {"unknown": unknown, "settings": opened.settings}
        read: dict[str, Any] = {"settings": opened.settings, "found": found}
        if found:
            read |= customer_context(opened, found)
            read |= {"url": self.url(customer=found.ref), "back_url": self.url()}
        else:
            read["results"] = [(one, self.url(customer=one.ref)) for one in results]
        reasons = {name: why_not(opened, name, found) for name in ACTIONS}
        return read | {
            "forms": under_names(forms_of(opened, found, context, reasons)),
            "reasons": under_names(reasons),
        }


def customer_context(opened: OpenTill, found: Found) -> dict[str, Any]:
    return {
        "expected": expectation(opened, found) if found.is_pending else "",
        "card": attribute_of(opened, found, LOYALTY_CARD),
        "addresses": addresses_of(opened, found),
    }


def why_not(opened: OpenTill, name: str, found: Found | None) -> str:
    """Why the page does not offer an action that the till would refuse; empty if it offers it."""
    settings: TillSettings = opened.settings
    feature = ACTIONS[name].feature
    if feature and not settings.has(feature):
        return settings.why_off(feature)
    if name == "create-customer":
        return why_not_created(opened)
    if name == "issue-loyalty-card" and found and found.is_pending:
        return "A loyalty card needs an account in this channel."
    return ""


def forms_of(
    opened: OpenTill, found: Found | None, context: Mapping[str, Any], reasons: Mapping[str, str]
) -> dict[str, Form]:
    """The forms that the page offers, by action, with what was posted to one of them."""
    settings: TillSettings = opened.settings
    forms: dict[str, Form] = {}
    for name, action in ACTIONS.items():
        options: dict[str, Any] = {"auto_id": f"{name}-%s"}
        if name == "edit-customer" and found:
            state, version = current_state(opened, found, CUSTOMER_COLUMNS)
            options["initial"] = state | {"based_on": version}
        if name in ("sell", "order"):
            options["initial"] = {"currency": opened.usual_currency}
        if name == context.get("posted"):
            forms[name] = context["form"]
            context["form"].auto_id = options["auto_id"]
        elif (found or not action.needs_customer) and not reasons[name]:
            forms[name] = action.form(settings, **options)
    return forms


def under_names(of_actions: Mapping[str, Any]) -> dict[str, Any]:
    """What belongs to actions, by names that a template can use."""
    return {name.replace("-", "_"): value for name, value in of_actions.items()}
