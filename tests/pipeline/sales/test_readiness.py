"""The end-of-day board names, before validation, what validation and orders will refuse.

From conftest.py: `houston` is a store on PostgreSQL.
"""

from datetime import date
from uuid import uuid4

import pytest

from stores.models import Channel, Customer, RetailTransaction
from stores.models.job import JobCode
from stores.pipeline.sales.readiness import readiness
from tests.support.make import make_customer, make_sale, run
from tests.support.orders import make_order

pytestmark = pytest.mark.finding(id="A2")

DAY = date(2026, 11, 20)


def blockers():
    """How many sales each reason and field blocks."""
    return {
        (blocker.reason, blocker.field): blocker.sales
        for day in readiness()
        for blocker in day.blockers
    }


@pytest.fixture
def blocked_sales(houston):
    """Sales and an order whose GUID and account number contradict each other or lead nowhere."""
    ann, bo = make_customer(houston, "Ann"), make_customer(houston, "Bo")
    run(JobCode.PIPELINE)
    ann_account = Customer.objects.get(first_name="Ann").account_number
    bo_account = Customer.objects.get(first_name="Bo").account_number
    invalid = make_customer(houston, "Cy", title="x" * 21)
    unknown = uuid4()

    def sell(transaction_id, **buyer):
        make_sale(houston, transaction_id=transaction_id, business_date=DAY, **buyer)

    sell("two customers", async_account=ann, account_number=bo_account)
    sell("unknown GUID, known account", async_account=unknown, account_number=ann_account)
    sell("invalid GUID, known account", async_account=invalid, account_number=ann_account)
    sell("known GUID, unknown account", async_account=bo, account_number="NOBODY")
    sell("unknown GUID", async_account=uuid4())
    sell("guest")
    make_order(
        houston,
        "W-1",
        transaction_id="order of two customers",
        business_date=DAY,
        async_account=ann,
        account_number=bo_account,
    )
    Channel.objects.update(default_customer=None)
    run(JobCode.UPLOAD)


def test_the_board_names_blocked_sales_before_validation(blocked_sales):
    assert blockers() == {
        ("identity_mismatch", "account_number"): 1,
        ("customer_missing", "async_account"): 1,
        ("default_customer_missing", "customer"): 1,
    }


def test_validation_finds_what_the_board_has_named(blocked_sales):
    run(JobCode.VALIDATE)
    run(JobCode.ORDERS)

    # A missing customer is an unknown one from now on.
    assert blockers() == {
        ("identity_mismatch", "account_number"): 1,
        ("customer_unknown", "async_account"): 1,
        ("default_customer_missing", "customer"): 1,
    }
    invalid = RetailTransaction.objects.filter(validation_status="error")
    assert set(invalid.values_list("transaction_id", "errors__rule", "errors__field")) == {
        ("two customers", "identity_mismatch", "account_number"),
        ("unknown GUID", "customer_unknown", "async_account"),
        ("order of two customers", "identity_mismatch", "account_number"),
    }
    order = RetailTransaction.objects.get(confirmation_number="W-1")
    assert order.order_reason == "identity_mismatch"
