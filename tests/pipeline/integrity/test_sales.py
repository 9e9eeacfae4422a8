"""Damage to sales, orders and statements is named by the checks of verify.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL.
"""

from decimal import Decimal

import pytest

from stores.models import ExcludedSale, PaymentRounding
from stores.models.job import JobCode
from stores.pipeline.integrity.verify import verify
from tests.support.damage import damage, without_constraint
from tests.support.invariants import Invariant
from tests.support.make import make_customer, make_sale, run
from tests.support.promises import failed_checks

pytestmark = pytest.mark.slow

CHECKS_OF_SALES = {
    Invariant.EVERY_SALE_IS_KEPT_ONCE,
    Invariant.SALES_ADD_UP,
    Invariant.NOTHING_IS_POSTED_WITHOUT_ACCOUNT,
    Invariant.EVERY_SALE_IS_POSTED_OR_EXCLUDED,
    Invariant.STATEMENT_POSTS_WHAT_WAS_PAID,
    Invariant.POSTED_STATEMENT_NEVER_CHANGES,
    Invariant.ONE_SALES_ORDER_PER_ORDER,
}
# A statement that damages HQ, and the checks that must fail afterwards.
DAMAGES = {
    "a line was lost": (
        "DELETE FROM retail_transaction_line WHERE line_number = 2",
        {
            Invariant.EVERY_ROW_READ_IS_COUNTED,
            Invariant.EVERY_SALE_IS_KEPT_ONCE,
            Invariant.SALES_ADD_UP,
            Invariant.POSTED_STATEMENT_NEVER_CHANGES,
        },
    ),
    "a payment was changed": (
        "UPDATE retail_transaction_payment SET amount = amount + 1",
        {
            Invariant.SALES_ADD_UP,
            Invariant.STATEMENT_POSTS_WHAT_WAS_PAID,
            Invariant.POSTED_STATEMENT_NEVER_CHANGES,
        },
    ),
    "a sale was assigned to another customer": (
        "UPDATE retail_transaction SET customer_id = (SELECT min(id) FROM customer)",
        {Invariant.NOTHING_IS_POSTED_WITHOUT_ACCOUNT, Invariant.POSTED_STATEMENT_NEVER_CHANGES},
    ),
    "an order was assigned to another customer": (
        "UPDATE sales_order SET customer_id = (SELECT min(id) FROM customer)",
        {Invariant.NOTHING_IS_POSTED_WITHOUT_ACCOUNT, Invariant.POSTED_STATEMENT_NEVER_CHANGES},
    ),
    "a sale was taken out of its order": (
        "UPDATE retail_transaction SET sales_order_id = NULL WHERE transaction_type = 'sale'",
        {Invariant.EVERY_SALE_IS_POSTED_OR_EXCLUDED, Invariant.POSTED_STATEMENT_NEVER_CHANGES},
    ),
    "a total was changed": (
        "UPDATE statement_total SET gross_amount = gross_amount + 0.01",
        {Invariant.STATEMENT_POSTS_WHAT_WAS_PAID, Invariant.POSTED_STATEMENT_NEVER_CHANGES},
    ),
    "a sale moved to another day": (
        """UPDATE retail_transaction SET business_date = business_date + 1
            WHERE statement_id IS NOT NULL""",
        {Invariant.STATEMENT_POSTS_WHAT_WAS_PAID},
    ),
    "a posted sale was voided": (
        "UPDATE retail_transaction SET entry_status = 'voided' WHERE statement_id IS NOT NULL",
        {Invariant.EVERY_SALE_IS_POSTED_OR_EXCLUDED},
    ),
    "the reason why a sale is left out vanished": (
        "DELETE FROM transaction_error",
        {Invariant.EVERY_SALE_IS_POSTED_OR_EXCLUDED, Invariant.STATEMENT_POSTS_WHAT_WAS_PAID},
    ),
    "a posted payment vanished": (
        "DELETE FROM posted_payment WHERE kind = 'payment'",
        {
            Invariant.SALES_ADD_UP,
            Invariant.STATEMENT_POSTS_WHAT_WAS_PAID,
            Invariant.POSTED_STATEMENT_NEVER_CHANGES,
        },
    ),
    "a posted prepayment vanished": (
        "DELETE FROM posted_payment WHERE kind = 'prepayment'",
        {
            Invariant.EVERY_SALE_IS_POSTED_OR_EXCLUDED,
            Invariant.STATEMENT_POSTS_WHAT_WAS_PAID,
            Invariant.POSTED_STATEMENT_NEVER_CHANGES,
        },
    ),
    "a posted rounding difference vanished": (
        "DELETE FROM posted_payment WHERE kind = 'rounding_difference'",
        {Invariant.SALES_ADD_UP, Invariant.POSTED_STATEMENT_NEVER_CHANGES},
    ),
    "a posted prepayment was assigned to another customer": (
        """UPDATE posted_payment SET customer_id = (SELECT min(id) FROM customer)
            WHERE kind = 'prepayment'""",
        {Invariant.NOTHING_IS_POSTED_WITHOUT_ACCOUNT, Invariant.POSTED_STATEMENT_NEVER_CHANGES},
    ),
    "a prepayment was changed": (
        """UPDATE retail_transaction_payment SET amount = amount + 1
            WHERE transaction_id = (SELECT id FROM retail_transaction
                                     WHERE transaction_type = 'customer_order')""",
        {
            Invariant.SALES_ADD_UP,
            Invariant.STATEMENT_POSTS_WHAT_WAS_PAID,
            Invariant.POSTED_STATEMENT_NEVER_CHANGES,
        },
    ),
    "an order was taken out of its statement": (
        "UPDATE retail_transaction SET prepayment_statement_id = NULL",
        {
            Invariant.EVERY_SALE_IS_POSTED_OR_EXCLUDED,
            Invariant.STATEMENT_POSTS_WHAT_WAS_PAID,
            Invariant.POSTED_STATEMENT_NEVER_CHANGES,
        },
    ),
    "the prepaid amount of a tender was changed": (
        "UPDATE statement_tender SET prepaid_amount = prepaid_amount + 1",
        {Invariant.STATEMENT_POSTS_WHAT_WAS_PAID, Invariant.POSTED_STATEMENT_NEVER_CHANGES},
    ),
    "a prepaid order was voided": (
        """UPDATE retail_transaction SET entry_status = 'voided'
            WHERE prepayment_statement_id IS NOT NULL""",
        {Invariant.EVERY_SALE_IS_POSTED_OR_EXCLUDED},
    ),
    "a posted sale was made a return": (
        """UPDATE retail_transaction SET transaction_type = 'return'
            WHERE statement_id IS NOT NULL""",
        {Invariant.SALES_ADD_UP},
    ),
    "the hash of a statement was replaced": (
        "UPDATE statement SET content_hash = '\\x00'",
        {Invariant.POSTED_STATEMENT_NEVER_CHANGES},
    ),
}


