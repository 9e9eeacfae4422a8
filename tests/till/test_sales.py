"""A till sells, takes back, and takes orders in the mode that its channel's profile says.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite; `houston` is a store on
PostgreSQL (its first account is 005001).
"""

from dataclasses import replace
from decimal import Decimal

import pytest

from stores.models import RetailTransaction, SalesOrder
from stores.till.customers import create_customer
from stores.till.refusals import InvalidValues, Refused
from stores.till.sales import Basket, Line, order, sell
from stores.till.saves import new_save_id
from tests.support.make import query, run
from tests.support.tills import Away, ann, set_up, till_at

pytestmark = pytest.mark.slow

LAMP = Line("0004", Decimal(2), Decimal("12.35"), "Lamp")
BASKET = Basket([LAMP, Line("0006", Decimal(1), Decimal("0.333"))], "EUR", Decimal(21))
PENDING = "pending-1"


def test_headquarters_finds_no_fault_in_sales_returns_exchanges_and_orders(store):
    till = till_at(store)
    create_customer(till, ann(address={"city": "Houston", "country": "USA"}))
    back = Line("0006", Decimal(-1), Decimal("2.20"))

    sold = sell(till, BASKET, PENDING)
    returned = sell(till, BASKET, is_return=True)
    sell(till, Basket([LAMP, back], "JPY", Decimal(8)))
    ordered = order(till, BASKET, PENDING, prepaid=Decimal(10), delivers=True)
    run("pipeline")
    run("validate")
    run("sync-orders")

    assert (sold.total, returned.total) == (Decimal("30.29"), Decimal("-30.29"))
    validated = RetailTransaction.objects.values_list("transaction_type", "validation_status")
    assert sorted(validated.exclude(transaction_type="customer_order")) == [
        ("return", "successful"),
        ("sale", "successful"),
        ("sale", "successful"),
    ]
    assert SalesOrder.objects.get().confirmation_number == ordered.confirmation_number


def test_the_same_form_saves_a_sale_and_an_order_once(store):
    till, save_id = till_at(store), new_save_id()
    create_customer(till, ann())

    sales = [sell(till, BASKET, PENDING, save_id=save_id) for _ in range(2)]
    orders = [order(till, BASKET, PENDING, save_id=save_id) for _ in range(2)]
    other = Basket([LAMP, Line("0007", Decimal(1), Decimal("0.333"))], "EUR", Decimal(21))
    with pytest.raises(Refused, match="This form has saved another sale or order already"):
        sell(till, other, PENDING, save_id=save_id)

    assert query(store, "SELECT count(*) FROM retail_transaction") == [(2,)]
    assert sales[0].transaction_id == sales[1].transaction_id
    assert orders[0].confirmation_number == orders[1].confirmation_number
    assert sales[1].message.startswith("The sale is already saved. Total")


def test_a_pending_customer_cannot_be_on_a_synchronous_order(store):
    set_up(store, profile={"customer_order_mode": "sync"})
    create_customer(till_at(store), ann())

    with pytest.raises(Refused, match=r"for customers with an account.*Headquarters has not"):
        order(till_at(store), BASKET, PENDING)

    assert query(store, "SELECT count(*) FROM retail_transaction") == [(0,)]


def test_headquarters_that_is_away_stops_synchronous_orders_only(houston):
    create_customer(till_at(houston), ann())
    run("pipeline")
    away = till_at(houston, service=Away())
    for mode in ("async", "sync_first"):
        set_up(houston, profile={"customer_order_mode": mode})
        taken = order(away, BASKET, "005001")
        assert taken.message.endswith("Synchronize orders creates it at headquarters.")
    set_up(houston, profile={"customer_order_mode": "sync"})
    order(till_at(houston, is_offline=True), BASKET, "005001")

    with pytest.raises(Refused, match=r"only while headquarters answers.*when headquarters can be"):
        order(away, BASKET, "005001")

    assert query(houston, "SELECT count(*) FROM retail_transaction") == [(3,)]


WRONG = {
    "quantity": Basket([Line("1", Decimal(0), Decimal(1))], "EUR"),
    "price": Basket([Line("1", Decimal(1), Decimal(-1))], "EUR"),
    "item_id": Basket([Line("1" * 21, Decimal(1), Decimal(1))], "EUR"),
    "currency": Basket([LAMP], "XYZ"),
    "tax_percent": Basket([LAMP], "EUR", Decimal(101)),
    "tender_type": Basket([LAMP], "EUR", tender=" "),
}


def test_a_basket_with_a_wrong_value_is_refused_and_the_field_named(houston, subtests):
    for field, basket in WRONG.items():
        with subtests.test(field), pytest.raises(InvalidValues) as refusal:
            sell(till_at(houston), basket)
        assert list(refusal.value.fields) == [field]
    large = Line("1", Decimal(10**8), Decimal(10**8))
    cancelled = Basket([large, replace(large, quantity=-large.quantity)], "EUR")
    with pytest.raises(InvalidValues, match="too many digits"):
        sell(till_at(houston), cancelled)
    backwards = Basket([Line("1", Decimal(-1), Decimal(1))], "EUR")
    with pytest.raises(InvalidValues, match="this is a return"):
        sell(till_at(houston), backwards)

    assert query(houston, "SELECT count(*) FROM retail_transaction") == [(0,)]
