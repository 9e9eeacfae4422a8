"""A weekend's backlog: an HQ that was at rest gets as many new customers as it knows already.

Meanwhile the server has cleared up: it believes that next to nothing waits, and is wrong.
"""

from bench.place import SEED, Options, Place, customers_of, table
from bench.ring import STEPS, ring


def measure(place: Place, options: Options) -> None:
    customers = customers_of(options, 100_000)
    place.shops(customers)
    place.settle()
    first = ring(place, options.workers)
    place.rest()
    place.fill_with_traffic(customers, SEED + 1)
    place.settle()
    later = ring(place, options.workers)
    table(
        ["step", "first", "later", "ratio"],
        [
            [
                word,
                f"{first[word]:.1f} s",
                f"{later[word]:.1f} s",
                f"{later[word] / first[word]:.2f}",
            ]
            for word in (*STEPS, "whole")
        ],
    )
