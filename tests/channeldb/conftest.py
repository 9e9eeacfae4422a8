"""Real channel databases on both engines, copied from migrated templates.

HQ's tables are not needed: a channel is described by a small dataclass.
"""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from django.db import transaction

from stores.channeldb import provision
from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.url import sqlite_path
from tests.support.channels import Channel, Till
from tests.support.databases import copy_database, drop_database

ENGINES = ("postgresql", "sqlite")
NUMBER = itertools.count(7001)


@pytest.fixture(autouse=True)
def _databases_allowed(django_db_blocker):
    """Each test has channel databases of its own, so pytest-django need not roll them back."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="session")
def templates(django_db_blocker) -> dict[str, Channel]:
    """A migrated channel database of each engine, which is copied and never opened again."""
    templates = {
        "postgresql": Channel(next(NUMBER), "embedded:ch_template"),
        "sqlite": Channel(next(NUMBER), "sqlite:///ch_template.sqlite3"),
    }
    with django_db_blocker.unblock():
        for channel in templates.values():
            provision.create_database(channel)
            provision.migrate_database(channel)
    return templates


@contextmanager
def empty_channel(engine: str) -> Iterator[Channel]:
    """A channel whose database does not exist yet; it is removed at the end."""
    pk = next(NUMBER)
    if engine == "sqlite":
        channel = Channel(pk, f"sqlite:///channels/ch_{pk}.sqlite3")
        yield channel
        for ending in ("", "-wal", "-shm"):
            Path(f"{sqlite_path(channel)}{ending}").unlink(missing_ok=True)
    else:
        yield Channel(pk, f"embedded:ch_{pk}")
        drop_database(f"ch_{pk}")


@contextmanager
def migrated_channel(engine: str, templates: dict[str, Channel]) -> Iterator[Channel]:
    """A channel database with its tables and an identity of its own."""
    with empty_channel(engine) as channel:
        if engine == "sqlite":
            provision.create_file(channel)
            shutil.copyfile(sqlite_path(templates[engine]), sqlite_path(channel))
        else:
            copy_database("ch_template", f"ch_{channel.pk}")
        with connect(channel) as alias:
            provision.renew_identity(alias)
        yield channel


@pytest.fixture(params=ENGINES)
def nowhere(request) -> Iterator[Channel]:
    """A channel whose database does not exist yet, on each engine."""
    with empty_channel(request.param) as channel:
        yield channel


@pytest.fixture(params=ENGINES)
def channel(request, templates) -> Iterator[Channel]:
    """A channel on each engine."""
    with migrated_channel(request.param, templates) as channel:
        yield channel


@pytest.fixture
def houston(templates) -> Iterator[Channel]:
    """A store on PostgreSQL."""
    with migrated_channel("postgresql", templates) as channel:
        yield channel


@pytest.fixture
def register(templates) -> Iterator[Channel]:
    """A register on SQLite."""
    with migrated_channel("sqlite", templates) as channel:
        yield channel


@pytest.fixture(scope="session")
def shared(templates, django_db_blocker) -> Iterator[dict[str, Channel]]:
    """One channel of each engine, for tests that leave nothing behind in it."""
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        yield {
            engine: stack.enter_context(migrated_channel(engine, templates)) for engine in ENGINES
        }


@contextmanager
def open_till(channel: Channel) -> Iterator[Till]:
    """A till at an open channel; what it writes is rolled back at the end."""
    with connect(channel) as alias, transaction.atomic(using=alias):
        yield Till(alias)
        transaction.set_rollback(True, using=alias)


@pytest.fixture(params=ENGINES)
def till(request, shared) -> Iterator[Till]:
    """A till at an open channel, on each engine."""
    with open_till(shared[request.param]) as till:
        yield till


@pytest.fixture
def postgresql_till(shared) -> Iterator[Till]:
    """A till at an open channel on PostgreSQL."""
    with open_till(shared["postgresql"]) as till:
        yield till


@pytest.fixture
def sqlite_till(shared) -> Iterator[Till]:
    """A till at an open channel on SQLite."""
    with open_till(shared["sqlite"]) as till:
        yield till
