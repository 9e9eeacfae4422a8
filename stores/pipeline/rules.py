"""What HQ checks of a single event before it stages it.

Each rule is a condition in SQL on the row as it arrived, true when the rule is broken; the first
broken rule is the one reported. Length limits come from HQ's own columns. Both engines' events
pass here, so that there is one set of rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from django.db import models
from psycopg2 import sql

from stores.models import (
    AsyncAddress,
    AsyncAffiliation,
    AsyncAttribute,
    AsyncContact,
    AsyncCustomer,
)
from stores.models.country import COUNTRIES
from stores.models.staging import Event
from stores.pipeline.days import EARLIEST, LATEST
from stores.pipeline.kinds import Kind

STAGED: dict[str, type[Event]] = {
    "customer": AsyncCustomer,
    "address": AsyncAddress,
    "contact": AsyncContact,
    "affiliation": AsyncAffiliation,
    "attribute": AsyncAttribute,
}
# A dot in the domain and nothing that could break a mail header; more is not known offline.
EMAIL = r"^[^\s@<>,;:\\\"()\[\]]+@[^\s@<>,;:\\\"()\[\]]+\.[^\s@<>,;:\\\"()\[\].]{2,}$"
PHONE = r"^(?=(.*[0-9]){3})[0-9+()./ xX#*-]+$"


@dataclass(frozen=True)
class Rule:
    """One check of one field: `broken` is a condition in SQL, `allows` what the field may hold."""

    code: str
    field: str
    broken: str
    allows: str = ""


COMMON = (
    Rule("key_missing", "async_account", "async_account IS NULL AND account_number IS NULL"),
    Rule(
        "unknown_word",
        "operation",
        "operation IS NULL OR operation NOT IN ('create', 'update', 'deactivate')",
        "create, update or deactivate",
    ),
    Rule(
        "time_range",
        "occurred_at",
        f"occurred_at NOT BETWEEN '{EARLIEST} 00:00Z' AND '{LATEST} 00:00Z'",
        "a time between the years 1900 and 9999",
    ),
)
OWN = {
    "customer": (
        Rule("guid_missing", "async_account", "async_account IS NULL AND operation = 'create'"),
        Rule(
            "unknown_word",
            "customer_type",
            "customer_type NOT IN ('person', 'organization')",
            "person or organization",
        ),
        Rule(
            "name_missing",
            "name",
            "operation <> 'deactivate' AND customer_type = 'organization'"
            " AND coalesce(btrim(name), '') = ''",
        ),
        Rule(
            "name_missing",
            "last_name",
            "operation <> 'deactivate'"
            " AND coalesce(btrim(concat(first_name, last_name, name)), '') = ''",
        ),
        Rule("email_format", "email", f"email <> '' AND btrim(email) !~ '{EMAIL}'"),
        Rule(
            "email_format",
            "receipt_email",
            f"receipt_email <> '' AND btrim(receipt_email) !~ '{EMAIL}'",
        ),
        Rule("phone_format", "phone", f"phone <> '' AND btrim(phone) !~ '{PHONE}'"),
        Rule(
            "unknown_word",
            "currency",
            "currency <> '' AND currency !~ '^[A-Z]{3}$'",
            "three capital letters",
        ),
        Rule(
            "unknown_word",
            "language",
            "language <> '' AND language !~ '^[A-Za-z]{2,3}([-_][A-Za-z]{2,4})?$'",
            "a language such as en or en-us",
        ),
        Rule(
            "date_range",
            "birth_date",
            "birth_date NOT BETWEEN date '1900-01-01' AND current_date",
            "a day between 1900 and today",
        ),
    ),
    "address": (
        Rule("key_missing", "address_id", "address_id IS NULL"),
        Rule(
            "unknown_word",
            "purpose",
            "purpose NOT IN ('home', 'business', 'delivery', 'invoice', 'other')",
            "home, business, delivery, invoice or other",
        ),
        Rule(
            "country_unknown",
            "country",
            "country <> '' AND country <> ALL (%(countries)s)",
            "three letters of ISO 3166-1",
        ),
    ),
    "contact": (
        Rule("key_missing", "contact_id", "contact_id IS NULL"),
        Rule(
            "unknown_word",
            "kind",
            "kind NOT IN ('email', 'phone', 'url') OR (kind IS NULL AND operation <> 'deactivate')",
            "email, phone or url",
        ),
        Rule(
            "value_missing",
            "locator",
            "operation <> 'deactivate' AND coalesce(btrim(locator), '') = ''",
        ),
        Rule(
            "email_format",
            "locator",
            f"kind = 'email' AND locator <> '' AND btrim(locator) !~ '{EMAIL}'",
        ),
        Rule(
            "phone_format",
            "locator",
            f"kind = 'phone' AND locator <> '' AND btrim(locator) !~ '{PHONE}'",
        ),
    ),
    "affiliation": (Rule("value_missing", "affiliation", "coalesce(btrim(affiliation), '') = ''"),),
    "attribute": (
        Rule("value_missing", "attribute", "coalesce(btrim(attribute), '') = ''"),
        Rule(
            "attribute_invalid",
            "value",
            """operation <> 'deactivate' AND EXISTS (
                 SELECT FROM attribute_definition d
                  WHERE d.company_id = %(company)s AND d.name = btrim(incoming.attribute)
                    AND NOT coalesce(CASE
                        WHEN d.options <> '[]' AND NOT d.options ? btrim(value) THEN false
                        WHEN d.data_type = 'integer' AND value !~ '^[+-]?[0-9]{1,14}$' THEN false
                        WHEN d.data_type IN ('decimal', 'currency')
                             AND value !~ '^[+-]?[0-9]{1,14}([.][0-9]{1,4})?$' THEN false
                        WHEN d.data_type = 'boolean' THEN value IN ('true', 'false', '0', '1')
                        WHEN d.data_type IN ('integer', 'decimal', 'currency')
                             THEN (d.smallest IS NULL OR value::numeric >= d.smallest)
                              AND (d.largest IS NULL OR value::numeric <= d.largest)
                        ELSE true END, false))""",
            "what the definition of the attribute allows",
        ),
    ),
}


def limits(kind: Kind) -> Iterator[Rule]:
    """One rule for each text that HQ holds only up to a length."""
    for field in STAGED[kind.name]._meta.concrete_fields:
        if field.column in kind.sent and isinstance(field, models.CharField):
            # Some letters become several in NFC, but never more than they have bytes.
            longest = f"greatest(char_length({field.column}), char_length(tidy({field.column})))"
            yield Rule(
                "too_long",
                field.column,
                f"octet_length({field.column}) > {field.max_length}"
                f" AND {longest} > {field.max_length}",
                f"at most {field.max_length} characters",
            )


@cache
def rules_for(kind: Kind) -> tuple[Rule, ...]:
    """All rules of a kind, in the order in which they are reported."""
    return (*COMMON, *limits(kind), *OWN[kind.name])


@cache
def first_broken(kind: Kind) -> sql.SQL:
    """SQL for the place of the first broken rule of a row of `incoming`, or NULL."""
    cases = [f"WHEN {rule.broken} THEN {place}" for place, rule in enumerate(rules_for(kind))]
    return sql.SQL("CASE " + "\n".join(cases) + " END")


@cache
def every_broken(kind: Kind) -> sql.SQL:
    """SQL for the places of all broken rules of a row of `incoming`, in order."""
    places = [
        f"CASE WHEN {rule.broken} THEN {place} END" for place, rule in enumerate(rules_for(kind))
    ]
    return sql.SQL("array_remove(ARRAY[" + ",\n".join(places) + "], NULL)")


def parameters(company: str) -> dict[str, object]:
    """What the conditions need to know besides the row."""
    return {"company": company, "countries": list(COUNTRIES)}
