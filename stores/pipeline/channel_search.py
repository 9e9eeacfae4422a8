"""Search the channels for a person: the pending events of the person, and the accounts known there.

An event is pending in a channel if HQ has not acknowledged it, so that HQ may not have it yet. The
search runs for commands only, because pages never open a channel. It compares values as text inside
the channel, so that a malformed row of a till is compared like any other and does not stop it.
"""

from collections.abc import Sequence
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
# The other characters of a phone number. A customer with any further one is quarantined at HQ.
BETWEEN_DIGITS = "+()./-*# xX"


@dataclass(frozen=True)
class Criteria:
    """The person to search for, who meets any of these criteria. `phone` has only digits."""

    async_accounts: Sequence[str] = ()
    account_numbers: Sequence[str] = ()
    email: str = ""
    phone: str = ""


@dataclass(frozen=True)
class PendingEvent:
    """An event of the person that HQ has not acknowledged."""

    kind: str
    async_account: str | None
    account_number: str | None
    occurred_at: datetime | None


@dataclass(frozen=True)
class KnownAccount:
    """An account of the person that the channel knows."""

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
    try:
        with connect(database) as alias:
            pending = find_pending_events(alias, criteria)
            guids = {event.async_account for event in pending if event.async_account}
            known = find_known_accounts(alias, criteria, guids | set(criteria.async_accounts))
            return ChannelResult(database, pending, known)
    except ChannelError as error:
        return ChannelResult(database, error=str(error))
    except (DatabaseError, ValueError):
        # A row may hold bytes that are not text. The driver's message would quote them.
        return ChannelResult(
            database, error=f"Channel {database.label} holds a row that is unreadable."
        )


def find_pending_events(alias: str, criteria: Criteria) -> list[PendingEvent]:
    """Return the person's pending events.

    Customer events are searched first, because only these have e-mail and phone. Other events are
    found by the GUIDs of the customer events.
    """
    guids = set(criteria.async_accounts)
    pending = []
    for kind, model in SEARCHED_MODELS.items():
        condition = Q(guid__in=guids) | Q(account_number__in=criteria.account_numbers)
        if kind == "customer":
            condition |= has_contact(criteria)
        events = (
            model.objects.using(alias)
            .unacknowledged()
            # GUID and time as plain text, however a till wrote them.
            .annotate(guid=Lower(Cast("async_account", TextField())))
            .annotate(at=Cast("occurred_at", TextField()))
            .filter(condition)
            .values_list("guid", "account_number", "at")
        )
        found = [PendingEvent(kind, guid, account, parse_time(at)) for guid, account, at in events]
        guids.update(event.async_account for event in found if event.async_account)
        pending += found
    return pending


def find_known_accounts(alias: str, criteria: Criteria, guids: set[str]) -> list[KnownAccount]:
    valid_guids = [guid for guid in guids if GUID_FORM.fullmatch(guid)]
    rows = channeldb.AccountMap.objects.using(alias).filter(
        Q(async_account__in=valid_guids) | Q(account_number__in=criteria.account_numbers)
    )
    return [
        KnownAccount(str(row.async_account), row.company, row.account_number, row.received_at)
        for row in rows
    ]


def has_contact(criteria: Criteria) -> Q:
    """Return the condition that a customer event has the e-mail or the phone number."""
    # True of no event, unless e-mail or phone is given.
    condition = Q(pk__in=[])
    if criteria.email:
        condition |= Q(email__iexact=criteria.email) | Q(receipt_email__iexact=criteria.email)
    if criteria.phone:
        condition |= Q(Exact(digits_only("phone"), criteria.phone))
    return condition


def digits_only(column: str) -> Combinable:
    """Return the expression for a phone number without its other characters."""
    digits: Combinable = F(column)
    for character in BETWEEN_DIGITS:
        digits = Replace(digits, Value(character), Value(""), output_field=TextField())
    return digits


def parse_time(text: str | None) -> datetime | None:
    """Return the time that a till wrote, or None if it wrote something else."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo else None
