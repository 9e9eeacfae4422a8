"""The channel side of a trace: which events of a person a channel has, and what it knows of them.

For commands only: a page never opens a channel. Looked at are events that the channel has no
acknowledgement for, so HQ may not have fetched them. Values are compared as text inside the
channel, so that a till's malformed row is looked at like any other and does not stop the search.
"""

from collections.abc import Iterator, Sequence
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
# What a phone number may hold besides digits; a number with anything else will be quarantined.
BETWEEN_DIGITS = "+()./-*# xX"


@dataclass(frozen=True)
class Criteria:
    """Whom to look for: by ids, and by what people remember. `phone` is digits only."""

    async_accounts: Sequence[str] = ()
    account_numbers: Sequence[str] = ()
    email: str = ""
    phone: str = ""


@dataclass(frozen=True)
class PendingEvent:
    """An event that the channel has no acknowledgement for: HQ may not have fetched it."""

    kind: str
    async_account: str | None
    account_number: str | None
    occurred_at: datetime | None


@dataclass(frozen=True)
class KnownAccount:
    """A GUID for which the channel knows an account."""

    async_account: str
    company: str
    account_number: str
    received_at: datetime


@dataclass(frozen=True)
class ChannelResult:
    """What one channel database showed, or the sentence that says why it showed nothing."""

    database: ChannelDatabase
    pending: list[PendingEvent] = field(default_factory=list)
    known: list[KnownAccount] = field(default_factory=list)
    error: str = ""


def search_channels(criteria: Criteria) -> list[ChannelResult]:
    """Look for somebody in every enabled channel database, one after the other.

    A channel that cannot be looked into is part of the answer. Effects: none, in any database.
    """
    databases = ChannelDatabase.objects.enabled().with_channel()
    return [search_channel(database, criteria) for database in databases]


def search_channel(database: ChannelDatabase, criteria: Criteria) -> ChannelResult:
    try:
        with connect(database) as alias:
            pending = list(pending_events(alias, criteria))
            named = {event.async_account for event in pending if event.async_account}
            guids = {*criteria.async_accounts, *named}
            return ChannelResult(database, pending, list(known_accounts(alias, criteria, guids)))
    except ChannelError as error:
        return ChannelResult(database, error=str(error))
    except (DatabaseError, ValueError):
        # A row may hold bytes that are no text; the driver's words would quote them.
        return ChannelResult(
            database, error=f"Channel {database.label} holds a row that is unreadable."
        )


def pending_events(alias: str, criteria: Criteria) -> Iterator[PendingEvent]:
    """The person's events that the channel has no acknowledgement for, customer events first.

    Only these name e-mail and phone; the GUIDs that they name are searched in the others, too.
    """
    guids = set(criteria.async_accounts)
    for kind, model in SEARCHED_MODELS.items():
        condition = Q(guid__in=guids) | Q(account_number__in=criteria.account_numbers)
        if kind == "customer":
            condition |= contact_condition(criteria)
        events = (
            model.objects.using(alias)
            .unacknowledged()
            # GUID and time as plain text, however a till wrote them.
            .annotate(guid=Lower(Cast("async_account", TextField())))
            .annotate(at=Cast("occurred_at", TextField()))
            .filter(condition)
        )
        for guid, account, at in events.values_list("guid", "account_number", "at"):
            if guid:
                guids.add(guid)
            yield PendingEvent(kind, guid, account, parse_time(at))


def known_accounts(alias: str, criteria: Criteria, guids: set[str]) -> Iterator[KnownAccount]:
    usable = [guid for guid in guids if GUID_FORM.fullmatch(guid)]
    for row in channeldb.AccountMap.objects.using(alias).filter(
        Q(async_account__in=usable) | Q(account_number__in=criteria.account_numbers)
    ):
        yield KnownAccount(str(row.async_account), row.company, row.account_number, row.received_at)


def contact_condition(criteria: Criteria) -> Q:
    # Nothing, unless e-mail or phone is given.
    condition = Q(pk__in=[])
    if criteria.email:
        condition |= Q(email__iexact=criteria.email) | Q(receipt_email__iexact=criteria.email)
    if criteria.phone:
        condition |= Q(Exact(digits_only("phone"), criteria.phone))
    return condition


def digits_only(column: str) -> Combinable:
    digits: Combinable = F(column)
    for character in BETWEEN_DIGITS:
        digits = Replace(digits, Value(character), Value(""), output_field=TextField())
    return digits


def parse_time(text: str | None) -> datetime | None:
    """The time that a till wrote, or None if it wrote something else."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo else None
