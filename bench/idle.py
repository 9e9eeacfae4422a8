"""A pipeline with nothing new over 200 channels, nearly all of them SQLite files."""

import shutil

from bench.place import SHOPS, Options, Place, so_many, table
from bench.ring import share
from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.url import sqlite_path
from stores.channeldb.provision import renew_identity
from stores.models import ChannelDatabase

CHANNELS = 200


def measure(place: Place, options: Options) -> None:
    workers, channels = max(options.workers, 2), so_many(options, CHANNELS, 6)
    for code in SHOPS:
        place.shop(code)
    first = place.shop("till001", url="sqlite:///channels/till001.sqlite3")
    for number in range(2, channels - len(SHOPS) + 1):
        copy(place, first, f"till{number:03}")
    share(place, workers)
    run = share(place, workers)
    table(
        ["channels", "of them SQLite", "workers", "outcome", "goal", "measured"],
        [
            [
                ChannelDatabase.objects.count(),
                channels - len(SHOPS),
                workers,
                run.status,
                "5 s",
                f"{run.seconds:.1f} s",
            ]
        ],
    )


def copy(place: Place, first: ChannelDatabase, code: str) -> None:
    """A channel like the first; copied, because making the tables takes its time."""
    path = sqlite_path(first)
    shutil.copyfile(path, path.with_name(f"{code}.sqlite3"))
    url = f"sqlite:///channels/{code}.sqlite3"
    with connect(ChannelDatabase(pk=0, url=url, channel=first.channel)) as alias:
        renew_identity(alias)
    place.shop(code, url=url)
