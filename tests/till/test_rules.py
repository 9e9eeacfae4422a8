"""The rules of a till are those of HQ: values, lengths, and places of amounts.

From conftest.py: `houston` is a store on PostgreSQL.
"""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from stores.hqdb.sql import fetch_value
from stores.models import AttributeDefinition, Company
from stores.pipeline.corrections.events import broken_rules, incoming_event
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.pipeline.events.rules import max_lengths
from stores.till.rules import normalized, problems_of
from stores.till.settings import USUAL_LENGTHS, TillSettings
from stores.values.currency import CURRENCIES, places_of

TEXTS = ["", " ", "x", "x" * 500, "\u2800", "a\u00adb", "e\u0301" * 60, "A\x07B", "\U0001f600" * 60]
EMAILS = [
    "ann@example.com",
    "nobody",
    "a@b",
    "ANN@EXAMPLE.COM",
    "a b@example.com",
    "a@b.c",
    "a@b.cd",
]
PHONES = ["+1 281 555 0100", "12", "call me", "tel:+31 20 1234", "020-1234 ext. 5", "٠١٢٣"]
VALUES = {
    "first_name": TEXTS,
    "name": [*TEXTS, "x" * 301],
    "customer_type": ["person", "organization", "dog", ""],
    "title": TEXTS,
    "email": [*TEXTS, *EMAILS],
    "receipt_email": EMAILS,
    "phone": [*TEXTS, *PHONES],
    "language": ["nl", "en-US", "es-419", "xx", "english", "EN_us", ""],
    "currency": ["EUR", "eur", "XYZ", "EURO", ""],
    "vat_number": TEXTS,
    "birth_date": ["1990-03-01", "1899-12-31", "2999-01-01"],
    "purpose": ["home", "moon", ""],
    "street": TEXTS,
    "postal_code": TEXTS,
    "country": ["NLD", "nld", "XKX", "XXX", "ZZZ", "QMA", "NL", ""],
    "kind": ["email", "phone", "url", "fax"],
    "affiliation": [*TEXTS, "STAFF"],
    "value": ["", "x", "1", "2", "1.5", "-1", "+2", "10", "1e3", "true", "٣", "x" * 1001],
}
LOCATORS = [("email", text) for text in EMAILS] + [("phone", text) for text in PHONES]
DEFINED = {
    "INT": {"data_type": "integer", "smallest": 1, "largest": 5},
    "DEC": {"data_type": "decimal", "smallest": None, "largest": 5},
    "BOOL": {"data_type": "boolean"},
    "LIST": {"data_type": "text", "options": ["x", "2"]},
}
USUAL: dict[str, dict[str, Any]] = {
    "customer": {"customer_type": "person", "first_name": "Ann", "last_name": "Lee"},
    "address": {"city": "Houston"},
    "contact": {"kind": "url", "locator": "https://example.com"},
    "affiliation": {"affiliation": "STAFF"},
    "attribute": {"attribute": "SIZE", "value": "M"},
}


def test_a_till_refuses_what_headquarters_refuses(houston):
    company = Company.objects.get()
    for name, values in DEFINED.items():
        AttributeDefinition.objects.create(company=company, name=name, **values)
    definitions = [
        {"options": [], "smallest": None, "largest": None} | values | {"name": name}
        for name, values in DEFINED.items()
    ]
    settings = TillSettings({"attributes": json.loads(json.dumps(definitions))})
    different = []
    for kind in EVENT_KINDS:
        for values in cases_of(kind.noun, kind.columns):
            event = {"event_id": uuid4(), "async_account": uuid4(), "occurred_at": timezone.now()}
            event |= {"operation": "create", **values}
            if kind.noun in ("address", "contact"):
                event |= {f"{kind.noun}_id": uuid4()}
            with transaction.atomic(), incoming_event(kind, event) as incoming:
                theirs = {rule.field for rule in broken_rules(kind, company, incoming)}
            ours = set(problems_of(kind.event, normalized(values), settings))
            if theirs != ours:
                different.append((kind.noun, values, theirs, ours))

    assert different == []


def cases_of(noun: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Events of a kind, each with one unusual value."""
    usual = USUAL[noun]
    cases = [usual | {column: text} for column in columns for text in VALUES.get(column, ())]
    if noun == "customer":
        cases += [{"customer_type": "person"}, {"customer_type": "organization", "last_name": "L"}]
    if noun == "contact":
        cases += [{"kind": kind, "locator": locator} for kind, locator in LOCATORS]
    if noun == "attribute":
        cases += [
            {"attribute": name, "value": text} for name in DEFINED for text in VALUES["value"]
        ]
        cases += [{"attribute": text, "value": "M"} for text in TEXTS]
    return cases


def test_a_till_that_was_sent_no_lengths_knows_those_of_headquarters():
    assert {kind.event: max_lengths(kind) for kind in EVENT_KINDS} == USUAL_LENGTHS


@pytest.mark.slow
def test_amounts_have_as_many_places_as_at_headquarters(hq):
    codes = sorted(CURRENCIES)
    places = fetch_value(
        "SELECT array_agg(currency_places(code) ORDER BY number)"
        " FROM unnest(%s) WITH ORDINALITY AS codes (code, number)",
        [codes],
    )

    assert places == [places_of(code) for code in codes]
