"""What people at a till do with customers: create, edit, add an address, issue a loyalty card."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError
from django.db.models import Model

from stores.channeldb import models
from stores.till.counter import OpenTill, Till
from stores.till.look_up import (
    Found,
    LookAlike,
    attribute_of,
    current_state,
    expectation,
    find,
    full_name,
    look_alikes,
    of_guid,
)
from stores.till.refusals import InvalidValues, Refused
from stores.till.rules import normalized, problems_of, sentence
from stores.till.saves import made_id, new_save_id, time_of
from stores.till.service import Answer, ServiceUnreachable
from stores.values.characters import normalize_key

CUSTOMER_COLUMNS = tuple(f.name for f in models.CustomerColumns._meta.get_fields())
ADDRESS_COLUMNS = tuple(
    f.name
    for f in models.AddressColumns._meta.get_fields()
    if f.name not in ("address_id", "is_primary")
)
# Where a loyalty card is kept: an attribute of the customer, which travels like any other.
LOYALTY_CARD = "loyalty_card"
# What was saved before stays saved if reading fails, also of values that Python cannot hold.
READING_FAILED = (DatabaseError, InterfaceError, ValueError)


@dataclass(frozen=True)
class NewCustomer:
    """A customer to be created, with all that belongs to the person.

    Contacts are pairs of a kind and a locator. The same `save_id` saves the customer once.
    """

    values: Mapping[str, Any]
    address: Mapping[str, Any] = field(default_factory=dict)
    contacts: Sequence[tuple[str, str]] = ()
    has_consent: bool = False
    affiliations: Sequence[str] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    save_id: UUID = field(default_factory=new_save_id)


@dataclass(frozen=True)
class Saved:
    """What has become of a save, after its commit. `where` is `headquarters` or `channel`."""

    message: str
    customer: Found
    where: str = "channel"
    account_number: str | None = None
    look_alikes: Sequence[LookAlike] = ()
    card: str | None = None

    @property
    def document(self) -> dict[str, Any]:
        return {
            "message": self.message,
            "customer": self.customer.document,
            "saved_in": self.where,
            "account_number": self.account_number or self.customer.account_number,
            "look_alikes": [str(one) for one in self.look_alikes],
            **({"card": self.card} if self.card else {}),
        }


# ------------------------------------------------------------------------------- create


def create_customer(till: Till, new: NewCustomer) -> Saved:
    """Create a customer, at headquarters or in the channel. Errors: Refused, ChannelError.

    In synchronous mode headquarters is asked first. If it cannot be reached, the same event with
    the same ids is stored in the channel, so that nobody is created twice.
    """
    with till.open() as opened:
        require_creation(opened)
        rows = rows_of(opened, new)
        event = rows[0]
        if opened.holds(rows):
            return saved(opened, event, "This customer is already saved.")
        alike = alike_of(opened, new)
        answer, failure = None, ""
        if not till.is_offline and not opened.settings.creates_async:
            answer, failure = ask_headquarters(opened, event)
        if answer is not None:
            return save_copy(opened, rows, answer, alike)
        is_new = opened.save(rows)
        why = (failure or "Saved.") if is_new else "This customer is already saved."
        return saved(opened, event, why, look_alikes=alike)


def require_creation(opened: OpenTill) -> None:
    if why := why_not_created(opened):
        raise Refused(f"{why} Nothing was saved. It works when the register is online again.")


def why_not_created(opened: OpenTill) -> str:
    """Why this till can create no customer; empty if it can."""
    if opened.till.is_offline and opened.settings.is_filtered:
        return (
            "Customers cannot be created while this register is offline: registers of this channel"
            " hold no customer data (Filter shared customer data tables)."
        )
    return ""


def rows_of(opened: OpenTill, new: NewCustomer) -> list[Any]:
    """The events of a new customer, the customer's own first. Errors: Refused."""
    values = customer_values(opened, new.values)
    require_features(opened, new, values)
    problems = problems_of("async_customer", values | staff(opened), opened.settings)
    owner = {"async_account": made_id(new.save_id, "customer")}
    drafts: list[tuple[type[Model], dict[str, Any]]] = []
    for model, part in parts_of(opened, new, values["customer_type"]):
        for column, text in problems_of(model._meta.db_table, part, opened.settings).items():
            problems.setdefault(column, text)
        drafts.append((model, part))
    if problems:
        raise InvalidValues(problems)
    event = opened.event(
        models.CustomerEvent,
        "create",
        **values
        | owner
        | {
            "event_id": made_id(new.save_id, "event"),
            # Headquarters takes a repetition only if all of the event is the same.
            "occurred_at": time_of(new.save_id, opened.now),
        },
    )
    parts = [
        opened.event(
            model,
            "create",
            **part
            | owner
            | {"event_id": made_id(new.save_id, f"part {number}")}
            | part_key(model, new.save_id, number),
        )
        for number, (model, part) in enumerate(drafts)
    ]
    return [event, *parts]


