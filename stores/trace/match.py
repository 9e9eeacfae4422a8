"""Find the customers that a reference matches, as described in the docstring of the package."""

from collections.abc import Iterable
from typing import Any
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
from stores.models.search import contact_key, matches_contact, matches_own_contact, parse_guid
from stores.pipeline.events.rules import STAGING_MODELS
from stores.trace.documents import customers_in_documents
from stores.trace.types import Match, newest_first, text_or_none
from stores.values.characters import normalize_key

# How many matches are returned. A phone number that more customers share identifies none of them.
MAX_MATCHES = 50
# How many customers are read by e-mail address or phone number, to find the newest among them.
MAX_CONTACT_MATCHES = 1_000


def matches(ref: str) -> list[Match]:
    """All customers that a reference matches, newest first, including those without an account."""
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
    """The customers of GUIDs, with and without an account."""
    searched = {guid for guid in guids if guid}
    mapped = GuidMap.objects.filter(pk__in=searched)
    known = known_matches(Customer.objects.filter(pk__in=mapped.values("customer")))
    unmapped = searched - set(mapped.values_list("pk", flat=True))
    return newest_first([*known, *pending_matches(unmapped)])


def matches_by_account(ref: str) -> list[Match]:
    """The customers with an account number, in the company that the reference names or in all."""
    company, _, account = ref.rpartition(":")
    companies = Company.objects.filter(pk=company.upper()) if company else Company.objects.all()
    numbers = {account, account.upper()}
    return known_matches(Customer.objects.filter(company__in=companies, account_number__in=numbers))


def matches_by_document(ref: str) -> list[Match]:
    """The customers of the sales and orders with this number."""
    customers, guids = customers_in_documents(ref)
    return newest_first(
        [*known_matches(Customer.objects.filter(pk__in=customers)), *matches_by_guid(guids)]
    )


def matches_by_contact(key: str) -> list[Match]:
    """The customers with this e-mail address or phone number, their own or that of a contact."""
    # One query for each table, so that each uses its own index.
    own = Customer.objects.filter(matches_own_contact(key)).values_list("pk", flat=True)
    contacts = CustomerContact.objects.filter(matches_contact(key), is_active=True)
    of_contacts = contacts.values_list("customer", flat=True)
    customer_ids = {*own[:MAX_CONTACT_MATCHES], *of_contacts[:MAX_CONTACT_MATCHES]}
    pending = [
        AsyncCustomer.objects.open().filter(matches_own_contact(key)),
        AsyncContact.objects.open().filter(matches_contact(key)),
        Quarantine.objects.with_contact_key(key).filter(async_account__isnull=False),
    ]
    guids = {guid for rows in pending for guid in rows.values_list("async_account", flat=True)}
    known = known_matches(Customer.objects.filter(pk__in=customer_ids))
    by_ref = {match.ref: match for match in (*known, *matches_by_guid(guids))}
    return newest_first(by_ref.values())


def known_matches(customers: QuerySet[Customer]) -> list[Match]:
    """The newest of these customers, each with the GUID that created it, if there is one."""
    first = GuidMap.objects.filter(customer=OuterRef("pk")).order_by("origin", "created_at")
    rows = customers.annotate(guid=Subquery(first.values("async_account")[:1])).order_by("-pk")
    return [
        Match(text_or_none(row.guid), row.account_number, row.company_id, row.created_at)
        for row in rows[:MAX_MATCHES]
    ]


def pending_matches(guids: Iterable[UUID]) -> list[Match]:
    """The GUIDs without an account for which HQ has staged or quarantined events."""
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


def names_of(customers: Iterable[Match]) -> dict[str, str]:
    """The names of customers by their references; those without an account as a till wrote them.

    A customer whose events are all in quarantine has none: few people may see its values.
    """
    by_ref = {match.ref: match for match in customers}
    accounts = [match.account_number for match in by_ref.values() if match.account_number]
    known: dict[tuple[str | None, str | None], str] = {
        (row.company_id, row.account_number): row.display_name
        for row in Customer.objects.filter(account_number__in=accounts)
    }
    pending = [match.async_account for match in by_ref.values() if not match.account_number]
    rows: Any = AsyncCustomer.objects.filter(async_account__in=pending).order_by("staged_at")
    staged = {str(row.async_account): row.display_name for row in rows}
    names = {
        ref: known.get((match.company, match.account_number)) or staged.get(ref)
        for ref, match in by_ref.items()
    }
    return {ref: name for ref, name in names.items() if name}