@pytest.fixture
def posted_day(houston):
    """A synchronized order, and a posted day that leaves out a voided and an invalid sale."""
    ann = make_customer(houston)
    make_sale(houston, "7.00", entry_status="voided")
    make_sale(houston, "8.00", net_amount="9.00")
    make_sale(houston, "10.00", "5.00", async_account=ann)
    # Coins of 0.05: USD 1.05 pays for USD 1.07.
    PaymentRounding.objects.create(
        company=houston.channel.company, currency="USD", tender_type="cash", rounding_unit="0.05"
    )
    make_sale(houston, "1.00", async_account=ann, payment_amount="1.05")
    make_sale(
        houston, transaction_type="customer_order", confirmation_number="SO-1", async_account=ann
    )
    assert run(JobCode.END_OF_DAY)["outcome"] == "succeeded"
    assert run(JobCode.ORDERS)["outcome"] == "succeeded"


def test_every_unposted_sale_is_excluded_with_a_reason(posted_day):
    excluded = dict(ExcludedSale.objects.values_list("gross_amount", "reason"))

    # Gross amounts, with 7 % tax.
    assert excluded == {Decimal("7.49"): "voided", Decimal("8.56"): "net_differs"}


def test_a_posted_day_passes_every_check(posted_day):
    assert failed_checks() == {}
    assert all(check.checked for check in verify() if check.id in CHECKS_OF_SALES)


@pytest.mark.finding(id="P6")
@pytest.mark.finding(id="P42")
@pytest.mark.parametrize(("statement", "checks"), DAMAGES.values(), ids=DAMAGES)
def test_damage_to_sales_fails_its_checks(posted_day, statement, checks):
    damage(statement)

    assert failed_checks().keys() == checks


def test_a_transaction_id_that_two_channels_used_fails_a_check(houston, seattle):
    for store in (houston, seattle):
        make_sale(store, transaction_id="T-1")
    run(JobCode.END_OF_DAY)

    with without_constraint("a_number_of_a_store_is_one_transaction"):
        missing = failed_checks()[Invariant.EVERY_SALE_IS_KEPT_ONCE]
        damage("UPDATE retail_transaction SET store_number = '007'")
        failed = failed_checks()

    assert len(missing) == 1
    assert failed.keys() == {Invariant.EVERY_SALE_IS_KEPT_ONCE}
    assert {"transaction_id": "T-1", "store_number": "007", "channels": 2} in failed[
        Invariant.EVERY_SALE_IS_KEPT_ONCE
    ]
