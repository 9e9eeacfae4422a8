"""The list of async customers, and the customers that are not yet delivered to each channel.

From conftest.py: `reader` is a client of a user who may see every page; `people` has Ann with an
account, Bo who is pending, and Cy in quarantine.
"""

import pytest
from django.utils import timezone

from stores.models import AsyncCustomer, ChannelDatabase, Customer
from stores.models.job import JobCode
from stores.web.lists import async_customers
from tests.support.make import make_customer, run
from tests.support.pages import rows_of
from tests.support.staged import overwrite_events

pytestmark = pytest.mark.slow


def names(response) -> list[str]:
    """The first names of the rows on a page."""
    return [row.first_name for row in rows_of(response)]


def states(reader) -> dict[str, str]:
    """The state that the list shows for each first name."""
    return {row.first_name: row.state for row in rows_of(reader.get("/async-customers/"))}


def test_the_list_is_filtered(reader, people, subtests):
    for query, name in {
        "q=ANN@example.com": "Ann",
        "q=%2B1+281+555+0100": "Ann",
        "q=an": "Ann",
        "q=Bo+Lee": "Bo",
        "state=not_synchronized": "Bo",
        "state=open": "Bo",
        "state=distributed": "Ann",
        "channel=popup": "Bo",
    }.items():
        with subtests.test(query):
            assert names(reader.get(f"/async-customers/?{query}")) == [name]


def test_an_event_is_found_by_guid_and_by_account(reader, people):
    account = Customer.objects.get(first_name="Ann").account_number

    by_guid = reader.get("/async-customers/", {"q": str(people["Ann"]).upper()})
    by_account = reader.get("/async-customers/", {"q": account})

    assert names(by_guid) == names(by_account) == ["Ann"]


def test_the_events_of_today_are_found_by_date(reader, people):
    today = timezone.now().date().isoformat()

    events_of_today = reader.get(f"/async-customers/?since={today}&until={today}")
    earlier_events = reader.get("/async-customers/?until=2001-01-01")

    assert set(names(events_of_today)) == {"Ann", "Bo"}
    assert names(earlier_events) == []


def test_a_day_begins_and_ends_at_midnight(reader, people):
    for name, time in {"Ann": "00:00:00", "Bo": "23:59:59.999"}.items():
        staged_at = f"staged_at = '2026-03-01T{time}Z'"
        overwrite_events("async_customer", staged_at, f"first_name = '{name}'")

    day = reader.get("/async-customers/?since=2026-03-01&until=2026-03-01")
    next_day = reader.get("/async-customers/?since=2026-03-02")
    previous_day = reader.get("/async-customers/?until=2026-02-28")

    assert names(day) == ["Bo", "Ann"]
    assert names(next_day) == []
    assert names(previous_day) == []


def test_every_event_has_exactly_one_state(people):
    conditions = async_customers.states().values()
    counts = [AsyncCustomer.objects.filter(condition).count() for condition in conditions]

    assert sum(counts) == AsyncCustomer.objects.count() == 2


def test_an_event_is_synchronized_until_every_channel_has_it(reader, people):
    ChannelDatabase.objects.filter(channel__code="popup").update(is_enabled=False)
    make_customer(ChannelDatabase.objects.get(channel__code="houston"), "Di")
    run(JobCode.UPLOAD)
    run("sync-customers")
    before_delivery = states(reader)

    run(JobCode.DOWNLOAD)

    assert before_delivery == {"Ann": "distributed", "Bo": "synchronized", "Di": "synchronized"}
    assert set(states(reader).values()) == {"distributed"}


@pytest.mark.parametrize(
    ("owed", "expected"), [("houston", []), ("popup", ["Bo"]), ("any", ["Bo"])]
)
def test_customers_are_listed_by_the_channel_that_lacks_them(reader, people, owed, expected):
    run("sync-customers")
    run(JobCode.DOWNLOAD, channels=["houston"])

    assert names(reader.get(f"/customers/?owed={owed}")) == expected
