"""A row with two faults is quarantined once and holds up no other row.

From conftest.py: `seattle` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite.
"""

from collections import Counter
from uuid import uuid4

import pytest

from stores.models import Customer, Quarantine, RetailTransaction
from stores.pipeline.corrections.quarantine import release_rows
from tests.support.make import engine_of, make_customer, make_event, make_sale, run, unacknowledged

pytestmark = [pytest.mark.slow, pytest.mark.finding(id="S3")]

FAULTS = {
    "too_long": {"first_name": "A" * 61},
    "no_rule": {"email": "no address"},
    "foreign_account": {"account_number": "X-1"},
}
# Only SQLite stores these values.
SQLITE_FAULTS = {
    "out_of_form": {"birth_date": "1.3.1990"},
    "not_text": {"first_name": b"\xff"},
}


def open_reasons() -> Counter[str]:
    """How many rows are in quarantine for each reason."""
    return Counter(Quarantine.objects.open().values_list("reason", flat=True))


@pytest.fixture(params=["P-0001", "pipeline"], ids=["pending", "converted"])
def conflicts(store, seattle, request) -> int:
    """Rows of the store that have a fault and an event id of seattle. Returns their number.

    The store has a good customer and a good sale as well.
    """
    faults = list(FAULTS.values())
    if engine_of(store) == "sqlite":
        faults += SQLITE_FAULTS.values()
    customer_ids = [uuid4() for _ in faults]
    address_id, sale_id = uuid4(), uuid4()
    for event_id in customer_ids:
        make_customer(seattle, event_id=event_id)
    make_event("address", seattle, async_account=make_customer(seattle), event_id=address_id)
    make_sale(seattle, event_id=sale_id)
    run(request.param)

    for event_id, columns in zip(customer_ids, faults, strict=True):
        make_customer(store, event_id=event_id, **columns)
    good = make_customer(store, "Good")
    make_event("address", store, async_account=good, event_id=address_id, city="C" * 200)
    make_sale(store, event_id=sale_id, transaction_type="gift", receipt_number="R" * 40)
    make_sale(store)
    # The customers, the address and the sale.
    return len(faults) + 2


def test_a_row_with_two_faults_stops_no_other_row(store, conflicts):
    result = run("pipeline")

    assert result["outcome"] == "succeeded"
    assert unacknowledged(store) == 0
    assert Customer.objects.filter(first_name="Good", number__isnull=False).exists()
    assert RetailTransaction.objects.filter(channel=store.channel).count() == 1
    assert open_reasons() == {"event_conflict": conflicts}


def test_a_row_with_two_faults_that_is_released_is_quarantined_again(conflicts):
    run("pipeline")

    released = release_rows([str(row.pk) for row in Quarantine.objects.all()])

    assert (released.done, len(released.still_open)) == (0, conflicts)
    assert open_reasons() == {"event_conflict": conflicts}
