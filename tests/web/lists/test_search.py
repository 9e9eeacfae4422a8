"""Customers are found by a part of their name, an e-mail address or a phone number.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001).
"""

import pytest
from django.db import connection

from stores.models import Customer, CustomerContact
from stores.models.search import matches_contact, matches_name, matches_own_contact
from stores.trace.match import matches
from stores.web.lists.search import customer_ids
from tests.support.make import make_customer, run

SHOP = "Cy & 100% Söhne"


@pytest.fixture
def customers(houston) -> None:
    """Ann van Dijk, Bo J. Lee and the organization Cy & 100% Söhne."""
    make_customer(
        houston, "Ann", last_name="van Dijk", email="Ann@Example.com", phone="+1 (281) 555-0100"
    )
    make_customer(
        houston, "Bo", middle_name="J.", last_name="Lee", receipt_email="bills@example.com"
    )
    make_customer(houston, "", last_name="", name=SHOP, customer_type="organization")
    run("pipeline")


@pytest.fixture
def zoe(customers, houston) -> None:
    """Zoë O'Neil, whose name and e-mail address have letters beyond ASCII."""
    make_customer(
        houston, "Zo\u00eb", last_name="O\u2019Neil", email="zoe\u0308@b\u00fccher.example"
    )
    run("pipeline")


def search(text: str) -> list[str]:
    """The first names, or names, of the customers that a search finds."""
    customers = Customer.objects.filter(pk__in=customer_ids(text)).order_by("pk")
    return [customer.first_name or customer.name for customer in customers]


@pytest.mark.slow
def test_a_name_is_found_by_the_beginnings_of_its_words(customers, subtests):
    for text, names in {
        "ann": ["Ann"],
        "DIJK": ["Ann"],
        "ann dijk": ["Ann"],
        "dijk ann": ["Ann"],
        "bo lee": ["Bo"],
        "bo ann": [],
        "lee": ["Bo"],
        "b": ["Bo"],
        "va": ["Ann"],
        "ij": [],
        "100%": [SHOP],
        "a%n": [],
        "a_n": [],
        "SÖHNE": [SHOP],
    }.items():
        with subtests.test(text):
            assert search(text) == names


OCONNORS = ["Sean O\u2019Connor", "Mary O'Connor"]
MULLER = "Zo\u00eb M\u00fcller"
ANNE_MARIE = "Anne\u2011Marie Roux"
ISIL = "\u0130NAN I\u015eIL"
STRASSE = "Hans Stra\u00dfe"
SISYPHOS = "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2"
WIDE_SHOP = "\uff21\uff22\uff23 Shop"
PENA = "Jos\u00e9 Pe\u00f1a"
INVISIBLE = "An\u200bna\u00a0Lee\u200c"
OAHU = "O\u02bbahu"
NAMES = [
    *OCONNORS,
    MULLER,
    ANNE_MARIE,
    ISIL,
    STRASSE,
    SISYPHOS,
    WIDE_SHOP,
    PENA,
    INVISIBLE,
    OAHU,
]


@pytest.mark.finding(id="P15")
@pytest.mark.finding(id="P45")
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("O'Connor", OCONNORS),
        ("O\u2019CONNOR", OCONNORS),
        ("o`connor", OCONNORS),
        ("Mu\u0308ller", [MULLER]),
        ("zoe muller", [MULLER]),
        ("Anne-Marie", [ANNE_MARIE]),
        ("anne\u2013marie", [ANNE_MARIE]),
        ("inan", [ISIL]),
        ("\u0131\u015f\u0131l", [ISIL]),
        ("ISIL", [ISIL]),
        ("STRASSE", [STRASSE]),
        ("STRA\u1e9eE", [STRASSE]),
        ("\u03a3\u0399\u03a3\u03a5\u03a6\u039f\u03a3", [SISYPHOS]),
        ("abc", [WIDE_SHOP]),
        ("\uff53\uff48\uff4f\uff50", [WIDE_SHOP]),
        ("PENA", [PENA]),
        ("anna lee", [INVISIBLE]),
        ("\u200banna\ufeff", [INVISIBLE]),
        ("o'ahu", [OAHU]),
    ],
)
def test_a_name_is_found_in_any_spelling(db, text, names):
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT '%%' || search_text(word) || '%%' FROM unnest(%s::text[]) AS word""",
            [text.split()],
        )
        patterns = [pattern for (pattern,) in cursor.fetchall()]
        cursor.execute(
            """SELECT name FROM unnest(%s::text[]) AS name
                WHERE search_name(name, NULL, NULL, NULL) LIKE ALL (%s::text[])""",
            [NAMES, patterns],
        )
        matching = [name for (name,) in cursor.fetchall()]

    assert sorted(matching) == sorted(names)


@pytest.mark.finding(id="P11")
@pytest.mark.finding(id="P15")
def test_a_pasted_address_or_account_is_found_everywhere(zoe, subtests):
    for text in (
        "zoe\u0308@B\u00dcCHER.example",
        "zo\u00eb@b\u00fccher.example\u200b",
        "zo\u00eb\uff20b\u00fccher.example",
        "\u202a005004\u202c",
    ):
        with subtests.test(ascii(text)):
            assert search(text) == ["Zo\u00eb"]
            assert len(matches(text)) == 1


@pytest.mark.finding(id="P11")
@pytest.mark.finding(id="P15")
def test_a_pasted_name_is_found_in_lists_only(zoe):
    text = "Zoe O'Neil\u00a0"

    assert search(text) == ["Zo\u00eb"]
    assert matches(text) == []


@pytest.mark.finding(id="P11")
@pytest.mark.finding(id="P15")
@pytest.mark.parametrize(
    "text",
    ["tel:+1\u2013281\u2013555\u20130100", "\uff11\uff12\uff18\uff11 5550100"],
    ids=ascii,
)
def test_a_pasted_phone_number_is_found(customers, text):
    assert search(text) == ["Ann"]


@pytest.mark.slow
def test_an_email_address_or_phone_number_is_found_only_whole(customers, subtests):
    for text, names in {
        "ann@example.com": ["Ann"],
        "ANN@EXAMPLE.COM": ["Ann"],
        "Bills@example.com": ["Bo"],
        "nn@example.com": [],
        "12815550100": ["Ann"],
        "+1 281 555 0100": ["Ann"],
        "5550100": [],
    }.items():
        with subtests.test(text):
            assert search(text) == names


def test_a_customer_is_found_by_account_number(customers):
    account = Customer.objects.get(first_name="Ann").account_number

    assert search(account) == ["Ann"]


@pytest.mark.parametrize(
    ("model", "condition", "index"),
    [
        (Customer, matches_name("ann dijk"), "customer_search_name"),
        (Customer, matches_name("va"), "customer_search_name"),
        (Customer, matches_own_contact("ann@example.com"), "customer_reach_keys"),
        (CustomerContact, matches_contact("ann@example.com"), "customer_contact_keys"),
    ],
)
def test_every_search_can_use_an_index(hq, model, condition, index):
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            plan = model.objects.filter(condition).explain()
        finally:
            cursor.execute("RESET enable_seqscan")

    assert index in plan
