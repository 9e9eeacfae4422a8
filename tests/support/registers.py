"""Offline registers: add one to a store, and merge it into the database of its store."""

from collections.abc import Iterator
from contextlib import contextmanager

from stores.channeldb.connect.url import sqlite_path
from stores.channeldb.exchange.open import visit
from stores.channeldb.exchange.sqlite import SQLiteVisit
from stores.models import ChannelDatabase
from stores.pipeline.register import add_register
from stores.till.merge_upward import MergeCounts, merge_upward
from tests.support.make import run


@contextmanager
def offline_register(store: ChannelDatabase, **options: str) -> Iterator[ChannelDatabase]:
    """An offline register of the store, in a file that is removed at the end."""
    address = "sqlite:///channels/till_1.sqlite3"
    database = add_register(code=store.channel.code, register="till-1", database=address, **options)
    yield database
    path = sqlite_path(database)
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def merge(register: ChannelDatabase, store: ChannelDatabase) -> MergeCounts:
    """Merge the register into the store's database, as its till does when it is online again."""
    with visit(register) as opened, visit(store) as channel:
        assert isinstance(opened, SQLiteVisit)
        return merge_upward(opened, channel)


def run_for(database: ChannelDatabase, job: str) -> None:
    """Run a job that finds only this database switched on."""
    others = ChannelDatabase.objects.filter(is_enabled=True).exclude(pk=database.pk)
    switched_off = list(others.values_list("pk", flat=True))
    others.update(is_enabled=False)
    try:
        run(job)
    finally:
        ChannelDatabase.objects.filter(pk__in=switched_off).update(is_enabled=True)
