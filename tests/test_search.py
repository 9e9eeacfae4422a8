"""People are found by a piece of their name, an e-mail address or a phone number."""

import pytest
from django.db import connection

from stores.filters import people
from stores.models import Customer, CustomerContact
from stores.models.search import is_called, is_contact_at, is_reached_at
from tests.make import make_customer, run


@pytest.fixture
def cast(houston) -> None:
    make_customer(
        houston, "Ann", last_name="van Dijk", email="Ann@Example.com", phone="+1 (281) 555-0100"
    )
    make_customer(
        houston, "Bo", middle_name="J.", last_name="Lee", receipt_email="bills@example.com"
    )
    make_customer(houston, "", last_name="", name="Cy & 100% Söhne", customer_type="organization")
    run("pipeline")


def found(text: str) -> list[str]:
    """First names, or names, of the customers that a text means."""
    customers = Customer.objects.filter(pk__in=people(text)).order_by("pk")
    return [one.first_name or one.name for one in customers]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ann", ["Ann"]),
        ("DIJK", ["Ann"]),
        ("ann dijk", ["Ann"]),
        ("dijk ann", ["Ann"]),
        ("bo lee", ["Bo"]),
        ("bo ann", []),
        ("lee", ["Bo"]),
        ("b", ["Bo"]),
        ("va", ["Ann"]),
        ("ij", []),
        ("100%", ["Cy & 100% Söhne"]),
        ("a%n", []),
        ("a_n", []),
        ("SÖHNE", ["Cy & 100% Söhne"]),
    ],
)
def test_a_name_is_found_by_its_pieces(cast, text, names):
    assert found(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ann@example.com", ["Ann"]),
        ("ANN@EXAMPLE.COM", ["Ann"]),
        ("Bills@example.com", ["Bo"]),
        ("nn@example.com", []),
        ("12815550100", ["Ann"]),
        ("+1 281 555 0100", ["Ann"]),
        ("5550100", []),
    ],
)
def test_an_address_or_number_is_found_whole(cast, text, names):
    assert found(text) == names


def test_an_account_comes_before_all_else(cast):
    account = Customer.objects.get(first_name="Ann").account_number

    assert found(account) == ["Ann"]


@pytest.mark.parametrize(
    ("customers", "means", "index"),
    [
        (Customer, is_called("ann dijk"), "customer_search_name"),
        (Customer, is_called("va"), "customer_search_name"),
        (Customer, is_reached_at("ann@example.com"), "customer_reach_keys"),
        (CustomerContact, is_contact_at("ann@example.com"), "customer_contact_keys"),
    ],
)
def test_an_index_serves_every_search(hq, customers, means, index):
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            plan = customers.objects.filter(means).explain()
        finally:
            cursor.execute("RESET enable_seqscan")

    assert index in plan
