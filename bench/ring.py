"""The whole ring beside plain SQL: the same rows, the same server, one run.

Then once more with nothing new, and once more from the channels with every event known already.
"""

import json
import subprocess
import sys
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.models import Max, Min
from psycopg2 import sql

from bench.place import HQ, SHOPS, Options, Place, customers_of, execute, table
from stores.jobs.catalog import JOBS
from stores.jobs.start import start_job
from stores.models import JobRun
from stores.pipeline.events.kinds import EVENT_KINDS

# Our steps, what plain SQL calls them, and the goals.
STEPS = {
    "upload": (("pull", "acknowledge"), 1.3),
    "convert": (("convert",), 1.4),
    "download": (("push", "delivered"), 1.2),
}
WHOLE = {1: 1.25, 2: 0.8}


def measure(place: Place, options: Options) -> None:
    customers = customers_of(options, 100_000)
    place.shops(customers, made=options.made)
    plain = plain_sql(place)
    place.settle()
    first = ring(place, options.workers)
    chunks = last_of_first(chunk_seconds())
    compare(first, plain, options.workers)
    idle = ring(place, options.workers)
    again, changed = upload_again(place)
    table(
        ["measure", "goal", "measured"],
        [
            ["customers, workers", "", f"{customers:,}, {options.workers}"],
            ["customers a second", "", f"{customers / first['whole']:,.0f}"],
            ["nothing new, of the first", "5 %", f"{idle['whole'] / first['whole']:.1%}"],
            ["known rows uploaded again, of the first", "70 %", f"{again / first['upload']:.0%}"],
            ["tables which that changed", "0", changed],
            ["last chunk of conversion, of the first", "1.5", f"{chunks:.2f}"],
            ["memory of the largest process", "300 MB", f"{place.peak_mb:.0f} MB"],
        ],
    )


def alone(place: Place, options: Options, customers: int) -> dict[str, float]:
    """The figures of a ring over so many customers, at an empty HQ and without plain SQL."""
    place.renew()
    place.shops(customers, made=options.made)
    found = ring(place, options.workers)
    return found | {"chunks": last_of_first(chunk_seconds()), "peak_mb": place.peak_mb}


def plain_sql(place: Place) -> dict[str, float]:
    """Seconds that COPY and set-based SQL take, by our words for the steps."""
    addresses = [place.url(HQ), *(place.url(f"bench_{code}") for code in SHOPS)]
    script = str(Path(__file__).with_name("limit.py"))
    answer = subprocess.run(
        [sys.executable, script, *addresses, "--reps", "1", "--json"],
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, float] = json.loads(answer.stdout)["median_seconds"]
    seconds = {word: sum(found[one] for one in theirs) for word, (theirs, _) in STEPS.items()}
    return seconds | {"whole": found["total"]}


def ring(place: Place, workers: int) -> dict[str, float]:
    """Seconds of one pipeline run and of its steps, from the first begun to the last ended."""
    if workers == 1:
        run = JobRun.objects.get(pk=place.job("pipeline")["run"])
        seconds = {"whole": run.seconds or 0}
    else:
        run = share(place, workers)
        # Waiting for a worker is part of what this costs.
        seconds = {"whole": span(run.created_at, run.ended_at)}
    for word in STEPS:
        of_step = run.steps.filter(step=word)
        seconds[word] = span(**of_step.aggregate(begun=Min("started_at"), ended=Max("ended_at")))
    return seconds


def span(begun: datetime | None, ended: datetime | None) -> float:
    """Seconds between two moments; 0 for what never began."""
    return (ended - begun).total_seconds() if begun and ended else 0


def share(place: Place, workers: int) -> JobRun:
    """One pipeline run, done by several workers together."""
    with place.served(workers):
        return shared_run()


def shared_run() -> JobRun:
    """One pipeline run, done by the workers that listen."""
    run = start_job(JOBS["pipeline"]).run
    while not run.has_ended:
        time.sleep(0.02)
        run.refresh_from_db()
    return run


def compare(ours: dict[str, float], plain: dict[str, float], workers: int) -> None:
    rows: list[list[Any]] = []
    for word in (*STEPS, "whole"):
        goal = STEPS[word][1] if word in STEPS else WHOLE.get(workers, "")
        ratio = f"{ours[word] / plain[word]:.2f}"
        rows.append([word, f"{plain[word]:.1f} s", f"{ours[word]:.1f} s", ratio, goal])
    table(["step", "plain SQL", "Syncline", "ratio", "goal"], rows)


def chunk_seconds() -> list[float]:
    """How long each chunk of the conversion took, the last one left out: nothing follows it.

    All batches of one chunk carry the moment at which its transaction began.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT converted_at FROM upload_batch ORDER BY 1")
        begun = [moment for (moment,) in cursor.fetchall() if moment]
    return [(after - before).total_seconds() for before, after in pairwise(begun)]


def last_of_first(chunks: list[float]) -> float:
    """The last tenth of the chunks against the first, at least one each."""
    size = max(1, len(chunks) // 10)
    return sum(chunks[-size:]) / sum(chunks[:size]) if chunks else 1


def upload_again(place: Place) -> tuple[float, int]:
    """Seconds of an upload of rows that HQ holds already, and how many rows that changed there."""
    before = fingerprints()
    for code in SHOPS:
        for kind in EVENT_KINDS:
            statement = sql.SQL("UPDATE {} SET acknowledged_at = NULL")
            execute(place.url(f"bench_{code}"), statement.format(sql.Identifier(kind.event)))
    place.settle()
    seconds = place.job("P-0001")["seconds"]
    return seconds, len(before ^ fingerprints())


def fingerprints() -> set[tuple[str, str]]:
    """One value for the rows of each staging table, which any change to a row changes."""
    found = set()
    with connection.cursor() as cursor:
        for kind in EVENT_KINDS:
            cursor.execute(
                f"SELECT sum(hashtextextended(e::text, 0))::text FROM {kind.event} e"  # noqa: S608
            )
            found.add((kind.event, cursor.fetchone()[0]))
    return found