def customer_values(opened: OpenTill, given: Mapping[str, Any]) -> dict[str, Any]:
    """All columns of a new customer; HQ fills in what is inherited where they are empty."""
    values = dict.fromkeys(CUSTOMER_COLUMNS) | normalized(given)
    values["customer_type"] = (
        values["customer_type"] or opened.settings.inherited("customer_type") or "person"
    )
    return values


def require_features(opened: OpenTill, new: NewCustomer, values: Mapping[str, Any]) -> None:
    if LOYALTY_CARD in map(normalize_key, new.attributes):
        raise Refused(
            "A loyalty card needs an account, so a new customer cannot have one yet. Nothing was"
            " saved. Issue it once the account is in this channel."
        )
    if any(new.address.values()):
        opened.require_feature("async_addresses", "An address cannot be saved here")
    if new.contacts:
        opened.require_feature("multiple_contacts", "Further contacts cannot be saved here")
    if new.contacts or new.affiliations or values["title"]:
        opened.require_feature(
            "enhanced_creation", "A title, affiliations and further contacts cannot be saved here"
        )


def parts_of(
    opened: OpenTill, new: NewCustomer, customer_type: str
) -> Iterator[tuple[type[Model], dict[str, Any]]]:
    """What belongs to a new customer: which event, and its columns."""
    if any(new.address.values()):
        address = address_values(opened, new.address, customer_type)
        yield models.AddressEvent, {"is_primary": True} | address
    for kind, locator in new.contacts:
        yield (
            models.ContactEvent,
            normalized({"kind": kind, "locator": locator}) | {"marketing_opt_in": new.has_consent},
        )
    for affiliation in new.affiliations:
        yield models.AffiliationEvent, normalized({"affiliation": affiliation})
    for attribute, value in new.attributes.items():
        yield models.AttributeEvent, normalized({"attribute": attribute, "value": value})


def part_key(model: type[Model], save_id: UUID, number: int) -> dict[str, UUID]:
    """The id of an address or a contact."""
    keys = {"async_address": "address_id", "async_contact": "contact_id"}
    name = keys.get(model._meta.db_table)
    return {name: made_id(save_id, f"{name} {number}")} if name else {}


def staff(opened: OpenTill) -> dict[str, Any]:
    return {"staff_id": opened.till.staff_id, "terminal_id": opened.till.terminal_id}


def alike_of(opened: OpenTill, new: NewCustomer) -> list[LookAlike]:
    postal_code = normalized(new.address).get("postal_code")
    return look_alikes(opened, normalized(new.values), postal_code)


def warn(till: Till, new: NewCustomer) -> list[LookAlike]:
    """The customers who look like a new one, before it is saved; afterwards none."""
    event = models.CustomerEvent(event_id=made_id(new.save_id, "event"))
    with till.open() as opened:
        return [] if opened.held(event) else alike_of(opened, new)


def ask_headquarters(opened: OpenTill, event: models.CustomerEvent) -> tuple[Answer | None, str]:
    """Create the customer at headquarters. Without an answer, say why there is none.

    Errors: Refused, if headquarters refuses the customer or the till.
    """
    service = opened.till.service
    if service is None:
        raise Refused(
            "This channel creates customers at headquarters, and the till was not given the address"
            " of its real-time service. Nothing was saved."
        )
    try:
        return service.create(body_of(event)), ""
    except ServiceUnreachable as failure:
        return None, f"{failure} Saved in this channel instead."


