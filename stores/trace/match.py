"""Which customers a reference may mean: GUID, account, document, e-mail address or phone number."""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery

from stores.models import (
    AsyncContact,
    AsyncCustomer,
    Company,
    Customer,
    CustomerContact,
    GuidMap,
    Quarantine,
)
from stores.models.characters import normalize_key
from stores.models.search import contact_key, matches_contact, matches_own_contact, parse_guid
from stores.pipeline.events.rules import STAGING_MODELS
from stores.trace.documents import customers_in_documents
from stores.trace.types import Match, newest_first, text_or_none

# A phone number somebody shares with more people than this is no way to find one of them.
MAX_MATCHES = 50
# So many that the newest of them are among these.
MAX_CONTACT_MATCHES = 1_000


def matches(ref: str) -> list[Match]:
    """Every customer that a reference may mean, newest first, pending ones included."""
    ref = normalize_key(ref)
    if "\0" in ref or not ref.isprintable():
        return []
    if guid := parse_guid(ref):
        return matches_by_guid([guid])
    key = contact_key(ref)
    return (
        matches_by_account(ref)
        or matches_by_document(ref)
        or (matches_by_contact(key) if key else [])
    )


def matches_by_guid(guids: Iterable[UUID | None]) -> list[Match]:
    """The customers that GUIDs became, and those that are still on their way."""
    remaining = {guid for guid in guids if guid}
    mapped = GuidMap.objects.filter(pk__in=remaining)
    matches = known_matches(Customer.objects.filter(pk__in=mapped.values("customer")))
    remaining -= set(mapped.values_list("pk", flat=True))
    return newest_first([*matches, *pending_matches(remaining)])


def matches_by_account(ref: str) -> list[Match]:
    company, _, account = ref.rpartition(":")
    companies = Company.objects.filter(pk=company.upper()) if company else Company.objects.all()
    numbers = {account, account.upper()}
    return known_matches(Customer.objects.filter(company__in=companies, account_number__in=numbers))


def matches_by_document(ref: str) -> list[Match]:
    """The customers named by sales and orders of this number, receipt or confirmation."""
    customers, guids = customers_in_documents(ref)
    return newest_first(
        [*known_matches(Customer.objects.filter(pk__in=customers)), *matches_by_guid(guids)]
    )


def matches_by_contact(key: str) -> list[Match]:
    """The customers whose own e-mail or phone, or a contact of theirs, is what somebody gave."""
    guids = {
        *AsyncCustomer.objects.open()
        .filter(matches_own_contact(key))
        .values_list("async_account", flat=True),
        *AsyncContact.objects.open()
        .filter(matches_contact(key))
        .values_list("async_account", flat=True),
        *Quarantine.objects.reached_at(key)
        .filter(async_account__isnull=False)
        .values_list("async_account", flat=True),
    }
    contacts = CustomerContact.objects.filter(matches_contact(key), is_active=True)
    # Apart, so that each is found by its own index.
    customers = {
        *Customer.objects.filter(matches_own_contact(key)).values_list("pk", flat=True)[
            :MAX_CONTACT_MATCHES
        ],
        *contacts.values_list("customer", flat=True)[:MAX_CONTACT_MATCHES],
    }
    known_ones = known_matches(Customer.objects.filter(pk__in=customers))
    by_ref = {match.ref: match for match in (*known_ones, *matches_by_guid(guids))}
    return newest_first(by_ref.values())


def known_matches(customers: QuerySet[Customer]) -> list[Match]:
    """Customers with an account, as matches; each by the GUID that created it, if one did."""
    first = GuidMap.objects.filter(customer=OuterRef("pk")).order_by("origin", "created_at")
    rows = customers.annotate(guid=Subquery(first.values("async_account")[:1])).order_by("-pk")
    return [
        Match(text_or_none(row.guid), row.account_number, row.company_id, row.created_at)
        for row in rows[:MAX_MATCHES]
    ]


def pending_matches(guids: Iterable[UUID]) -> list[Match]:
    """GUIDs without an account of which HQ holds events, staged or quarantined."""
    by_guid: dict[UUID | None, Match] = {}
    for model in STAGING_MODELS.values():
        rows = model.objects.open().filter(
            company__in=Company.objects.all(), async_account__in=guids
        )
        for row in rows:
            by_guid.setdefault(
                row.async_account,
                Match(str(row.async_account), None, row.company_id, row.staged_at),
            )
    quarantined = Quarantine.objects.filter(async_account__in=guids).order_by("pk")
    for guid, company, at in quarantined.values_list(
        "async_account", "database__channel__company_id", "first_seen_at"
    ):
        by_guid.setdefault(guid, Match(str(guid), None, company, at))
    return list(by_guid.values())
