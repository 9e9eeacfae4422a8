"""Card numbers in texts: the database finds them, and pages mask them, by the same rules."""

import pytest
from django.db import connection

from stores.models.cards import mask_cards

pytestmark = pytest.mark.django_db


def holds_card_number(text: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT holds_card_number(%s)", [text])
        return cursor.fetchone()[0]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Paid by 4111 1111 1111 1111.", id="Visa"),
        pytest.param("5555-5555-5555-4444", id="Mastercard"),
        pytest.param("2223003122003222", id="Mastercard from 2"),
        pytest.param("6011000990139424", id="Discover"),
        pytest.param("3530111333300000", id="JCB"),
        pytest.param("3782 822463 10005", id="American Express"),
        pytest.param("3056 930902 5904", id="Diners Club"),
        pytest.param("6304 0000 0000 0000 000", id="Maestro, 19 digits"),
    ],
)
def test_a_card_number_is_found_and_masked(text):
    assert holds_card_number(text)
    assert mask_cards(text) != text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("4111111111111112", id="wrong check digit"),
        pytest.param("2721000000000004", id="no issuer"),
        pytest.param("4111 1111  1111 1111", id="other groups"),
        pytest.param("04111111111111111", id="digit before"),
        pytest.param("41111111111111111", id="digit after"),
    ],
)
def test_another_number_is_neither_found_nor_masked(text):
    assert not holds_card_number(text)
    assert mask_cards(text) == text
