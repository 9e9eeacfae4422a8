"""The ring over 10,000, 100,000 and 1,000,000 customers, each at an empty HQ.

The last takes long and needs room; --customers says where to stop before. Rows are made.
"""

from bench.place import Options, Place, customers_of, table
from bench.ring import alone

SIZES = (10_000, 100_000, 1_000_000)
STEPS = ("upload", "convert", "download", "whole")


def measure(place: Place, options: Options) -> None:
    options.made = True
    largest = customers_of(options, SIZES[-1])
    sizes = [size for size in SIZES if size <= largest] or [largest]
    found = {size: alone(place, options, size) for size in sizes}
    rows = [
        [f"{size:,}"]
        + [f"{found[size][step]:.1f} s" for step in STEPS]
        + [f"{size / found[size]['whole']:,.0f}", f"{found[size]['chunks']:.2f}"]
        + [f"{found[size]['peak_mb']:.0f} MB"]
        for size in sizes
    ]
    head = ["customers", *STEPS, "customers a second", "last chunk of first", "memory"]
    table(head, rows)
    if sizes[-1] == SIZES[-1]:
        times = found[SIZES[-1]]["whole"] / found[SIZES[-2]]["whole"]
        table(["measure", "goal", "measured"], [["ten times the customers", 14, f"{times:.1f}"]])
