"""A day of 20,000 transactions in four channels is posted to the cent.

The expected totals are read from the channels' own databases. docs/performance.md says how long
such a day takes.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`web` is a web shop on PostgreSQL; `popup` is one on SQLite; `command` calls a management command
and returns its output.
"""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from stores.models import ChannelDatabase
from stores.traffic import write_traffic
from tests.support import expected_totals
from tests.support.expected_totals import channels_rows, hq_hashes, hq_rows

pytestmark = pytest.mark.slow

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


def seed(day: date, number: int) -> int:
    """A seed whose traffic has this business date."""
    return int(f"{day:%Y%m%d}") * 1_000_000 + number


@pytest.fixture
def channels(houston, seattle, web, popup) -> list[ChannelDatabase]:
    """Four channels with 5,000 transactions each over two days, 1 % of them from a broken till.

    The sales of the first day are to guests; on the second day new customers buy and order too.
    """
    databases = [houston, seattle, web, popup]
    for number, database in enumerate(databases):
        first_seed = seed(YESTERDAY - timedelta(days=1), number)
        write_traffic(database, customers=0, sales=2500, faulty=0.01, seed=first_seed)
        traffic = {"customers": 600, "sales": 2000, "orders": 500}
        write_traffic(database, **traffic, faulty=0.01, seed=seed(YESTERDAY, number))
    return databases


@pytest.fixture
def run_jobs(command) -> Callable[[], list[str]]:
    """Runs End of day and Synchronize orders by their command. Returns the outcomes."""

    def run_both() -> list[str]:
        documents = [
            json.loads(command("run_job", job, "--json")) for job in ("eod", "sync-orders")
        ]
        return [document["outcome"] for document in documents]

    return run_both


def test_a_day_of_20000_transactions_is_posted_to_the_cent(channels, run_jobs, command):
    transactions = channels_rows(channels, expected_totals.TRANSACTIONS)
    guids = {
        transaction_id: guid
        for _, transaction_id, book, guid in transactions
        if guid and book in ("statement", "order")
    }
    assert len(transactions) == 20_000
    assert 0.3 < len(guids) / len(transactions) < 0.4
    assert sum(book == "excluded" for _, _, book, _ in transactions) == 200

    assert run_jobs() == ["succeeded", "succeeded"]

    # Each transaction is posted where it belongs, once, and the channels know that HQ has it.
    assert hq_rows(expected_totals.PLACES) == [row[:3] for row in transactions]
    unacknowledged = channels_rows(channels, expected_totals.UNACKNOWLEDGED)
    assert {count for _, count in unacknowledged} == {0}
    # Totals and tenders by channel, business date and currency agree to the cent.
    posted_totals = hq_rows(expected_totals.POSTED_TOTALS)
    assert posted_totals == channels_rows(channels, expected_totals.TOTALS)
    posted_tenders = hq_rows(expected_totals.POSTED_TENDERS)
    assert posted_tenders == channels_rows(channels, expected_totals.DAY_TENDERS)
    posted_payments = hq_rows(expected_totals.POSTED_PAYMENTS)
    assert posted_payments == channels_rows(channels, expected_totals.TENDERS)
    # Transactions of pending customers are posted under the account that replaced the GUID.
    buyers = hq_rows(expected_totals.BUYERS)
    assert dict(buyers).keys() == guids.keys()
    assert {account for _, account in buyers}.isdisjoint(map(str, guids.values()))
    # A second time there is nothing to do.
    assert json.loads(command("verify", "--json"))["ok"]
    hashes = list(hq_hashes())
    assert run_jobs() == ["nothing_to_do", "nothing_to_do"]
    assert list(hq_hashes()) == hashes
