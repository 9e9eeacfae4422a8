"""The channel side of a trace: what channels hold that HQ has not fetched, and what they know.

For commands only: a page never opens a channel. Values are compared as text inside the channel, so
that a till's malformed row is looked at like any other and does not stop the search.
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
from stores.channeldb.connect.connection import ChannelError, connect
from stores.channeldb.exchange.protocol import GUID_FORM
from stores.models import ChannelDatabase

EVENTS: dict[str, type[channeldb.Event]] = {
    "customer": channeldb.CustomerEvent,
    "address": channeldb.AddressEvent,
    "contact": channeldb.ContactEvent,
    "affiliation": channeldb.AffiliationEvent,
    "attribute": channeldb.AttributeEvent,
}
# What a phone number may hold besides digits; a number with anything else will be quarantined.
BETWEEN_DIGITS = "+()./-*# xX"


@dataclass(frozen=True)
class Wanted:
    """Whom to look for: by ids, and by what people remember. `phone` is digits only."""

    async_accounts: Sequence[str] = ()
    account_numbers: Sequence[str] = ()
    email: str = ""
    phone: str = ""


@dataclass(frozen=True)
class Unfetched:
    """An event whose channel does not know yet that HQ holds it."""

    kind: str
    async_account: str | None
    account_number: str | None
    occurred_at: datetime | None


@dataclass(frozen=True)
class Known:
    """A GUID for which the channel knows an account."""

    async_account: str
    company: str
    account_number: str
    received_at: datetime


@dataclass(frozen=True)
class Sighting:
    """What one channel database showed, or the sentence that says why it showed nothing."""

    database: ChannelDatabase
    unfetched: list[Unfetched] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)
    error: str = ""


def look(wanted: Wanted) -> list[Sighting]:
    """Look for somebody in every enabled channel database, one after the other.

    A channel that cannot be looked into is part of the answer. Effects: none, in any database.
    """
    databases = ChannelDatabase.objects.enabled().with_channel()
    return [look_into(database, wanted) for database in databases]


def look_into(database: ChannelDatabase, wanted: Wanted) -> Sighting:
    """Look for somebody in one channel database."""
    try:
        with connect(database) as alias:
            unfetched = list(unfetched_events(alias, wanted))
            guids = {*wanted.async_accounts, *(event.async_account or "" for event in unfetched)}
            return Sighting(database, unfetched, list(known_accounts(alias, wanted, guids)))
    except ChannelError as error:
        return Sighting(database, error=str(error))
    except (DatabaseError, ValueError):
        # A row may hold bytes that are no text; the driver's words would quote them.
        return Sighting(database, error=f"Channel {database.label} holds a row that is unreadable.")


def unfetched_events(alias: str, wanted: Wanted) -> Iterator[Unfetched]:
    """What is not acknowledged of the person, customer events first.

    Other events name neither e-mail nor phone: they are found by the GUIDs that those led to.
    """
    guids = set(wanted.async_accounts)
    for kind, model in EVENTS.items():
        is_about = Q(guid__in=guids) | Q(account_number__in=wanted.account_numbers)
        if kind == "customer":
            is_about |= remembered(wanted)
        events = (
            model.objects.using(alias)
            .unacknowledged()
            # GUID and time as plain text, however a till wrote them.
            .annotate(guid=Lower(Cast("async_account", TextField())))
            .annotate(at=Cast("occurred_at", TextField()))
            .filter(is_about)
        )
        for guid, account, at in events.values_list("guid", "account_number", "at"):
            guids |= {guid} - {None}
            yield Unfetched(kind, guid, account, moment(at))


def known_accounts(alias: str, wanted: Wanted, guids: set[str]) -> Iterator[Known]:
    """The accounts that the channel has for the GUIDs, and the GUIDs it has for the accounts."""
    usable = [guid for guid in guids if GUID_FORM.fullmatch(guid)]
    for row in channeldb.AccountMap.objects.using(alias).filter(
        Q(async_account__in=usable) | Q(account_number__in=wanted.account_numbers)
    ):
        yield Known(str(row.async_account), row.company, row.account_number, row.received_at)


def remembered(wanted: Wanted) -> Q:
    """Whether a customer event holds the e-mail or the phone."""
    condition = Q(pk__in=[])
    if wanted.email:
        condition |= Q(email__iexact=wanted.email) | Q(receipt_email__iexact=wanted.email)
    if wanted.phone:
        condition |= Q(Exact(bare_digits("phone"), wanted.phone))
    return condition


def bare_digits(column: str) -> Combinable:
    """A phone number without what stands between its digits, on either engine."""
    bare: Combinable = F(column)
    for character in BETWEEN_DIGITS:
        bare = Replace(bare, Value(character), Value(""), output_field=TextField())
    return bare


def moment(text: str | None) -> datetime | None:
    """The time that a till wrote, or None if it wrote something else."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else None
