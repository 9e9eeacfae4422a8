"""Which customers a reference may mean: GUID, account number, e-mail address or phone number."""

import re
from collections.abc import Iterable
from uuid import UUID

from django.db.models import F, Func, OuterRef, Q, QuerySet, Subquery, TextField, Value

from stores.models import (
    AsyncContact,
    AsyncCustomer,
    Company,
    Customer,
    CustomerContact,
    GuidMap,
    Quarantine,
)
from stores.pipeline.rules import STAGED
from stores.trace.parts import Match, newest_first, text

GUID = re.compile(r"\{?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\}?", re.I | re.ASCII)
# A phone number somebody shares with more people than this is no way to find one of them.
MOST_MATCHES = 50


def matches(ref: str) -> list[Match]:
    """Every customer that a reference may mean, newest first, pending ones included."""
    ref = ref.strip()
    if "\0" in ref or not ref.isprintable():
        return []
    if guid := guid_of(ref):
        return by_guids([guid])
    return by_account(ref) or (by_email(ref) if "@" in ref else by_phone(digits_of(ref)))


def guid_of(text: str) -> UUID | None:
    """The GUID that a text is, in any case, with or without braces."""
    found = GUID.fullmatch(text)
    return UUID(found[1]) if found else None


def digits_of(text: str) -> str:
    """The digits of what may be a phone number, or nothing if letters stand between them."""
    digits = re.sub(r"\D", "", text, flags=re.ASCII)
    return digits if len(digits) >= 3 and re.fullmatch(r"[0-9+()./ xX#*-]+", text) else ""


def by_guids(guids: Iterable[UUID | None]) -> list[Match]:
    """The customers that GUIDs became, and those that are still on their way."""
    left = {guid for guid in guids if guid}
    mapped = GuidMap.objects.filter(pk__in=left)
    found = known(Customer.objects.filter(pk__in=mapped.values("customer")))
    left -= set(mapped.values_list("pk", flat=True))
    return newest_first([*found, *pending(left)])


def by_account(ref: str) -> list[Match]:
    """The customers with an account number, in one company or in all."""
    company, _, account = ref.rpartition(":")
    companies = Company.objects.filter(pk=company.upper()) if company else Company.objects.all()
    numbers = {account, account.upper()}
    return known(Customer.objects.filter(company__in=companies, account_number__in=numbers))


def by_email(email: str) -> list[Match]:
    """The customers who gave an e-mail address."""
    said = Q(email__iexact=email) | Q(receipt_email__iexact=email)
    return holders(said, Q(kind="email", locator__iexact=email))


def by_phone(digits: str) -> list[Match]:
    """The customers who gave a phone number."""
    return holders(Q(digits=digits), Q(kind="phone", digits=digits)) if digits else []


def holders(said: Q, reached: Q) -> list[Match]:
    """The customers whose own columns, or whose contacts, hold what somebody gave."""
    contacts = CustomerContact.objects.alias(digits=bare_digits("locator")).filter(reached)
    guids = {
        *AsyncCustomer.objects.open()
        .alias(digits=bare_digits("phone"))
        .filter(said)
        .values_list("async_account", flat=True),
        *AsyncContact.objects.open()
        .alias(digits=bare_digits("locator"))
        .filter(reached)
        .values_list("async_account", flat=True),
    }
    customers = Customer.objects.alias(digits=bare_digits("phone")).filter(
        said | Q(pk__in=contacts.filter(is_active=True).values("customer"))
    )
    found = {match.ref: match for match in (*known(customers), *by_guids(guids))}
    return newest_first(found.values())


def bare_digits(column: str) -> Func:
    """A column without what stands between its digits."""
    return Func(
        F(column),
        Value(r"\D"),
        Value(""),
        Value("g"),
        function="regexp_replace",
        output_field=TextField(),
    )


def known(customers: QuerySet[Customer]) -> list[Match]:
    """Customers with an account, as matches; each by the GUID that created it, if one did."""
    first = GuidMap.objects.filter(customer=OuterRef("pk")).order_by("origin", "created_at")
    rows = customers.annotate(guid=Subquery(first.values("async_account")[:1])).order_by("-pk")
    return [
        Match(text(row.guid), row.account_number, row.company_id, row.created_at)
        for row in rows[:MOST_MATCHES]
    ]


def pending(guids: Iterable[UUID]) -> list[Match]:
    """GUIDs without an account of which HQ holds events, staged or set aside."""
    found: dict[UUID | None, Match] = {}
    for model in STAGED.values():
        rows = model.objects.open().filter(
            company__in=Company.objects.all(), async_account__in=guids
        )
        for row in rows:
            found.setdefault(
                row.async_account,
                Match(str(row.async_account), None, row.company_id, row.staged_at),
            )
    aside = Quarantine.objects.filter(async_account__in=guids).order_by("pk")
    for guid, company, at in aside.values_list(
        "async_account", "database__channel__company_id", "first_seen_at"
    ):
        found.setdefault(guid, Match(str(guid), None, company, at))
    return list(found.values())