def body_of(event: models.CustomerEvent) -> dict[str, str]:
    """The event as the service takes it: texts, without what is empty."""
    columns = ("event_id", "async_account", "staff_id", "terminal_id", *CUSTOMER_COLUMNS)
    values = {column: getattr(event, column) for column in columns}
    return {"occurred_at": event.occurred_at.isoformat()} | {
        column: str(value) for column, value in values.items() if value is not None
    }


def saved(opened: OpenTill, event: models.CustomerEvent, why: str, **facts: Any) -> Saved:
    """Say that a customer of this database is saved, and when the account is due."""
    try:
        found = of_guid(opened, event.async_account)
    except READING_FAILED:
        return Saved(why, stranger(event, None), **facts)
    if not found:
        return Saved(f"{why} It is no longer active here.", stranger(event, None), **facts)
    message = f"{why} Account: {found[0].display_account}."
    return Saved(message + expected_after(opened, found[0]), found[0], **facts)


def expected_after(opened: OpenTill, found: Found) -> str:
    """When to expect the account of a pending customer: a sentence to add after a save.

    The save stays one if this cannot be read.
    """
    try:
        return f" {expectation(opened, found)}" if found.is_pending else ""
    except READING_FAILED:
        return ""


def save_copy(
    opened: OpenTill, rows: Sequence[Any], answer: Answer, alike: Sequence[LookAlike]
) -> Saved:
    """Save a customer whom headquarters has created, with what belongs to the person, here too."""
    event, number = rows[0], answer.account_number
    try:
        opened.save(rows)
    except (Refused, DatabaseError, InterfaceError):
        message = (
            f"Saved at headquarters. Account: {number or 'Pending sync'}. But the channel's"
            " database could not be written: addresses, contacts, affiliations and attributes are"
            " not saved. Add them once the database can be used again."
        )
        return Saved(message, stranger(event, number), "headquarters", number)
    try:
        found = of_guid(opened, event.async_account)
    except READING_FAILED:
        found = []
    if number:
        message = (
            f"Saved at headquarters. Account: {number}. This channel shows it after"
            " the next job 1010."
        )
    else:
        message = f"Saved at headquarters, which has no account for it yet: {answer.message}"
    customer = found[0] if found else stranger(event, number)
    return Saved(message, customer, "headquarters", number, alike)


def stranger(event: models.CustomerEvent, number: str | None) -> Found:
    """A customer whom this database does not know, or cannot show."""
    return Found(
        display_account=number or "Pending sync",
        company=None,
        account_number=None,
        async_account=event.async_account,
        name=full_name({column: getattr(event, column) for column in CUSTOMER_COLUMNS}),
        email=event.email or "",
        phone=event.phone or "",
        is_pending=True,
        ref=number or "",
    )


# --------------------------------------------------------------------------------- edit


def edit_customer(
    till: Till,
    ref: str,
    changes: Mapping[str, Any],
    *,
    based_on: int | None = None,
    save_id: UUID | None = None,
) -> Saved:
    """Save an edit: an event with the complete new state. Errors: Refused, ChannelError.

    The same `save_id` saves the same changes once. `based_on` is the version of headquarters that
    the changes were made to: what a page has shown may be older than what the database has. Without
    it, it is the present one.
    """
    with till.open() as opened:
        opened.require_feature("async_edit", "Customers cannot be edited here")
        found = find(opened, ref)
        changes = normalized(changes)
        event_id = made_id(save_id or new_save_id(), f"edit {ref} {sorted(changes.items())}")
        event = models.CustomerEvent(event_id=event_id)
        if opened.held(event):
            return saved_change(opened, found, "The change is already saved.")
        old, version = current_state(opened, found, CUSTOMER_COLUMNS)
        changed = {
            column: value for column, value in changes.items() if not same(old, column, value)
        }
        if not changed:
            return Saved("Nothing to save: no value is different.", found)
        values = old | changed
        if is_composed(old) and "name" not in changed:
            # HQ composes it anew of the person's names.
            values["name"] = None
        problems = problems_of("async_customer", values | staff(opened), opened.settings)
        if problems:
            raise InvalidValues(problems)
        seen = {"based_on": based_on or version, "event_id": event_id}
        event = opened.event(models.CustomerEvent, "update", **values | found.owner | seen)
        opened.save([event])
        return saved_change(opened, found, "The change is saved.")


