"""Several things are wrong with one row: it is set aside once, and stops nobody."""

from collections import Counter
from uuid import uuid4

import pytest

from stores.models import Customer, Quarantine, RetailTransaction
from stores.pipeline.corrections.quarantine import release
from tests.support.make import engine_of, make_customer, make_event, make_sale, run, unacknowledged

pytestmark = pytest.mark.slow

# What may be wrong with a row beside its id, which HQ holds with other content.
OTHERWISE_WRONG = {
    "too_long": {"first_name": "A" * 61},
    "out_of_form": {"birth_date": "1.3.1990"},
    "not_text": {"first_name": b"\xff"},
    "no_rule": {"email": "no address"},
    "foreign_account": {"account_number": "X-1"},
}
IN_ANY_ENGINE = {"too_long", "no_rule", "foreign_account"}


@pytest.mark.parametrize("is_converted", [False, True], ids=["pending", "converted"])
def test_s3_a_known_id_and_another_fault_in_one_row_stop_nobody(store, seattle, is_converted):
    wrong = {
        name: columns
        for name, columns in OTHERWISE_WRONG.items()
        if name in IN_ANY_ENGINE or engine_of(store) == "sqlite"
    }
    known = {name: uuid4() for name in wrong}
    sold, lived = uuid4(), uuid4()
    for event in known.values():
        make_customer(seattle, event_id=event)
    make_event("address", seattle, async_account=make_customer(seattle), event_id=lived)
    make_sale(seattle, event_id=sold)
    run("pipeline" if is_converted else "P-0001")

    for name, columns in wrong.items():
        make_customer(store, event_id=known[name], **columns)
    good = make_customer(store, "Good")
    make_event("address", store, async_account=good, event_id=lived, city="C" * 200)
    make_sale(store, event_id=sold, transaction_type="gift", receipt_number="R" * 40)
    make_sale(store)
    found = run("pipeline")

    assert found["outcome"] == "succeeded"
    assert unacknowledged(store) == 0
    assert Customer.objects.filter(guids__async_account=good, number__isnull=False).exists()
    assert RetailTransaction.objects.filter(channel=store.channel).count() == 1
    assert reasons() == Counter(event_conflict=len(wrong) + 2)
    # Released, each stays what it is, and stops none of the others.
    settled = release([str(row.pk) for row in Quarantine.objects.all()])
    assert (settled.done, len(settled.left)) == (0, len(wrong) + 2)
    assert reasons() == Counter(event_conflict=len(wrong) + 2)


def reasons() -> Counter[str]:
    """How many rows are in quarantine for which reason."""
    return Counter(Quarantine.objects.open().values_list("reason", flat=True))
