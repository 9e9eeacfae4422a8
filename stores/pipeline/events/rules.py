"""The rules that a single event has to pass before HQ stages it.

A rule is a condition in SQL on a row of the work table `incoming`, true if the row breaks the rule.
It judges texts in the normalized form, in which HQ will keep them. A row that breaks a rule goes to
quarantine with the first rule that it breaks; one that breaks only *optional* rules is staged, and
its fields are marked to be corrected.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from django.db import models
from psycopg2 import sql

from stores.models import (
    AsyncAddress,
    AsyncAffiliation,
    AsyncAttribute,
    AsyncContact,
    AsyncCustomer,
    StagedAddress,
    StagedAffiliation,
    StagedAttribute,
    StagedContact,
    StagedCustomer,
)
from stores.models.staging import Event, StagedEvent
from stores.pipeline.dates import EARLIEST_DATE, LATEST_DATE
from stores.pipeline.events.kinds import EventKind, normalized
from stores.values.country import COUNTRIES, USER_ASSIGNED
from stores.values.currency import CURRENCIES
from stores.values.language import LANGUAGES
from stores.values.patterns import EMAIL_FORM, LANGUAGE_FORM, PHONE_PATTERN, WORDS

# The models of HQ's views of staged events with their state, by what the events are about.
STAGED_MODELS: dict[str, type[StagedEvent]] = {
    "customer": StagedCustomer,
    "address": StagedAddress,
    "contact": StagedContact,
    "affiliation": StagedAffiliation,
    "attribute": StagedAttribute,
}
# The models of the staging tables.
STAGING_MODELS: dict[str, type[Event]] = {
    "customer": AsyncCustomer,
    "address": AsyncAddress,
    "contact": AsyncContact,
    "affiliation": AsyncAffiliation,
    "attribute": AsyncAttribute,
}


@dataclass(frozen=True)
class Rule:
    """One rule about one field."""

    code: str
    field: str
    # The condition in SQL that a row breaks the rule.
    broken: str
    # What the field may hold, in words.
    allows: str = ""
    # Whether a row that breaks the rule is staged all the same.
    is_optional: bool = False


def is_empty(column: str) -> str:
    return f"coalesce({normalized(column)}, '') = ''"


def not_in_words(column: str, *words: str) -> str:
    """Return the condition that a column holds another word. NULL is a matter of other rules."""
    allowed = ", ".join(repr(word) for word in words)
    # Nearly all words are right as they were sent, and normalization takes more time.
    return f"({column} NOT IN ({allowed}) AND {normalized(column)} NOT IN ({allowed}))"


def is_word(column: str, word: str) -> str:
    """Return the condition that a column holds this word of plain letters."""
    # Normalization makes no text longer.
    return f"(octet_length({column}) >= {len(word)} AND {normalized(column)} = '{word}')"


def is_too_long(column: str, longest: int) -> str:
    """Return the condition that a text has more characters than HQ keeps."""
    # To count bytes is quicker, and a text has no more characters than bytes.
    return f"octet_length({column}) > {longest} AND char_length({normalized(column)}) > {longest}"


def malformed(column: str, form: str, *, operator: str = "!~") -> str:
    """Return the condition that a column is not empty and does not match a pattern."""
    return f"({normalized(column)} <> '' AND {normalized(column)} {operator} '{form}')"


def unprintable(column: str) -> Rule:
    """Return the rule that a column has no control characters and no line breaks."""
    return Rule(
        "unprintable",
        column,
        rf"{normalized(column)} ~ '[\u0001-\u001f\u007f-\u009f]'",
        "printable characters only",
    )


def reserved(column: str) -> Rule:
    """Return the rule that a GUID is not one that programs use for no value."""
    zeros, ones = f"'{UUID(int=0)}'", f"'{UUID(int=2**128 - 1)}'"
    return Rule("guid_reserved", column, f"{column} IN ({zeros}, {ones})", "a random GUID")


COMMON_RULES = (
    reserved("async_account"),
    reserved("event_id"),
    Rule("key_missing", "async_account", f"async_account IS NULL AND {is_empty('account_number')}"),
    Rule(
        "unknown_word",
        "operation",
        f"operation IS NULL OR {not_in_words('operation', 'create', 'update', 'deactivate')}",
        "create, update or deactivate",
    ),
    Rule(
        "time_range",
        "occurred_at",
        f"occurred_at NOT BETWEEN '{EARLIEST_DATE} 00:00Z' AND '{LATEST_DATE} 00:00Z'",
        "a time between the years 1900 and 9999",
    ),
)
IS_STATED = f"NOT {is_word('operation', 'deactivate')}"


def undefined(column: str, table: str, setting: str) -> Rule:
    """Return the rule that a name is defined by the company, if the company wants that.

    A removal may name anything.
    """
    return Rule(
        f"{column}_unknown",
        column,
        f"""{IS_STATED}
            AND EXISTS (SELECT FROM company WHERE code = %(company)s AND {setting})
            AND NOT EXISTS (SELECT FROM {table} defined
                             WHERE defined.company_id = %(company)s
                               AND defined.name = {normalized(column, "incoming")})""",  # noqa: S608 - our own names
        f"{column}s that the company has defined",
    )


# A customer gets an account even without these fields.
OPTIONAL_RULES = (
    Rule("email_format", "receipt_email", malformed("receipt_email", EMAIL_FORM), is_optional=True),
    Rule(
        "phone_format", "phone", malformed("phone", PHONE_PATTERN, operator="!~*"), is_optional=True
    ),
    Rule(
        "unknown_word",
        "currency",
        f"{normalized('currency')} <> '' AND {normalized('currency')} <> ALL (%(currencies)s)",
        "a currency of ISO 4217",
        is_optional=True,
    ),
    Rule(
        "unknown_word",
        "language",
        malformed("language", LANGUAGE_FORM)
        + f" OR {normalized('language')} <> ''"
        + f" AND lower(substring({normalized('language')} FROM '^[A-Za-z]*'))"
        + " <> ALL (%(languages)s)",
        "a language such as en, en-us or es-419",
        is_optional=True,
    ),
    Rule(
        "date_range",
        "birth_date",
        "birth_date NOT BETWEEN date '1900-01-01' AND current_date",
        "a day between 1900 and today",
        is_optional=True,
    ),
)
KIND_RULES = {
    "customer": (
        Rule(
            "guid_missing",
            "async_account",
            f"async_account IS NULL AND {is_word('operation', 'create')}",
        ),
        Rule(
            "unknown_word",
            "customer_type",
            not_in_words("customer_type", *WORDS["customer_type"], ""),
            "person or organization",
        ),
        Rule(
            "name_missing",
            "name",
            f"{IS_STATED} AND {is_word('customer_type', 'organization')} AND {is_empty('name')}",
        ),
        Rule(
            "name_missing",
            "last_name",
            f"{IS_STATED} AND {is_empty('last_name')} AND {is_empty('first_name')}"
            f" AND {is_empty('name')}",
        ),
        # Not optional: customers are found by it, and get mail.
        Rule("email_format", "email", malformed("email", EMAIL_FORM)),
        *OPTIONAL_RULES,
    ),
    "address": (
        Rule("key_missing", "address_id", "address_id IS NULL"),
        reserved("address_id"),
        Rule(
            "unknown_word",
            "purpose",
            not_in_words("purpose", *WORDS["purpose"], ""),
            "home, business, delivery, invoice or other",
        ),
        Rule(
            "country_unknown",
            "country",
            f"{normalized('country')} <> '' AND {normalized('country')} <> ALL (%(countries)s)"
            f" AND {normalized('country')} !~ '{USER_ASSIGNED}'",
            "three letters of ISO 3166-1",
        ),
    ),
    "contact": (
        Rule("key_missing", "contact_id", "contact_id IS NULL"),
        reserved("contact_id"),
        Rule(
            "unknown_word",
            "kind",
            f"{not_in_words('kind', *WORDS['kind'])} OR (kind IS NULL AND {IS_STATED})",
            "email, phone or url",
        ),
        Rule("value_missing", "locator", f"{IS_STATED} AND {is_empty('locator')}"),
        Rule(
            "email_format",
            "locator",
            f"{is_word('kind', 'email')} AND {malformed('locator', EMAIL_FORM)}",
        ),
        Rule(
            "phone_format",
            "locator",
            f"{is_word('kind', 'phone')} AND {malformed('locator', PHONE_PATTERN, operator='!~*')}",
        ),
    ),
    "affiliation": (
        Rule("value_missing", "affiliation", is_empty("affiliation")),
        unprintable("affiliation"),
        undefined("affiliation", "affiliation", "known_affiliations_only"),
    ),
    "attribute": (
        Rule("value_missing", "attribute", is_empty("attribute")),
        unprintable("attribute"),
        undefined("attribute", "attribute_definition", "known_attributes_only"),
        Rule(
            "attribute_invalid",
            "value",
            f"""{IS_STATED} AND EXISTS (
                 SELECT FROM attribute_definition definition
                  CROSS JOIN LATERAL (
                        SELECT {normalized("value", "incoming")} AS text) stated
                  WHERE definition.company_id = %(company)s
                    AND definition.name = {normalized("attribute", "incoming")}
                    AND NOT coalesce(CASE
                        WHEN options <> '[]' AND NOT options ? stated.text THEN false
                        WHEN data_type = 'integer' AND stated.text !~ '^[+-]?[0-9]{{1,14}}$'
                        THEN false
                        WHEN data_type IN ('decimal', 'currency')
                             AND stated.text !~ '^[+-]?[0-9]{{1,14}}([.][0-9]{{1,4}})?$' THEN false
                        WHEN data_type = 'boolean' THEN stated.text IN ('true', 'false', '0', '1')
                        WHEN data_type IN ('integer', 'decimal', 'currency')
                             THEN (smallest IS NULL OR stated.text::numeric >= smallest)
                              AND (largest IS NULL OR stated.text::numeric <= largest)
                        ELSE true END, false))""",
            "what the definition of the attribute allows",
        ),
    ),
}


def kind_length_rules(kind: EventKind) -> Iterator[Rule]:
    """Yield a rule for each text that HQ keeps only up to a length."""
    for column, longest in max_lengths(kind).items():
        allows = f"at most {longest} characters"
        yield Rule("too_long", column, is_too_long(column, longest), allows)


@cache
def max_lengths(kind: EventKind) -> dict[str, int]:
    """Return the maximum number of characters of each text that HQ keeps only up to a length."""
    return {
        str(field.column): int(field.max_length)
        for field in STAGED_MODELS[kind.noun]._meta.concrete_fields
        if field.column in kind.sent_columns
        and isinstance(field, models.CharField | models.TextField)
        and field.max_length
    }


def stored_value(kind: EventKind, column: str, of: str = "") -> str:
    """Return SQL for what staging holds of a column: mostly the value as it was sent.

    Columns by which events are looked up are normalized, and so are texts that are too long
    otherwise. Dates that Python cannot represent are left out.
    """
    name = f"{of}.{column}" if of else column
    if column == "account_number":
        return f"nullif({normalized(column, of)}, '')"
    if column == "operation":
        return normalized(column, of)
    if longest := max_lengths(kind).get(column):
        return (
            f"CASE WHEN octet_length({name}) > {longest} AND char_length({name}) > {longest}"
            f" THEN {normalized(column, of)} ELSE {name} END"
        )
    if kind.type_of(column) == "date":
        return f"CASE WHEN {name} BETWEEN date '0001-01-01' AND date '9999-12-31' THEN {name} END"
    return name


def stored_values(kind: EventKind, columns: Sequence[str], of: str = "") -> sql.SQL:
    return sql.SQL(", ".join(stored_value(kind, column, of) for column in columns))


@cache
def rules_for(kind: EventKind) -> tuple[Rule, ...]:
    """Return all rules of a kind. The first one that a row breaks is its reason."""
    return (*COMMON_RULES, *kind_length_rules(kind), *KIND_RULES[kind.noun])


@cache
def first_broken(kind: EventKind) -> sql.SQL:
    """Return SQL for the position in rules_for() of the first broken rule, from 0, or NULL.

    Optional rules do not count.
    """
    cases = [
        f"WHEN {rule.broken} THEN {position}"
        for position, rule in enumerate(rules_for(kind))
        if not rule.is_optional
    ]
    return sql.SQL("CASE " + "\n".join(cases) + " END")


@cache
def every_broken(kind: EventKind) -> sql.SQL:
    """Return SQL for the positions in rules_for() of all broken rules, from 0, in order."""
    positions = [
        f"CASE WHEN {rule.broken} THEN {position} END"
        for position, rule in enumerate(rules_for(kind))
    ]
    return sql.SQL("array_remove(ARRAY[" + ",\n".join(positions) + "], NULL)")


# The codes that the rules of customers and of sales allow.
CODE_LISTS = {"countries": list(COUNTRIES), "currencies": list(CURRENCIES)}


def rule_parameters(company: str) -> dict[str, object]:
    """Return the parameters of the conditions."""
    return {"company": company, "languages": list(LANGUAGES), **CODE_LISTS}
