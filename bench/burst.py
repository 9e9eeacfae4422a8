"""500 channels, nearly all of them SQLite files; one more sends 200,000 customers at once.

The burst belongs to a company of its own: within one, every customer is owed to every database,
and 200,000 customers in 500 databases are another question.
"""

import time
from datetime import datetime
from statistics import median
from uuid import UUID, uuid4

from django.contrib.auth.models import User
from django.db import connection, connections
from django.db.models import Max
from django.test import Client
from psycopg2 import sql

from bench.idle import copy
from bench.place import SHOPS, Options, Place, customers_of, execute, so_many, table
from bench.ring import span
from stores.channeldb.connect.connection import connect
from stores.jobs.catalog import JOBS
from stores.jobs.start import start_job
from stores.models import ChannelDatabase, JobRun

CHANNELS, BURST = 500, 200_000
COLUMNS = (
    """event_id, occurred_at, operation, async_account, customer_type, first_name, last_name"""
)
PAGES_EVERY_S, POLL_S = 2, 0.1
PAGES = ("/", "/customers/", "/async-customers/", "/channels/", "/runs/", "/sessions/uploads/")


def measure(place: Place, options: Options) -> None:
    workers, customers = max(options.workers, 2), customers_of(options, BURST)
    for code in SHOPS:
        place.shop(code)
    first = place.shop("till001", url="sqlite:///channels/till001.sqlite3")
    channels = so_many(options, CHANNELS, 6)
    for number in range(2, channels - len(SHOPS) + 1):
        copy(place, first, f"till{number:03}")
    place.shop("burst", company="NLRT")
    small = ChannelDatabase.objects.exclude(channel__code="burst")
    for shop in small.with_channel():
        serve_one(shop)
    rows = f"""INSERT INTO async_customer ({COLUMNS})
               SELECT gen_random_uuid(), now(), 'create', gen_random_uuid(), 'person', 'Ann', 'Lee'
                 FROM generate_series(1, {customers})"""  # noqa: S608 - our own number
    execute(place.url("bench_burst"), sql.SQL(rows))
    place.settle()

    run, pages = watched(place, workers)
    slowest, path = max(pages)

    of_small = run.steps.filter(database__in=small)
    ended = {
        word: of_small.filter(step=word).aggregate(at=Max("ended_at"))["at"]
        for word in ("upload", "download")
    }
    table(
        ["measure", "goal", "measured"],
        [
            ["channels, of them SQLite", "", f"{channels}, {channels - len(SHOPS)}"],
            ["customers of one more", "", f"{customers:,}"],
            ["workers, outcome", "", f"{workers}, {run.status}"],
            ["all small channels fetched after", "", seconds(run, ended["upload"])],
            ["all small channels given every customer after", "", seconds(run, ended["download"])],
            ["the whole run", "", seconds(run, run.ended_at)],
            ["pages meanwhile: median", "1 s", f"{median(took for took, _ in pages):.2f} s"],
            ["the slowest of so many", "", f"{slowest:.2f} s, {path}, of {len(pages)}"],
            ["memory of the largest process", "300 MB", f"{place.peak_mb:.0f} MB"],
        ],
    )


def seconds(run: JobRun, moment: datetime | None) -> str:
    """How long after the start of the run."""
    return f"{span(run.created_at, moment):.1f} s"


def serve_one(shop: ChannelDatabase) -> UUID:
    """Let a till of the channel write one customer. Returns its GUID."""
    guid = uuid4()
    with connect(shop) as alias, connections[alias].cursor() as cursor:
        cursor.execute(
            f"""INSERT INTO async_customer ({COLUMNS})
                VALUES (%s, '2026-03-01 10:00:00+00:00', 'create', %s, 'person', 'Bo', 'Lee')""",  # noqa: S608
            [str(uuid4()), str(guid)],
        )
    return guid


def watched(place: Place, workers: int) -> tuple[JobRun, list[tuple[float, str]]]:
    """One pipeline run, and how long each page took while it went on."""
    client, pages = Client(), []
    client.force_login(User.objects.create_superuser("boss"))
    with place.served(workers):
        run = start_job(JOBS["pipeline"]).run
        while not run.has_ended:
            for path in PAGES:
                began = time.monotonic()
                client.get(path)
                pages.append((time.monotonic() - began, path))
            again = time.monotonic() + PAGES_EVERY_S
            while not run.has_ended and time.monotonic() < again:
                time.sleep(POLL_S)
                run.refresh_from_db()
    connection.close()
    return run, pages