def same(old: Mapping[str, Any], column: str, value: Any) -> bool:
    held = old.get(column)
    return (None if held is None else str(held)) == (None if value is None else str(value))


def is_composed(values: Mapping[str, Any]) -> bool:
    """Whether the name of a person is that of first, middle and last name."""
    return values["customer_type"] != "organization" and values["name"] in (
        None,
        full_name({**values, "name": None}),
    )


def saved_change(opened: OpenTill, found: Found, message: str, **facts: Any) -> Saved:
    if found.is_pending:
        message += f" The customer is {found.display_account}.{expected_after(opened, found)}"
    else:
        message += " Headquarters takes it with the next P-job and sends it to every channel."
    return Saved(message, found, **facts)


def add_address(
    till: Till, ref: str, given: Mapping[str, Any], *, save_id: UUID | None = None
) -> Saved:
    """Save a new address of a customer, with an account or without. Errors: Refused.

    The same `save_id` saves it once.
    """
    save_id = save_id or new_save_id()
    with till.open() as opened:
        opened.require_feature("async_addresses", "An address cannot be saved here")
        found = find(opened, ref)
        state, _ = current_state(opened, found, ("customer_type",))
        address = address_values(opened, given, state["customer_type"])
        problems = problems_of("async_address", address | staff(opened), opened.settings)
        if not any(address.get(column) for column in ("street", "city", "postal_code")):
            problems.setdefault("street", sentence("value_missing", "street"))
        if problems:
            raise InvalidValues(problems)
        ids = {
            "event_id": made_id(save_id, f"address event {ref}"),
            "address_id": made_id(save_id, f"address {ref}"),
        }
        event = opened.event(models.AddressEvent, "create", **address | found.owner | ids)
        is_new = opened.save([event])
        message = "The address is saved." if is_new else "The address is already saved."
        return saved_change(opened, found, message)


def address_values(
    opened: OpenTill, given: Mapping[str, Any], customer_type: str | None
) -> dict[str, Any]:
    """The columns of a new address, with the purpose and the country that are usual here."""
    values = normalized(given)
    business = customer_type == "organization"
    values["purpose"] = values.get("purpose") or ("business" if business else "home")
    values["country"] = values.get("country") or opened.settings.inherited("country")
    return values


# ------------------------------------------------------------------------- loyalty cards


def issue_loyalty_card(
    till: Till, ref: str, card: str = "", *, save_id: UUID | None = None
) -> Saved:
    """Give a customer a loyalty card, once the account is in this channel. Errors: Refused.

    The same `save_id` issues it once.
    """
    event_id = made_id(save_id or new_save_id(), f"card {ref}")
    number = normalize_key(card) or f"{event_id.int % 10**12:012}"
    with till.open() as opened:
        found = find(opened, ref)
        values = {"event_id": event_id, "attribute": LOYALTY_CARD, "value": number}
        event = opened.event(models.AttributeEvent, "create", **values)
        message = f"Loyalty card {number} is issued to {found.name}."
        if opened.holds([event]):
            return Saved(message, found, card=number)
        if found.is_pending:
            raise Refused(
                f"A loyalty card needs an account in this channel, and this customer is"
                f" {found.display_account}. {expectation(opened, found)}"
            )
        if held := attribute_of(opened, found, LOYALTY_CARD):
            raise Refused(f"The customer has a loyalty card already: {held}.")
        if others := holders_of(opened, number):
            raise Refused(f"Loyalty card {number} belongs to {others[0]} already.")
        if problems := problems_of("async_attribute", values, opened.settings):
            raise InvalidValues(problems)
        event.account_number = found.account_number
        opened.save([event])
        return Saved(message, found, card=number)


def holders_of(opened: OpenTill, number: str) -> list[str]:
    """The accounts that have a loyalty card in this database."""
    rows = opened.fetch(
        """SELECT account_number FROM customer_attribute
            WHERE attribute = %s AND value = %s AND is_active
            UNION SELECT account_number FROM async_attribute
            WHERE attribute = %s AND value = %s AND operation <> 'deactivate'
              AND account_number IS NOT NULL""",
        *(LOYALTY_CARD, number) * 2,
    )
    return [row["account_number"] for row in rows]
