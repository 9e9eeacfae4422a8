"""The service takes strict JSON only, and its errors are JSON too, whatever happens.

From conftest.py: `houston_till` is a till of a store on PostgreSQL.
"""

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings

from stores.models import AsyncCustomer, JobRun
from tests.support.concurrency import other_session
from tests.support.rts import ACCOUNTS, CUSTOMERS, code_of, new_event

pytestmark = pytest.mark.slow

EVENT = new_event("Ann")


def changed(**fields: Any) -> bytes:
    return json.dumps(EVENT | fields).encode()


def without(field: str) -> bytes:
    return json.dumps({name: value for name, value in EVENT.items() if name != field}).encode()


BODIES = {
    "blank": (b" ", 400, "invalid_json"),
    "a list": (b"[]", 400, "invalid_json"),
    "null": (b"null", 400, "invalid_json"),
    "a number": (b"5", 400, "invalid_json"),
    "broken off": (b'{"event_id": "', 400, "invalid_json"),
    "something after it": (changed() + b"{}", 400, "invalid_json"),
    "NaN": (b'{"last_name": NaN}', 400, "invalid_json"),
    "a duplicate name": (b'{"last_name": "A", "last_name": "A"}', 400, "invalid_json"),
    "no UTF-8": (b'{"last_name": "\xff"}', 400, "invalid_json"),
    "a byte order mark": (b"\xef\xbb\xbf" + changed(), 400, "invalid_json"),
    "extreme depth": (b"[" * 60_000, 400, "invalid_json"),
    "a huge number": (b'{"last_name": ' + b"9" * 60_000 + b"}", 400, "invalid_fields"),
    "an infinite number": (b'{"last_name": 1e400}', 400, "invalid_fields"),
    "a missing field": (without("event_id"), 400, "invalid_fields"),
    "an unknown field": (changed(account_number="005001"), 400, "invalid_fields"),
    "a wrong type": (changed(first_name=["Ann"]), 400, "invalid_fields"),
    "a NUL": (changed(first_name="An\0n"), 400, "invalid_fields"),
    "half a surrogate pair": (changed(first_name="\ud83d"), 400, "invalid_fields"),
    "a GUID in capitals": (changed(async_account="A" * 36), 400, "invalid_fields"),
    "a time without offset": (changed(occurred_at="2026-03-01T10:00:00"), 400, "invalid_fields"),
    "a day that is none": (changed(birth_date="2026-02-30"), 400, "invalid_fields"),
    "a time before all time": (
        changed(occurred_at="0001-01-01T00:00:00+14:00"),
        400,
        "invalid_fields",
    ),
    "a time of another century": (
        changed(occurred_at="1600-01-01T00:00:00Z"),
        422,
        "customer_refused",
    ),
    "a GUID of zeros": (
        changed(async_account="00000000-0000-0000-0000-000000000000"),
        422,
        "customer_refused",
    ),
    "a letter too much": (changed(last_name="x" * 61), 422, "customer_refused"),
    "too many bytes": (changed(last_name="x" * 65_536), 413, "body_too_large"),
}


@pytest.mark.scenario(id="G2")
def test_a_body_that_cannot_be_used_is_refused_and_stores_nothing(houston_till, subtests):
    for name, (body, status, code) in BODIES.items():
        with subtests.test(name):
            assert code_of(houston_till.post(body)) == (status, code)

    assert not AsyncCustomer.objects.exists()


def test_each_wrong_field_is_named_with_a_sentence(houston_till):
    response = houston_till.post(changed(shoe="42", birth_date="yesterday", occurred_at=None))

    assert response.json()["fields"] == {
        "shoe": "There is no such field.",
        "birth_date": "It must be a date such as 2026-03-01.",
        "occurred_at": "It is required.",
    }


def test_another_content_type_is_refused(houston_till):
    kinds = ("text/plain", "", "application/x-www-form-urlencoded")

    responses = [houston_till.post(changed(), content_type=kind) for kind in kinds]

    assert [code_of(response) for response in responses] == [(415, "not_json")] * 3


REFUSED = [
    ("get", CUSTOMERS, 405),
    ("delete", CUSTOMERS, 405),
    ("post", ACCOUNTS + EVENT["async_account"], 405),
    ("get", "/rts/v1/orders", 404),
    ("get", "/rts/", 404),
    ("get", "/rts/v1/%00", 404),
    ("get", "/rts/v1/customers?q=%ff", 400),
    ("get", ACCOUNTS + "nobody", 404),
    ("get", ACCOUNTS + EVENT["async_account"], 404),
]


def test_every_refusal_is_json_that_nobody_keeps(houston_till, subtests):
    for method, url, status in REFUSED:
        with subtests.test(f"{method} {url}"):
            response = getattr(Client(), method)(url, **houston_till.credentials)

            assert code_of(response)[0] == status
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert not response.cookies


def test_a_bug_is_an_error_in_json_without_its_text(houston_till, monkeypatch):
    def fail(*args: Any) -> None:
        raise RuntimeError("Ann Lee")

    monkeypatch.setattr("stores.rts.views.read_customer", fail)
    client = Client(raise_request_exception=False)

    response = client.post(CUSTOMERS, b"{}", "application/json", **houston_till.credentials)

    assert code_of(response) == (500, "internal_error")
    assert b"Ann" not in response.content


def test_the_service_needs_no_session_and_no_csrf_token(houston_till):
    client = Client(enforce_csrf_checks=True)

    response = client.post(CUSTOMERS, changed(), "application/json", **houston_till.credentials)

    assert response.status_code == 201
    assert not response.cookies
    assert response.headers["Cache-Control"] == "no-store"


def test_in_production_a_call_by_http_is_refused_and_not_redirected(houston_till):
    with override_settings(PRODUCTION=True, SECURE_SSL_REDIRECT=True):
        by_http = houston_till.post(EVENT)
        by_https = houston_till.post(EVENT, secure=True)

    assert code_of(by_http) == (403, "https_required")
    assert by_https.status_code == 201


@pytest.fixture
def closed_port(monkeypatch):
    """HQ's database at a port on which nothing listens."""
    connection.close()
    for name, value in (("HOST", "127.0.0.1"), ("PORT", "9")):
        monkeypatch.setitem(connection.settings_dict, name, value)
    yield
    connection.close()
    monkeypatch.undo()


@pytest.mark.scenario(id="T18")
def test_while_the_database_is_down_tills_are_told_when_to_call_again(
    houston_till, closed_port, caplog
):
    responses = [houston_till.post(EVENT), houston_till.get(EVENT["async_account"])]

    for response in responses:
        assert code_of(response) == (503, "headquarters_unavailable")
        assert int(response.headers["Retry-After"]) > 0
    assert "Lee" not in caplog.text


def test_a_till_does_not_wait_long_for_a_conversion(houston_till, monkeypatch):
    monkeypatch.setattr("stores.rts.customers.MAX_WAIT_S", 1)
    with other_session() as conversion:
        conversion.execute("SELECT pg_advisory_xact_lock(hashtextextended('accounts:USRT', 0))")
        busy = houston_till.post(EVENT)

    assert code_of(busy) == (503, "headquarters_unavailable")
    assert houston_till.post(EVENT).status_code == 201
    assert JobRun.objects.count() == 1
