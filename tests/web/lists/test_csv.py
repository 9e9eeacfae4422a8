"""Lists as CSV files: all rows of the list, numbers as numbers, and no formulas.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `reader` is a
client of a user who may see every page; `people` has Ann with an account, Bo who is pending, and Cy
in quarantine.
"""

import time
from decimal import Decimal

import pytest

from stores.models import Customer
from stores.models.job import JobCode
from stores.web.lists.csv_cells import csv_cell
from tests.support.make import make_customer, make_sale, run
from tests.support.pages import LISTS, csv_rows


@pytest.mark.slow
def test_a_csv_file_has_the_rows_of_the_list(reader, people, subtests):
    for name, url in LISTS.items():
        with subtests.test(name):
            response = reader.get(url, {"_export": "csv"})

            assert response["Content-Type"].startswith("text/csv")
            assert len(csv_rows(response)) == reader.get(url).context["table"].paginator.count > 0


@pytest.mark.slow
def test_a_csv_file_keeps_the_filters_and_has_plain_values(reader, people):
    [row] = csv_rows(reader.get("/async-customers/?q=bo&_export=csv"))

    assert row["Async customer account"] == str(people["Bo"])
    assert row["Customer sync status"] == "not_synchronized"
    assert row["Operation"] == "Create"


def test_the_csv_of_customers_has_the_words_of_the_page(reader, houston):
    for name in ("Ann", "Bo", "Cy"):
        make_customer(houston, name)
    run("pipeline")
    Customer.objects.filter(first_name="Bo").update(is_blocked=True)
    Customer.objects.filter(first_name="Cy").update(is_active=False)
    make_customer(houston, "Di")
    run(JobCode.UPLOAD)
    run(JobCode.CONVERT)

    rows = csv_rows(reader.get("/customers/?_export=csv"))

    words = {row["Name"]: (row["Delivery"], row["Status"]) for row in rows}
    assert words["Ann Lee"] == ("Up to date", "Active")
    assert words["Bo Lee"][1] == "Blocked"
    assert words["Cy Lee"][1] == "Inactive"
    assert words["Di Lee"] == ("Pending", "Active")


def test_a_csv_file_has_more_columns_than_the_page(reader, people):
    job_run = csv_rows(reader.get("/runs/?_export=csv"))[0]
    event = csv_rows(reader.get("/async-customers/?_export=csv"))[0]

    assert job_run["Result"]
    assert "Reason" in event


@pytest.mark.finding(id="A11")
def test_amounts_of_returns_are_negative_and_have_a_currency(reader, houston):
    ann = make_customer(houston)
    make_sale(houston, "-12.50", transaction_type="return", async_account=ann)
    order = {"transaction_type": "customer_order", "confirmation_number": "SO-1"}
    make_sale(houston, "8.00", async_account=ann, **order)
    run("pipeline")
    run("sync-orders")

    sales = csv_rows(reader.get("/transactions/?_export=csv"))
    [order] = csv_rows(reader.get("/orders/?_export=csv"))

    assert sum(Decimal(row["Total"]) for row in sales) == Decimal("-4.82")
    assert {row["Currency"] for row in sales} == {"USD"}
    assert (Decimal(order["Total"]), order["Currency"]) == (Decimal("8.56"), "USD")


@pytest.mark.finding(id="A11")
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
def test_a_number_stays_a_number(value, cell):
    assert csv_cell(value) == cell


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_a_text_that_starts_like_a_formula_is_quoted(start):
    assert csv_cell(f"{start}cmd()") == f"'{start}cmd()"


# A spreadsheet may begin a new cell at a separator or a line break, and skips invisible letters.
@pytest.mark.finding(id="S7")
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
def test_a_formula_is_quoted_wherever_a_cell_may_begin(text, cell):
    assert csv_cell(text) == cell


@pytest.mark.finding(id="S7")
def test_every_cell_is_in_double_quotes(reader, houston):
    make_customer(houston, "x;=1+1;y")
    run("pipeline")

    content = reader.get("/customers/?_export=csv").getvalue().decode()

    assert all(line.startswith('"') and line.endswith('"') for line in content.splitlines())
    assert '"x;\'=1+1;y Lee"' in content


@pytest.mark.slow
def test_a_formula_in_a_name_is_quoted(reader, houston):
    formula = '=HYPERLINK("http://x")'
    make_customer(houston, formula, last_name="", name=formula)
    run("pipeline")

    names = [row["Name"] for row in csv_rows(reader.get("/customers/?_export=csv"))]

    assert f"'{formula}" in names


@pytest.mark.finding(id="S4")
@pytest.mark.parametrize(
    "text",
    ["\n" * 200_000 + "x", " ;" * 100_000, "\u200b" * 200_000 + "="],
    ids=["line breaks", "separators", "invisible"],
)
def test_a_long_text_takes_less_than_a_second(text):
    start = time.process_time()

    csv_cell(text)

    assert time.process_time() - start < 1
