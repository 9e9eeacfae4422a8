"""Account numbers in the database: written in a format, and read back."""

import pytest
from django.db import connection

pytestmark = pytest.mark.django_db


def evaluate(expression: str, *values: object) -> object:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {expression}", values)
        return cursor.fetchone()[0]


@pytest.mark.parametrize(
    ("format", "number", "account"),
    [
        ("C-######", 42, "C-000042"),
        ("00####", 5001, "005001"),
        ("##/US", 7, "07/US"),
        ("SO-###", 1000, "SO-1000"),
    ],
)
def test_a_number_is_written_in_its_format(format, number, account):
    assert evaluate("format_number(%s, %s)", format, number) == account


@pytest.mark.parametrize(
    ("format", "account", "number"),
    [
        ("C-######", "C-000042", 42),
        ("##/US", "07/US", 7),
        ("#" * 20, "42".zfill(20), 42),
    ],
)
def test_the_number_of_an_account_is_read(format, account, number):
    assert evaluate("parse_number(%s, %s)", format, account) == number


@pytest.mark.parametrize(
    ("format", "account"),
    [
        ("C-######", "D-000042"),
        ("C-######", "C-00004"),
        ("C-######", "C-1000042"),
        ("C-######", "C-OLD-17"),
        ("C-######", ""),
        ("#" * 20, "9" * 20),
    ],
)
def test_an_account_of_another_format_has_no_number(format, account):
    assert evaluate("parse_number(%s, %s)", format, account) is None
