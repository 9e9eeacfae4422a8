"""A trace shows when a channel first had the customer, and each later delivery.

From conftest.py: `seattle` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite; `reader` is a client of a user who may see every page.
"""

import pytest

from stores.models import CustomerDelivery, DownloadSession
from tests.support.make import make_customer, make_event, run

pytestmark = pytest.mark.slow


def update_first_name(store, guid, first_name):
    """Upload a change of the customer, and deliver it to every channel."""
    make_event("customer", store, operation="update", async_account=guid, first_name=first_name)
    run("pipeline")


@pytest.mark.finding(id="U2")
def test_a_trace_shows_the_first_and_every_later_delivery(reader, store, seattle):
    guid = make_customer(store, "Ann")
    run("pipeline")
    first_times = set(CustomerDelivery.objects.values_list("delivered_at", flat=True))
    update_first_name(store, guid, "Anna")
    update_first_name(store, guid, "Annie")

    trace = reader.get(f"/trace/{guid}/").context["trace"]

    assert {channel.at for channel in trace.channels} == first_times
    for database in (store, seattle):
        deliveries = [
            event
            for event in trace.events
            if (event.kind, event.channel) == ("delivered", database.label)
        ]
        sessions = DownloadSession.objects.filter(database=database).values_list("pk", flat=True)
        assert [event.text for event in deliveries] == [
            "Delivered in version 1.",
            "Delivered in version 2.",
            "Delivered in version 3.",
        ]
        assert {event.session for event in deliveries} == {str(pk) for pk in sessions}
        assert all(event.run for event in deliveries)
