"""`python -m bench MEASURE`: servers and databases of its own, one measure, one table."""

import argparse
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEASURES = {
    "lists": "pages, searches and look-ups in a big HQ, which is filled by SQL (1,000,000)",
    "ring": "the whole ring against plain SQL, a second upload, memory, first and last chunk",
    "backlog": "the ring at an HQ that knew as many customers already and was at rest",
    "growth": "the ring over 10,000, 100,000 and 1,000,000 customers",
    "orm": "the ring against the same one written with bulk ORM calls",
    "sqlite": "an upload from SQLite against one from PostgreSQL",
    "trickle": "one new customer through the ring, and with the scheduler on",
    "day": "a day of sales and orders from four channels until it is posted (8 per customer)",
    "sales": "pages and an end of day at an HQ with 10,000,000 transactions, filled by SQL",
    "idle": "a pipeline over 200 and 2,000 channels with nothing new",
    "schedules": "all schedules of 200 channels for ten minutes, and the queue meanwhile",
    "burst": "200,000 customers at once from one channel beside 500 others, pages meanwhile",
    "fleet": "a pipeline over 10,000 channels, and the workers that it takes to do it in a minute",
    "stores": "one customer and a burst of 200,000 within a company of 51 and of 501 databases",
}
ALL, EACH = "all", "each of them, one after the other"


def main() -> None:
    listed = "\n".join(f"  {name:<9} {text}" for name, text in (MEASURES | {ALL: EACH}).items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"Measures:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("measure", choices=[*MEASURES, ALL])
    parser.add_argument("--customers", type=int, metavar="N", help="customers in all channels")
    parser.add_argument(
        "--transactions", type=int, metavar="N", help="transactions in HQ, of sales"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument(
        "--dsn", metavar="URL", default="", help="a server that may be filled; else an embedded one"
    )
    parser.add_argument(
        "--made", action="store_true", help="short rows made in SQL instead of invented customers"
    )
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="a handful of customers, channels and repetitions: shows only that a measure runs",
    )
    options = parser.parse_args()
    options.made |= options.tiny
    # A checkout need not be installed to be measured.
    sys.path.insert(0, str(ROOT))
    from bench.place import opened

    with opened(options.dsn, tiny=options.tiny) as place:
        for name in MEASURES if options.measure == ALL else [options.measure]:
            place.renew()
            # Only now, because models cannot be imported before Django knows its database.
            import_module(f"bench.{name}").measure(place, options)


if __name__ == "__main__":
    main()
