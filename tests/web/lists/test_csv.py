"""Lists as CSV: what a spreadsheet makes of them."""

import csv
import io
import time
from decimal import Decimal

import pytest

from stores.web.lists.csv_cells import csv_cell
from tests.support.make import make_customer, make_sale, run


def lines(answer) -> list[dict[str, str]]:
    """The rows of a CSV, by header."""
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))


def test_a11_amounts_of_returns_are_negative_numbers_beside_their_currency(reader, houston):
    ann = make_customer(houston)
    make_sale(houston, "-12.50", transaction_type="return", async_account=ann)
    make_sale(
        houston,
        "8.00",
        transaction_type="customer_order",
        async_account=ann,
        confirmation_number="SO-1",
    )
    run("pipeline")
    run("sync-orders")

    sold = lines(reader.get("/transactions/?_export=csv"))
    (order,) = lines(reader.get("/orders/?_export=csv"))

    assert sum(Decimal(row["Total"]) for row in sold) == Decimal("-4.82")
    assert {row["Currency"] for row in (*sold, order)} == {"USD"}
    assert Decimal(order["Total"]) == Decimal("8.56")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (Decimal("-12.5000"), "-12.5000"),
        (Decimal("0E-4"), "0.0000"),
        (-3, -3),
        (True, True),
        (None, ""),
    ],
)
def test_a11_numbers_stay_numbers(value, cell):
    assert csv_cell(value) == cell


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("x;=1+1;y", "x;'=1+1;y"),
        ("x; \u200b=1+1", "x; \u200b'=1+1"),
        ("x\t=1", "x\t'=1"),
        ("x\r\n+1", "x\r\n'+1"),
        ("x\u2028-1", "x\u2028'-1"),
        ("\u00a0=1", "\u00a0'=1"),
        ("\u200b@x", "\u200b'@x"),
        ("\ufeff\u3000 =1", "\ufeff\u3000 '=1"),
        ("\u3164\uff1d1", "\u3164'\uff1d1"),
        ("\tx", "'\tx"),
        ("Lee-Ann", "Lee-Ann"),
        ("Lee - Ann", "Lee - Ann"),
        ("a=b", "a=b"),
    ],
)
def test_s7_no_text_begins_a_formula_wherever_a_cell_may_begin(text, cell):
    assert csv_cell(text) == cell


def test_s7_every_cell_is_in_quotes(reader, houston):
    make_customer(houston, "x;=1+1;y")
    run("pipeline")

    sent = reader.get("/customers/?_export=csv").getvalue().decode()

    assert all(line.startswith('"') and line.endswith('"') for line in sent.splitlines())
    assert '"x;\'=1+1;y Lee"' in sent


@pytest.mark.parametrize("text", ["\n" * 200_000 + "x", " ;" * 100_000, "\u200b" * 200_000 + "="])
def test_s4_the_guard_takes_no_longer_than_the_text_is(text):
    began = time.process_time()

    csv_cell(text)

    assert time.process_time() - began < 1


def test_columns_that_no_page_has_room_for_are_in_the_csv(reader, people):
    row = lines(reader.get("/runs/?_export=csv"))[0]
    operations = lines(reader.get("/async-customers/?_export=csv"))

    assert row["Result"]
    assert "Reason" in operations[0]
