"""10,000 channels, and how many workers visit all of them within a minute.

Nearly all are SQLite files copied from one that was registered: real files and real visits, without
the half hour that registering them takes.
"""

import math
import shutil
import sqlite3
from uuid import uuid4

from bench.burst import serve_one
from bench.place import Options, Place, so_many, table
from bench.ring import shared_run
from stores.channeldb.connect.url import sqlite_path
from stores.models import Channel, ChannelDatabase

CHANNELS, SERVED = 10_000, 500
PROMISE_S = 60


def measure(place: Place, options: Options) -> None:
    workers, channels = max(options.workers, 2), so_many(options, CHANNELS, 8)
    served = so_many(options, SERVED, 3)
    first = place.shop("till00001", url="sqlite:///channels/till00001.sqlite3")
    place.job("pipeline")
    copy_channel(first, [f"till{number:05}" for number in range(2, channels + 1)])

    with place.served(workers):
        shared_run()
        idle = shared_run()
        for shop in ChannelDatabase.objects.with_channel().order_by("?")[:served]:
            serve_one(shop)
        busy = shared_run()

    rows = [
        [what, run.status, f"{run.seconds or 0:.1f} s", needed(run.seconds or 0, workers)]
        for what, run in [
            ("nothing new", idle),
            (f"one new customer in {served:,} of them", busy),
        ]
    ]
    head = [f"{channels:,} channels, {workers} workers", "outcome", "took", "workers for a minute"]
    table(head, rows)


def needed(seconds: float, workers: int) -> int:
    """How many workers of the same speed would end within the promise."""
    return math.ceil(seconds * workers / PROMISE_S)


def copy_channel(first: ChannelDatabase, codes: list[str]) -> None:
    """Make channels that are like the first but for their codes, files and identities."""
    first.refresh_from_db()
    original = sqlite_path(first)
    channels, databases = [], []
    for code in codes:
        file = original.with_name(f"{code}.sqlite3")
        shutil.copyfile(original, file)
        identity, nonce = uuid4(), uuid4()
        with sqlite3.connect(file) as raw:
            raw.execute(
                "UPDATE exchange_state SET database_id = ?, nonce = ?", [str(identity), str(nonce)]
            )
        raw.close()
        channel = Channel.objects.get(pk=first.channel_id)
        channel.pk, channel.code = None, code
        channels.append(channel)
        database = ChannelDatabase.objects.get(pk=first.pk)
        database.pk, database.channel = None, channel
        database.url = f"sqlite:///channels/{code}.sqlite3"
        database.database_id, database.confirmed_nonce = identity, nonce
        databases.append(database)
    Channel.objects.bulk_create(channels)
    ChannelDatabase.objects.bulk_create(databases)
