"""A day of sales, returns and customer orders from four channels, until all of it is posted."""

from collections import Counter
from typing import Any

from bench.place import SHOPS, Options, Place, table
from stores.traffic import write_traffic
from stores.traffic.store import fresh_seed

# Of each customer: 7 sales or returns, most of them named, and an order.
SALES = 7


def measure(place: Place, options: Options) -> None:
    customers = options.customers or 2_500
    shops = [place.shop(code) for code in SHOPS[:3]]
    shops.append(place.shop("popup", url="sqlite:///channels/popup.sqlite3"))
    each = customers // len(shops)
    for shop in shops:
        seed = fresh_seed("USA")
        write_traffic(shop, customers=each, sales=SALES * each, orders=each, seed=seed, faulty=0.01)
    place.settle()
    runs = [place.job(name) for name in ("eod", "sync-orders")]
    idle = place.job("eod")["seconds"]
    whole = sum(run["seconds"] for run in runs)
    sold = (SALES + 1) * each * len(shops)
    table(
        ["step", "seconds", "posted"],
        [
            *([word, f"{seconds:.1f}", posted or ""] for word, seconds, posted in steps_of(runs)),
            [f"{sold:,} transactions", f"{whole:.1f}", f"{sold / whole:,.0f} a second"],
            ["end of day once more, nothing new", f"{idle:.1f}", ""],
        ],
    )


def steps_of(runs: list[dict[str, Any]]) -> list[tuple[str, float, int]]:
    """Each step with its seconds in all channels together, and how many documents it posted."""
    seconds: Counter[str] = Counter()
    posted: Counter[str] = Counter()
    for step in (step for run in runs for step in run["steps"]):
        seconds[step["step"]] += step["seconds"]
        posted[step["step"]] += step["counts"].get("posted", 0)
    return [(word, seconds[word], posted[word]) for word in seconds]
