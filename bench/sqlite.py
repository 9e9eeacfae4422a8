"""An upload from a SQLite file against one from PostgreSQL, of as many customers."""

from bench.place import Options, Place, customers_of, table
from stores.models import RunStep


def measure(place: Place, options: Options) -> None:
    customers = customers_of(options, 50_000)
    place.shop("houston")
    place.shop("popup", url="sqlite:///channels/popup.sqlite3")
    for code in ("houston", "popup"):
        place.write_traffic(code, customers)
    place.settle()
    run = place.job("P-0001")["run"]
    seconds = {
        step.place: step.seconds or 0 for step in RunStep.objects.filter(run=run, step="upload")
    }
    ratio = seconds["popup"] / seconds["houston"]
    table(
        ["customers", "PostgreSQL", "SQLite", "ratio", "goal"],
        [
            [
                f"{customers:,}",
                f"{seconds['houston']:.1f} s",
                f"{seconds['popup']:.1f} s",
                f"{ratio:.2f}",
                1.5,
            ]
        ],
    )
