"""A day of 20,000 transactions in four channels, posted to the cent.

What is expected comes from the channels' own databases, see `books`. How long it takes is told in
docs/performance.md.
"""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from stores.models import ChannelDatabase
from stores.traffic import write_traffic
from tests.support import expected_totals
from tests.support.expected_totals import held, in_channels, in_hq

pytestmark = pytest.mark.slow

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
JOBS = ("eod", "sync-orders")


def seed(day: date, number: int) -> int:
    """A seed whose traffic belongs to a day."""
    return int(f"{day:%Y%m%d}") * 1_000_000 + number


@pytest.fixture
def channels(houston, seattle, web, popup) -> list[ChannelDatabase]:
    """Four channels, three on PostgreSQL and one in a file, that sold over two business dates.

    Each has 5,000 transactions, of which 1 % are a broken till's; the first 2,500 are guests'.
    """
    traded = [houston, seattle, web, popup]
    for place, database in enumerate(traded):
        before = seed(YESTERDAY - timedelta(days=1), place)
        write_traffic(database, customers=0, sales=2500, faulty=0.01, seed=before)
        sold = {"customers": 600, "sales": 2000, "orders": 500}
        write_traffic(database, **sold, faulty=0.01, seed=seed(YESTERDAY, place))
    return traded


@pytest.fixture
def run_jobs(command) -> Callable[[], list[Any]]:
    """Runs end of day and Synchronize orders as a person would; their outcomes."""
    return lambda: [json.loads(command("run_job", job, "--json"))["outcome"] for job in JOBS]


def test_a_day_of_20000_transactions_is_posted_to_the_cent(channels, run_jobs, command):
    sold = in_channels(channels, expected_totals.TRANSACTIONS)
    named = {
        number: guid for _, number, book, guid in sold if guid and book in ("statement", "order")
    }
    assert len(sold) == 20_000
    assert 0.3 < len(named) / len(sold) < 0.4
    assert sum(book == "excluded" for _, _, book, _ in sold) == 200

    assert run_jobs() == ["succeeded", "succeeded"]

    # Each transaction is where it belongs, and nowhere else.
    assert in_hq(expected_totals.PLACES) == [row[:3] for row in sold]
    assert {count for _, count in in_channels(channels, expected_totals.UNACKNOWLEDGED)} == {0}
    # Totals and tenders by channel, business date and currency, to the cent.
    assert in_hq(expected_totals.POSTED_TOTALS) == in_channels(channels, expected_totals.TOTALS)
    assert in_hq(expected_totals.POSTED_TENDERS) == in_channels(channels, expected_totals.DRAWERS)
    assert in_hq(expected_totals.POSTED_PAYMENTS) == in_channels(channels, expected_totals.TENDERS)
    # All who were pending are posted under the account that their GUID became.
    buyers = in_hq(expected_totals.BUYERS)
    assert dict(buyers).keys() == named.keys()
    assert {account for _, account in buyers}.isdisjoint(map(str, named.values()))

    assert json.loads(command("verify", "--json"))["ok"]
    before = list(held())
    assert run_jobs() == ["nothing_to_do", "nothing_to_do"]
    assert list(held()) == before
