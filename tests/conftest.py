"""The cast: channels houston, seattle and web on PostgreSQL, popup in a SQLite file.

HQ and channels are real databases that commit for real; after a test HQ is emptied and the
channels are gone.
"""

import shutil
from collections.abc import Callable, Iterator

import django_rq
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.test.utils import setup_databases, teardown_databases

from stores.channeldb.address import sqlite_path
from stores.channeldb.connection import connect
from stores.channeldb.create import create_database, create_file, migrate_database, renew_identity
from stores.models import ChannelDatabase
from stores.pipeline.register import register_channel
from tests.channeldb.make import Channel, on_server

CAST = {
    "houston": ("store", "embedded"),
    "seattle": ("store", "embedded"),
    "web": ("online", "embedded"),
    "popup": ("store", "sqlite:///channels/popup.sqlite3"),
}
KEPT = {"auth_permission", "django_content_type", "auth_group", "auth_group_permissions"}


@pytest.fixture(scope="session")
def django_db_setup(request, django_test_environment, django_db_blocker) -> Iterator[None]:
    """HQ's test database, also where no test carries pytest-django's mark."""
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, aliases={"default"})
        yield
        teardown_databases(made, verbosity=0)


@pytest.fixture(scope="session")
def ring_templates(django_db_blocker) -> dict[str, Channel]:
    """A migrated channel database of each engine, to be copied and never opened again."""
    made = {
        "embedded": Channel(9001, "embedded:ring_template"),
        "sqlite": Channel(9002, "sqlite:///ring_template.sqlite3"),
    }
    with django_db_blocker.unblock():
        for channel in made.values():
            create_database(channel)
            migrate_database(channel)
    return made


@pytest.fixture
def hq(django_db_setup, django_db_blocker) -> Iterator[None]:
    """HQ's database, which commits; emptied afterwards, with the queue."""
    with django_db_blocker.unblock():
        yield
        empty_hq()
        connection.close()
    django_rq.get_queue("default").empty()


def empty_hq() -> None:
    """Remove all rows, past the triggers that would refuse it."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for model in apps.get_models(include_auto_created=True):
            table = model._meta.db_table
            if model._meta.app_label not in ("channeldb", "django_rq") and table not in KEPT:
                cursor.execute(f'DELETE FROM "{table}"')  # noqa: S608 - our own table names
        cursor.execute("SET session_replication_role = DEFAULT")


@pytest.fixture
def register(hq, ring_templates) -> Iterator[Callable[..., ChannelDatabase]]:
    """Registers a member of the cast; its database is removed at the end."""
    made: list[ChannelDatabase] = []

    def add(code: str, **options: object) -> ChannelDatabase:
        kind, url = CAST[code]
        copy_template(code, url, ring_templates)
        values = {"name": code.title(), "kind": kind, "company": "USRT", "database": url}
        values |= {"account_format": "00####", "first_number": 5001} if not made else {}
        made.append(register_channel(code=code, **(values | options)))
        return made[-1]

    yield add
    for database in made:
        if database.url.startswith("embedded:"):
            on_server(f"DROP DATABASE IF EXISTS {database.url[9:]} WITH (FORCE)")
        else:
            for ending in ("", "-wal", "-shm"):
                path = sqlite_path(database)
                path.with_name(path.name + ending).unlink(missing_ok=True)


def copy_template(code: str, url: str, templates: dict[str, Channel]) -> None:
    """The channel's database with its tables and an identity, before it is registered."""
    if url == "embedded":
        channel = Channel(9003, f"embedded:ch_{code}")
        on_server(f"DROP DATABASE IF EXISTS ch_{code} WITH (FORCE)")
        on_server(f"CREATE DATABASE ch_{code} TEMPLATE ring_template")
    else:
        channel = Channel(9003, url)
        create_file(channel)
        shutil.copyfile(sqlite_path(templates["sqlite"]), sqlite_path(channel))
    with connect(channel) as alias:
        renew_identity(alias)


@pytest.fixture
def houston(register) -> ChannelDatabase:
    """A store on PostgreSQL; the company's next account is 005001."""
    return register("houston")


@pytest.fixture
def seattle(register) -> ChannelDatabase:
    """A second store on PostgreSQL."""
    return register("seattle")


@pytest.fixture
def web(register) -> ChannelDatabase:
    """A web shop on PostgreSQL."""
    return register("web")


@pytest.fixture
def popup(register) -> ChannelDatabase:
    """A store whose database is a SQLite file."""
    return register("popup")


@pytest.fixture(params=["houston", "popup"])
def store(request) -> ChannelDatabase:
    """A store on each engine."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def command(capsys) -> Callable[..., str]:
    """Calls a management command and returns what it printed."""

    def call(*words: str) -> str:
        capsys.readouterr()
        call_command(*words)
        return capsys.readouterr().out

    return call
