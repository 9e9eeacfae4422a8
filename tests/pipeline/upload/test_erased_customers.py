"""Events of customers whose personal data were erased: acknowledged, and staged without any.

From conftest.py: `popup` is a store on SQLite; `store` is a store, once on PostgreSQL and once on
SQLite. Its first account is 005001.
"""

import pytest

from stores.models import AsyncCustomer, Customer, Quarantine
from stores.models.job import JobCode
from stores.pipeline.events.rules import STAGING_MODELS
from tests.support.make import make_customer, make_event, run, unacknowledged

pytestmark = pytest.mark.slow

# What the events of each kind say of a person.
PERSONAL_DATA = {
    "customer": {"last_name": "Lee", "email": "ann@example.com"},
    "address": {"street": "Main Street", "city": "Houston"},
    "contact": {"locator": "ann@example.com"},
    "affiliation": {"affiliation": "STAFF"},
    "attribute": {"attribute": "SIZE", "value": "M"},
}


def erase_customer() -> None:
    """Erase the personal data of the first account, as no job does yet."""
    Customer.objects.filter(account_number="005001").update(
        state="erased", first_name=None, last_name=None, email=None
    )


@pytest.mark.fault("F-51")  # a customer is erased while an event is on its way
@pytest.mark.parametrize("kind", PERSONAL_DATA)
def test_an_erased_customer_s_event_is_acknowledged_without_keeping_it(store, kind):
    guid = make_customer(store, "Ann")
    run(JobCode.PIPELINE)
    erase_customer()
    make_event(kind, store, async_account=guid, operation="update", **PERSONAL_DATA[kind])

    document = run(JobCode.PIPELINE)

    assert document["counts"] == {"read": 1, "erased": 1}
    assert unacknowledged(store) == 0
    event = STAGING_MODELS[kind].objects.get(status="erased")
    assert event.customer.account_number == "005001"
    values = {getattr(event, field.attname) for field in event._meta.concrete_fields}
    assert values.isdisjoint(PERSONAL_DATA[kind].values())
    assert Customer.objects.get(account_number="005001").last_name is None


@pytest.mark.fault("F-51")  # a customer is erased while an event is on its way
def test_an_erased_customer_s_bad_row_is_not_quarantined(popup):
    guid = make_customer(popup, "Ann")
    run(JobCode.PIPELINE)
    erase_customer()
    make_event("customer", popup, async_account=guid, last_name="Canary", email="nobody")
    make_event("customer", popup, async_account=guid, last_name="Canary", birth_date="yesterday")

    run(JobCode.PIPELINE)

    assert b"Canary" not in b"".join(bytes(row.raw) for row in Quarantine.objects.all())
    assert not AsyncCustomer.objects.filter(last_name="Canary").exists()
