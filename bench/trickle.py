"""One new customer through the ring over four channels, and how soon a schedule brings one home."""

import time
from random import Random
from statistics import median, quantiles

from django.db import connections

from bench.place import Options, Place, so_many, table
from stores.channeldb.connect.connection import connect
from stores.jobs.catalog import JOBS
from stores.jobs.start import start_job
from stores.models import ChannelDatabase
from stores.traffic import write_traffic

TIMES = 40
SCHEDULED = 12
# A customer of the schedule comes at an odd moment within so many seconds.
WITHIN_S = 5


def measure(place: Place, options: Options) -> None:
    shops = place.shops(0)
    times, scheduled = so_many(options, TIMES, 2), so_many(options, SCHEDULED, 2)
    with place.served(options.workers):
        taken = sorted(once(shops[number % len(shops)], number) for number in range(times))
    with place.served(options.workers, "scheduler"):
        within = so_many(options, WITHIN_S, 0)
        waits = sorted(
            wait_for(shops, number, within) for number in range(times, times + scheduled)
        )
    table(
        ["measure", "goal", "median", "95 of 100"],
        [
            [
                "one new customer, once the job has begun",
                "95 of 100 under 1 s",
                f"{median(taken):.2f} s",
                f"{quantiles(taken, n=20)[-1]:.2f} s",
            ],
            [
                "saved in one channel -> known in all, scheduler on",
                "median under 10 s",
                f"{median(waits):.1f} s",
                f"{quantiles(waits, n=20)[-1]:.1f} s",
            ],
        ],
    )


def once(shop: ChannelDatabase, seed: int) -> float:
    """Seconds that a run takes which brings one new customer to all channels."""
    write_traffic(shop, customers=1, seed=seed)
    run = start_job(JOBS["pipeline"]).run
    while not run.has_ended:
        time.sleep(0.02)
        run.refresh_from_db()
    if run.counts.get("distributed") != 4:
        raise SystemExit(f"A run did not bring the customer everywhere: {run.message}")
    return run.seconds or 0


def wait_for(shops: list[ChannelDatabase], seed: int, within: float) -> float:
    """Seconds from a customer saved at an odd moment until every channel knows the account."""
    time.sleep(Random(seed).uniform(0, within))  # noqa: S311 - no secret
    write_traffic(shops[seed % len(shops)], customers=1, seed=seed)
    saved = time.monotonic()
    while any(known(shop) <= seed for shop in shops):
        time.sleep(0.1)
    return time.monotonic() - saved


def known(shop: ChannelDatabase) -> int:
    """How many accounts the channel knows."""
    with connect(shop) as alias, connections[alias].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM account_map")
        return int(cursor.fetchone()[0])
