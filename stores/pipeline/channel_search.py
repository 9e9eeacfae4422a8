"""Search the databases of channels for a person whom headquarters (HQ) may not know yet.

A till writes each change of a customer into its channel's database: an *event*, with a GUID that
stands for the customer. An event is *pending* until HQ has acknowledged it. HQ gives the customer
an account number, which the channel keeps with the GUID. So the search looks for two things:
pending events of the person, and accounts of the person that the channel knows.

Only commands search: pages never open a channel. Values are compared as texts inside the channel,
so that a malformed row is compared like any other, and does not stop the search.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import DatabaseError
from django.db.models import F, Q, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Lower, Replace
from django.db.models.lookups import Exact

from stores.channeldb import models as channeldb
from stores.channeldb.connect.connection import connect
from stores.channeldb.errors import ChannelError
from stores.channeldb.exchange.protocol import GUID_FORM
from stores.models import ChannelDatabase

SEARCHED_MODELS: dict[str, type[channeldb.Event]] = {
    "customer": channeldb.CustomerEvent,
    "address": channeldb.AddressEvent,
    "contact": channeldb.ContactEvent,
    "affiliation": channeldb.AffiliationEvent,
    "attribute": channeldb.AttributeEvent,
}
# What a phone number may contain beside digits. HQ does not take a customer with anything else.
PHONE_PUNCTUATION = "+()./-*# xX"


@dataclass(frozen=True)
class Criteria:
    """Whom to search for: a person who meets any of these.

    `async_accounts` are GUIDs in lower case. `phone` has only digits.
    """

    async_accounts: Sequence[str] = ()
    account_numbers: Sequence[str] = ()
    email: str = ""
    phone: str = ""


@dataclass(frozen=True)
class PendingEvent:
    """A pending event of the person. It has no time if its till wrote none that can be read."""

    kind: str
    event_id: str | None
    async_account: str | None
    account_number: str | None
    occurred_at: datetime | None


@dataclass(frozen=True)
class KnownAccount:
    """An account of the person that the channel has received from HQ."""

    async_account: str
    company: str
    account_number: str
    received_at: datetime


@dataclass(frozen=True)
class ChannelResult:
    """What was found in one channel database, or the sentence that says why it was not searched."""

    database: ChannelDatabase
    pending: list[PendingEvent] = field(default_factory=list)
    known: list[KnownAccount] = field(default_factory=list)
    error: str = ""


def search_channels(criteria: Criteria) -> list[ChannelResult]:
    """Search every enabled channel database, one after the other.

    A channel that cannot be searched has a result that says so.
    """
    databases = ChannelDatabase.objects.enabled().with_channel()
    return [search_channel(database, criteria) for database in databases]


def search_channel(database: ChannelDatabase, criteria: Criteria) -> ChannelResult:
    """Search one channel database. An error is part of the result, and does not stop the search."""
    try:
        with connect(database) as alias:
            pending = find_pending_events(alias, criteria)
            guids = {*criteria.async_accounts, *guids_of(pending)}
            known = find_known_accounts(alias, guids, criteria.account_numbers)
            return ChannelResult(database, pending, known)
    except ChannelError as error:
        return ChannelResult(database, error=str(error))
    except (DatabaseError, ValueError):
        # A row may hold bytes that are not text. The driver's message would quote them to the user.
        # All other trouble, such as a statement that timed out, is a ChannelError from connect().
        return ChannelResult(
            database, error=f"Channel {database.label} holds a row that is unreadable."
        )


def find_pending_events(alias: str, criteria: Criteria) -> list[PendingEvent]:
    """Return the person's pending events in the channel that Django has open as `alias`."""
    guids = set(criteria.async_accounts)
    pending = select_pending_events(alias, guids, criteria)
    new_guids = guids_of(pending) - guids
    # An event that was found by its number, e-mail address or phone can bring a new GUID. There may
    # be other events that only this GUID finds. They bring no more GUIDs.
    if new_guids:
        pending = select_pending_events(alias, guids | new_guids, criteria)
    return pending


def select_pending_events(
    alias: str, guids: Iterable[str], criteria: Criteria
) -> list[PendingEvent]:
    """Return the pending events with one of the GUIDs, an account number, or the contact."""
    pending = []
    for kind, model in SEARCHED_MODELS.items():
        condition = Q(guid__in=guids) | Q(account_number__in=criteria.account_numbers)
        # No other events have an e-mail address and a phone number.
        if kind == "customer":
            condition |= contact_condition(criteria)
        events = (
            model.objects.using(alias)
            .unacknowledged()
            # Ids and time as texts, however a till wrote them.
            .annotate(id_text=Lower(Cast("event_id", TextField())))
            .annotate(guid=Lower(Cast("async_account", TextField())))
            .annotate(at=Cast("occurred_at", TextField()))
            .filter(condition)
            .values_list("id_text", "guid", "account_number", "at")
        )
        pending += [
            PendingEvent(kind, event_id, guid, account, parse_time(at))
            for event_id, guid, account, at in events
        ]
    return pending


def guids_of(events: Iterable[PendingEvent]) -> set[str]:
    return {event.async_account for event in events if event.async_account}


def find_known_accounts(
    alias: str, guids: Iterable[str], account_numbers: Sequence[str]
) -> list[KnownAccount]:
    """Return the accounts that the channel has received under a GUID or a number."""
    valid_guids = [guid for guid in guids if GUID_FORM.fullmatch(guid)]
    rows = channeldb.AccountMap.objects.using(alias).filter(
        Q(async_account__in=valid_guids) | Q(account_number__in=account_numbers)
    )
    return [
        KnownAccount(str(row.async_account), row.company, row.account_number, row.received_at)
        for row in rows
    ]


def contact_condition(criteria: Criteria) -> Q:
    """Return the condition that a customer event has the e-mail address or the phone number."""
    # Matches nothing: without an address and a number, no event is found by contact.
    condition = Q(pk__in=[])
    if criteria.email:
        condition |= Q(email__iexact=criteria.email) | Q(receipt_email__iexact=criteria.email)
    if criteria.phone:
        condition |= Q(Exact(digits_only("phone"), criteria.phone))
    return condition


def digits_only(column: str) -> Combinable:
    """Return the SQL expression for the digits of a phone number."""
    digits: Combinable = F(column)
    for character in PHONE_PUNCTUATION:
        digits = Replace(digits, Value(character), Value(""), output_field=TextField())
    return digits


def parse_time(text: str | None) -> datetime | None:
    """Return the time that a till wrote, or None if it wrote something else."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo else None
