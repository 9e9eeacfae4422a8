"""A pipeline with nothing new over 200 and 2,000 channels, nearly all of them SQLite files."""

import shutil

from bench.place import SHOPS, Options, Place, table
from bench.ring import shared_run
from stores.channeldb.connect.url import sqlite_path
from stores.models import ChannelDatabase

CHANNELS = (200, 2_000)
# For the fewer; linear beyond.
GOAL_S = 5


def measure(place: Place, options: Options) -> None:
    workers = max(options.workers, 2)
    for code in SHOPS:
        place.shop(code)
    first = place.shop("till0001", url="sqlite:///channels/till0001.sqlite3")
    rows = []
    for channels in (6,) if options.tiny else CHANNELS:
        for number in range(ChannelDatabase.objects.count(), channels):
            copy(place, first, f"till{number:04}")
        with place.served(workers):
            shared_run()
            run = shared_run()
        rows.append([f"{channels:,}", channels - len(SHOPS), workers, run.status])
        rows[-1] += [f"{channels / CHANNELS[0] * GOAL_S:.0f} s", f"{run.seconds:.1f} s"]
    table(["channels", "of them SQLite", "workers", "outcome", "goal", "measured"], rows)


def copy(place: Place, first: ChannelDatabase, code: str) -> None:
    """A channel with a copy of the first one's file."""
    path = sqlite_path(first)
    shutil.copyfile(path, path.with_name(f"{code}.sqlite3"))
    place.shop(code, url=f"sqlite:///channels/{code}.sqlite3")
