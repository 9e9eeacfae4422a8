"""A day of sales, returns and customer orders from four channels, until all of it is posted."""

from collections import Counter
from typing import Any

from bench.place import SHOPS, Options, Place, customers_of, table
from stores.models import ChannelDatabase
from stores.traffic import write_traffic
from stores.traffic.store import fresh_seed

# Of each customer: 7 sales or returns, most of them named, and an order.
SALES = 7


def measure(place: Place, options: Options) -> None:
    customers = customers_of(options, 2_500, 8)
    shops = open_shops(place)
    each = customers // len(shops)
    first = day(place, shops, each)
    idle = place.job("eod")["seconds"]
    place.rest()
    later = day(place, shops, each)
    sold = (SALES + 1) * each * len(shops)
    wholes = [sum(run["seconds"] for run in runs) for runs in (first, later)]
    table(
        ["step", "first day", "another, after a rest", "posted"],
        [
            *(
                [word, f"{seconds:.1f} s", f"{again:.1f} s", posted or ""]
                for (word, seconds, posted), (_, again, _) in zip(
                    steps_of(first), steps_of(later), strict=True
                )
            ),
            [f"{sold:,} transactions", *(f"{whole:.1f} s" for whole in wholes), ""],
            ["a second", *(f"{sold / whole:,.0f}" for whole in wholes), ""],
            ["end of day once more, nothing new", f"{idle:.1f} s", "", ""],
        ],
    )


def open_shops(place: Place) -> list[ChannelDatabase]:
    """Three channels on PostgreSQL and one SQLite file."""
    shops = [place.shop(code) for code in SHOPS[:3]]
    return [*shops, place.shop("popup", url="sqlite:///channels/popup.sqlite3")]


def day(place: Place, shops: list[ChannelDatabase], each: int) -> list[dict[str, Any]]:
    """Let each channel serve so many new customers, and post what was sold. Returns the runs."""
    for shop in shops:
        seed = fresh_seed("USA")
        write_traffic(shop, customers=each, sales=SALES * each, orders=each, seed=seed, faulty=0.01)
    place.settle()
    return [place.job(name) for name in ("eod", "sync-orders")]


def steps_of(runs: list[dict[str, Any]]) -> list[tuple[str, float, int]]:
    """Each step with its seconds in all channels together, and how many documents it posted."""
    seconds: Counter[str] = Counter()
    posted: Counter[str] = Counter()
    for step in (step for run in runs for step in run["steps"]):
        seconds[step["step"]] += step["seconds"]
        posted[step["step"]] += step["counts"].get("posted", 0)
    return [(word, seconds[word], posted[word]) for word in seconds]
