"""One company with 51 and with 501 databases: one new customer, then a burst from one store.

What HQ writes is counted by table, so that what grows with the databases can be told from what
does not.
"""

import time
from collections import Counter
from statistics import median

from django.db import connection
from django.db.models import Max, Min, Sum
from psycopg2 import sql

from bench.burst import COLUMNS, serve_one, watched
from bench.idle import copy
from bench.place import SHOPS, Options, Place, customers_of, execute, table
from bench.ring import span
from stores.models import ChannelDatabase, JobRun, Package

DATABASES, BURST = (51, 501), 200_000
# A counter reaches the server's statistics when its backend is idle or ends.
STATISTICS_S = 1.5


def measure(place: Place, options: Options) -> None:
    customers = customers_of(options, BURST)
    columns = [
        figures(place, databases, customers, max(options.workers, 2))
        for databases in ([6] if options.tiny else DATABASES)
    ]
    first, *others = columns
    table(
        ["measure", *(found["databases"] for found in columns)],
        [[label, value, *(found[label] for found in others)] for label, value in first.items()][1:],
    )


def figures(place: Place, databases: int, customers: int, workers: int) -> dict[str, str]:
    """What so many databases of one company make of one customer and of a burst."""
    place.renew()
    shops = [place.shop(code) for code in SHOPS]
    tills = place.shop("till001", url="sqlite:///channels/till001.sqlite3")
    for number in range(2, databases - len(SHOPS) + 1):
        copy(place, tills, f"till{number:03}")
    place.job("pipeline")
    idle, _ = written_by_a_run(place, databases)
    serve_one(shops[0])
    single, run = written_by_a_run(place, databases)
    told = {
        "databases": f"{databases} databases",
        "a run with nothing new: rows written in HQ, whatever the databases": f"{idle.once:,}",
        "such rows for each database": f"{idle.per_database:.1f}",
        "one new customer: rows written in HQ, whatever the databases": f"{single.once:,}",
        "rows for each database": f"{single.per_database:.1f}, in {single.tables}",
        "the run that brings it everywhere": f"{run.seconds or 0:.1f} s",
    }
    return told | burst(place, customers, workers)


class Written:
    """Rows that a run wrote in HQ: in tables where each database has some, and in the others."""

    def __init__(self, by_table: Counter[str], databases: int) -> None:
        growing = {name: rows for name, rows in by_table.items() if rows >= databases - 1}
        self.once = by_table.total() - sum(growing.values())
        self.per_database = sum(growing.values()) / databases
        self.tables = ", ".join(sorted(growing)) or "none"


def written_by_a_run(place: Place, databases: int) -> tuple[Written, JobRun]:
    before = rows_written()
    run = JobRun.objects.get(pk=place.job("pipeline")["run"])
    return Written(rows_written() - before, databases), run


def rows_written() -> Counter[str]:
    """How many rows HQ's server has inserted, updated and deleted, by table."""
    time.sleep(STATISTICS_S)
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables")
        return Counter(dict(cursor.fetchall()))


def burst(place: Place, customers: int, workers: int) -> dict[str, str]:
    """So many customers at once from one store, brought to all databases of the company."""
    rows = f"""INSERT INTO async_customer ({COLUMNS})
               SELECT gen_random_uuid(), now(), 'create', gen_random_uuid(), 'person', 'Ann', 'Lee'
                 FROM generate_series(1, {customers})"""  # noqa: S608 - our own number
    execute(place.url(f"bench_{SHOPS[0]}"), sql.SQL(rows))
    others = ChannelDatabase.objects.exclude(channel__code=SHOPS[0])
    for shop in others.with_channel()[:5]:
        serve_one(shop)
    place.settle()
    earlier = Package.objects.aggregate(last=Max("pk"))["last"] or 0

    run, pages = watched(place, workers)
    slowest, path = max(pages)

    steps = run.steps.all()
    convert = steps.filter(step="convert").aggregate(begun=Min("started_at"), ended=Max("ended_at"))
    fetched = steps.filter(step="upload", database__in=others).aggregate(at=Max("ended_at"))["at"]
    downloads = [span(step.started_at, step.ended_at) for step in steps.filter(step="download")]
    packages = Package.objects.filter(pk__gt=earlier)
    size = packages.aggregate(size=Sum("size_bytes"))["size"] or 0
    return {
        "customers of the burst, workers, outcome": f"{customers:,}, {workers}, {run.status}",
        "conversion": f"{span(**convert):.1f} s",
        "packages made, together": f"{packages.count()}, {size / 1e6:.1f} MB",
        "all other databases fetched after": f"{span(run.created_at, fetched):.1f} s",
        "download of one database: median": f"{median(downloads):.2f} s",
        "the whole run": f"{span(run.created_at, run.ended_at):.1f} s",
        "pages meanwhile: median, slowest": (
            f"{median(took for took, _ in pages):.2f} s, {slowest:.2f} s ({path})"
        ),
        "memory of the largest process": f"{place.peak_mb:.0f} MB",
    }
