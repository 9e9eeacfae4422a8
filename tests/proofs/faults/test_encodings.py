"""Channels whose databases have another encoding than UTF-8.

From conftest.py: `popup` is a store on SQLite; `own_server` is a PostgreSQL server of the test's
own; `register_austin` registers a store whose database is on the own server.
"""

import json
from uuid import uuid4

import psycopg2
import pytest

from stores.channeldb.connect.url import till_url
from stores.models import ChannelDatabase, Incident, Quarantine, RetailTransaction
from tests.support.after_a_fault import waiting
from tests.support.channels import TIME
from tests.support.make import (
    article,
    lookup,
    make_customer,
    make_sale,
    run,
    sale_rows,
    to_postgresql,
)

pytestmark = pytest.mark.slow

# A byte that is no UTF-8, as SQL and as quarantine keeps it.
INVALID_BYTE = r"convert_from('\xe9', 'SQL_ASCII')"
INVALID_BYTE_IN_BASE64 = "6Q=="
# Stands for the byte in the rows that a test writes.
PLACEHOLDER = "\\xe9"


@pytest.fixture
def register_with_encoding(own_server, register_austin, popup):
    """Registers a store whose database has this encoding."""

    def register(encoding):
        own_server.start()
        name = f"ch_{encoding.lower()}"
        own_server.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        own_server.ask(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
        )
        return register_austin(name)

    return register


def write_rows_with_invalid_byte(database, tables):
    """Write rows of several tables, with the invalid byte in place of PLACEHOLDER."""
    raw = psycopg2.connect(till_url(database))
    with raw, raw.cursor() as cursor:
        cursor.execute("SET client_encoding = 'SQL_ASCII'")
        for table, rows in tables.items():
            for row in rows:
                write_row_with_invalid_byte(cursor, table, row)
    raw.close()


def write_row_with_invalid_byte(cursor, table, row):
    values = [INVALID_BYTE if value == PLACEHOLDER else "%s" for value in row.values()]
    params = [to_postgresql(value) for value in row.values() if value != PLACEHOLDER]
    statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(values)})"  # noqa: S608
    cursor.execute(statement, params)


@pytest.mark.fault("F-30")  # a database has another encoding
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_customers_in_another_encoding_are_converted(register_with_encoding, popup, encoding):
    austin = register_with_encoding(encoding)
    make_customer(austin, "Zoë")

    run("pipeline")

    assert lookup(popup) == lookup(austin) == [("005001", "Zoë")]


@pytest.mark.fault("F-30")  # a database has another encoding
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_sales_in_another_encoding_are_posted(register_with_encoding, popup, encoding):
    austin = register_with_encoding(encoding)
    make_sale(austin, lines=[article(description="Café crème")], receipt_number="N° 1")

    assert run("eod")["outcome"] == "succeeded"

    sale = RetailTransaction.objects.get(sales_order__isnull=False)
    assert (sale.lines.get().description, sale.receipt_number) == ("Café crème", "N° 1")


@pytest.mark.fault("F-30")  # a database has another encoding
def test_a_customer_with_an_invalid_byte_stops_no_other(register_with_encoding, popup):
    austin = register_with_encoding("SQL_ASCII")
    make_customer(austin, "Zoë")
    bad = {"event_id": uuid4(), "occurred_at": TIME, "operation": "create"}
    bad |= {"async_account": uuid4(), "customer_type": "person"}
    bad |= {"first_name": PLACEHOLDER, "last_name": "Lee"}
    write_rows_with_invalid_byte(austin, {"async_customer": [bad]})

    result = run("pipeline")

    assert (result["counts"]["converted"], result["counts"]["quarantined"]) == (1, 1)
    case = Quarantine.objects.get()
    assert (case.reason, case.field) == ("encoding", "first_name")
    assert INVALID_BYTE_IN_BASE64 in str(json.loads(bytes(case.raw)))
    assert waiting(austin) == 0


# A column of each table of a sale.
COLUMNS_OF_SALES = {
    "receipt_number": "retail_transaction",
    "description": "retail_transaction_line",
    "tender_type": "retail_transaction_payment",
}


@pytest.fixture
def invalid_sales(register_with_encoding) -> ChannelDatabase:
    """A store with a sale that has an invalid byte in each of these columns, and two good ones."""
    austin = register_with_encoding("SQL_ASCII")
    make_sale(austin, transaction_id="T-0")
    for column, table in COLUMNS_OF_SALES.items():
        rows = sale_rows(austin, "10.00", "5.00", transaction_id=f"T-{column}")
        rows[table][-1][column] = PLACEHOLDER
        write_rows_with_invalid_byte(austin, rows)
    make_sale(austin, lines=[article(description="Café")], transaction_id="T-9")
    return austin


@pytest.mark.fault("F-30")  # a database has another encoding
def test_a_sale_with_an_invalid_byte_stops_no_other(invalid_sales):
    result = run("eod")

    assert (result["outcome"], result["counts"]["posted"]) == ("succeeded", 2)
    assert waiting(invalid_sales, "retail_transaction") == 0


@pytest.mark.fault("F-30")  # a database has another encoding
def test_a_sale_with_an_invalid_byte_is_quarantined_whole(invalid_sales):
    run("eod")

    cases = Quarantine.objects.order_by("pk")
    assert [case.field for case in cases] == list(COLUMNS_OF_SALES)
    for case in cases:
        content = json.loads(bytes(case.raw))
        assert INVALID_BYTE_IN_BASE64 in str(content)
        assert len(content["retail_transaction_line"]) == 2
        assert len(content["retail_transaction_payment"]) == 1


@pytest.mark.fault("F-30")  # a database has another encoding
def test_a_name_outside_a_channel_s_encoding_stops_no_other(register_with_encoding, popup):
    austin = register_with_encoding("LATIN1")
    make_customer(popup, "Łukasz")
    make_customer(popup, "Zoë")

    run("pipeline")

    assert [name for _, name in lookup(austin)] == ["Zoë"]
    incident = Incident.objects.open().get()
    assert (incident.kind, incident.subject) == ("row_refused", "customers")
    assert incident.database == austin
