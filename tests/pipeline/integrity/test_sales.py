"""Verify names what is wrong with sales, orders and statements."""

from decimal import Decimal

import pytest

from stores.models import ExcludedSale, PaymentRounding
from stores.pipeline.integrity.verify import verify
from tests.support.damage import broken, damage, without
from tests.support.make import make_customer, make_sale, run

pytestmark = pytest.mark.slow

OF_SALES = [f"I{n}" for n in range(21, 28)]
SALES_DAMAGE = {
    "a line was lost": (
        "DELETE FROM retail_transaction_line WHERE line_number = 2",
        {"I11", "I21", "I22", "I26"},
    ),
    "a payment was changed": (
        "UPDATE retail_transaction_payment SET amount = amount + 1",
        {"I22", "I25", "I26"},
    ),
    "a sale went to somebody else": (
        "UPDATE retail_transaction SET customer_id = (SELECT min(id) FROM customer)",
        {"I23", "I26"},
    ),
    "an order went to somebody else": (
        "UPDATE sales_order SET customer_id = (SELECT min(id) FROM customer)",
        {"I23", "I26"},
    ),
    "a sale fell out of its order": (
        "UPDATE retail_transaction SET sales_order_id = NULL WHERE transaction_type = 'sale'",
        {"I24", "I26"},
    ),
    "a total was changed": (
        "UPDATE statement_total SET gross_amount = gross_amount + 0.01",
        {"I25", "I26"},
    ),
    "a sale moved to another day": (
        """UPDATE retail_transaction SET business_date = business_date + 1
            WHERE statement_id IS NOT NULL""",
        {"I25"},
    ),
    "a posted sale was voided": (
        "UPDATE retail_transaction SET entry_status = 'voided' WHERE statement_id IS NOT NULL",
        {"I24"},
    ),
    "nothing says why a sale is left out": ("DELETE FROM transaction_error", {"I24", "I25"}),
    "a posted payment vanished": (
        "DELETE FROM posted_payment WHERE kind = 'payment'",
        {"I22", "I25", "I26"},
    ),
    "a posted prepayment vanished": (
        "DELETE FROM posted_payment WHERE kind = 'prepayment'",
        {"I24", "I25", "I26"},
    ),
    "a difference vanished": (
        "DELETE FROM posted_payment WHERE kind = 'rounding_difference'",
        {"I22", "I26"},
    ),
    "a posted prepayment went to somebody else": (
        """UPDATE posted_payment SET customer_id = (SELECT min(id) FROM customer)
            WHERE kind = 'prepayment'""",
        {"I23", "I26"},
    ),
    "a prepayment was changed": (
        """UPDATE retail_transaction_payment SET amount = amount + 1
            WHERE transaction_id = (SELECT id FROM retail_transaction
                                     WHERE transaction_type = 'customer_order')""",
        {"I22", "I25", "I26"},
    ),
    "an order fell out of its day": (
        "UPDATE retail_transaction SET prepayment_statement_id = NULL",
        {"I24", "I25", "I26"},
    ),
    "a tender holds other prepayments": (
        "UPDATE statement_tender SET prepaid_amount = prepaid_amount + 1",
        {"I25", "I26"},
    ),
    "a prepaid order was voided": (
        """UPDATE retail_transaction SET entry_status = 'voided'
            WHERE prepayment_statement_id IS NOT NULL""",
        {"I24"},
    ),
    "a return was accepted as a sale": (
        """UPDATE retail_transaction SET transaction_type = 'return'
            WHERE statement_id IS NOT NULL""",
        {"I22"},
    ),
    "a seal was replaced": ("UPDATE statement SET content_hash = '\\x00'", {"I26"}),
}


@pytest.fixture
def posted(houston):
    """A posted day, which left a voided and a broken sale out, and a synchronized order."""
    ann = make_customer(houston)
    make_sale(houston, "7.00", entry_status="voided")
    make_sale(houston, "8.00", net_amount="9.00")
    make_sale(houston, "10.00", "5.00", async_account=ann)
    PaymentRounding.objects.create(
        company=houston.channel.company, currency="USD", tender_type="cash", rounding_unit="0.05"
    )
    make_sale(houston, "1.00", async_account=ann, payment_amount="1.05")
    make_sale(
        houston, transaction_type="customer_order", confirmation_number="SO-1", async_account=ann
    )
    assert run("eod")["outcome"] == "succeeded"
    assert run("sync-orders")["outcome"] == "succeeded"


def test_every_sale_is_posted_or_listed_with_the_reason(posted):
    listed = dict(ExcludedSale.objects.values_list("gross_amount", "reason"))

    assert listed == {Decimal("7.49"): "voided", Decimal("8.56"): "net_differs"}


def test_a_posted_day_keeps_every_promise(posted):
    assert broken() == {}
    assert all(check.checked for check in verify() if check.id in OF_SALES)


@pytest.mark.parametrize("name", SALES_DAMAGE)
def test_p6_p42_damage_to_sales_is_named(posted, name):
    statement, ids = SALES_DAMAGE[name]

    damage(statement)

    assert set(broken()) == ids


def test_a_number_that_two_channels_sold_is_named(houston, seattle):
    for shop in (houston, seattle):
        make_sale(shop, transaction_id="T-1")
    run("eod")

    with without("a_number_of_a_store_is_one_transaction"):
        missing = broken()["I21"]
        damage("UPDATE retail_transaction SET store_number = '007'")
        damaged = broken()

    assert len(missing) == 1
    assert list(damaged) == ["I21"]
    assert {"transaction_id": "T-1", "store_number": "007", "channels": 2} in damaged["I21"]
