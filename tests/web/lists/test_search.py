"""People are found by a piece of their name, an e-mail address or a phone number."""

import pytest
from django.db import connection

from stores.models import Customer, CustomerContact
from stores.models.search import is_called, is_contact_at, is_reached_at
from stores.trace.match import matches
from stores.web.lists.search import people
from tests.support.make import make_customer, run


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


@pytest.mark.slow
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


NAMES = (
    *("Sean O\u2019Connor", "Mary O'Connor", "Zo\u00eb M\u00fcller", "Anne\u2011Marie Roux"),
    *("\u0130NAN I\u015eIL", "Hans Stra\u00dfe", "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2"),
    *("\uff21\uff22\uff23 Shop", "Jos\u00e9 Pe\u00f1a", "An\u200bna\u00a0Lee\u200c", "O\u02bbahu"),
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("O'Connor", NAMES[:2]),
        ("O\u2019CONNOR", NAMES[:2]),
        ("o`connor", NAMES[:2]),
        ("Mu\u0308ller", NAMES[2:3]),
        ("zoe muller", NAMES[2:3]),
        ("Anne-Marie", NAMES[3:4]),
        ("anne\u2013marie", NAMES[3:4]),
        ("inan", NAMES[4:5]),
        ("\u0131\u015f\u0131l", NAMES[4:5]),
        ("ISIL", NAMES[4:5]),
        ("STRASSE", NAMES[5:6]),
        ("STRA\u1e9eE", NAMES[5:6]),
        ("\u03a3\u0399\u03a3\u03a5\u03a6\u039f\u03a3", NAMES[6:7]),
        ("abc", NAMES[7:8]),
        ("\uff53\uff48\uff4f\uff50", NAMES[7:8]),
        ("PENA", NAMES[8:9]),
        ("anna lee", NAMES[9:10]),
        ("\u200banna\ufeff", NAMES[9:10]),
        ("o'ahu", NAMES[10:]),
    ],
)
def test_p15_p45_a_name_is_found_however_it_is_spelt(db, text, names):
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT n FROM unnest(%s::text[]) n
                WHERE search_name(n, NULL, NULL, NULL) LIKE ALL (%s::text[])""",
            [list(NAMES), [f"%{word}%" for word in asked(text.split())]],
        )
        assert {name for (name,) in cursor.fetchall()} == set(names)


def asked(words: list[str]) -> list[str]:
    """Words as they are looked for."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT search_text(w) FROM unnest(%s::text[]) w", [words])
        return [word for (word,) in cursor.fetchall()]


def test_p11_p15_people_are_found_by_what_was_pasted(cast, houston):
    make_customer(
        houston, "Zo\u00eb", last_name="O\u2019Neil", email="zoe\u0308@b\u00fccher.example"
    )
    run("pipeline")

    for text in (
        "zoe\u0308@B\u00dcCHER.example",
        "zo\u00eb@b\u00fccher.example\u200b",
        "zo\u00eb\uff20b\u00fccher.example",
        "Zoe O'Neil\u00a0",
        "\u202a005004\u202c",
    ):
        assert found(text) == ["Zo\u00eb"], ascii(text)
        assert len(matches(text)) == (" " not in text.strip()), ascii(text)
    for text in ("tel:+1\u2013281\u2013555\u20130100", "\uff11\uff12\uff18\uff11 5550100"):
        assert found(text) == ["Ann"], ascii(text)


@pytest.mark.slow
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
