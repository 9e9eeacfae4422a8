"""The cast: channels houston, seattle and web on PostgreSQL, popup in a SQLite file.

HQ and channels are real databases that commit for real; after a test HQ is emptied and the
channels are gone.
"""

import shutil
import signal
from collections.abc import Callable, Iterator

import django_rq
import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test.utils import setup_databases, teardown_databases

from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.url import sqlite_path
from stores.channeldb.provision import (
    create_database,
    create_file,
    migrate_database,
    renew_identity,
)
from stores.models import ChannelDatabase, Company
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.register import register_channel
from tests.backups import Backup
from tests.channeldb.make import Channel
from tests.shelf import TEMPLATE, Shelf

CAST = {
    "houston": ("store", "embedded"),
    "seattle": ("store", "embedded"),
    "web": ("online", "embedded"),
    "popup": ("store", "sqlite:///channels/popup.sqlite3"),
}
# Bytes of a table that more than a handful of rows fill.
LARGE = 30_000
KEPT = {"auth_permission", "django_content_type", "auth_group", "auth_group_permissions"}


@pytest.fixture(scope="session")
def django_db_setup(request, django_test_environment, django_db_blocker) -> Iterator[None]:
    """HQ's test database, also where no test carries pytest-django's mark."""
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, aliases={"default"})
        # What migrations put there: the first test begins as all others.
        empty_hq()
        yield
        teardown_databases(made, verbosity=0)


@pytest.fixture(scope="session")
def ring_templates(django_db_blocker) -> dict[str, Channel]:
    """A migrated channel database of each engine, to be copied and never opened again."""
    made = {
        "embedded": Channel(9001, f"embedded:{TEMPLATE}"),
        "sqlite": Channel(9002, "sqlite:///ring_template.sqlite3"),
    }
    with django_db_blocker.unblock():
        for channel in made.values():
            create_database(channel)
            migrate_database(channel)
    return made


@pytest.fixture(scope="session")
def shelf(ring_templates) -> Shelf:
    """Where channel databases of PostgreSQL wait for the next test."""
    return Shelf()


@pytest.fixture
def hq(django_db_setup, django_db_blocker) -> Iterator[None]:
    """HQ's database, which commits; emptied afterwards, with the queue and its workers."""
    with django_db_blocker.unblock():
        yield
        empty_hq()
        connection.close()
    # Also the names of workers that a test killed, which would count as listening for minutes.
    django_rq.get_connection("default").flushall()


def empty_hq() -> None:
    """Remove all rows, past the triggers that would refuse it."""
    tables = [
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        # What is not managed is a view of other tables.
        if model._meta.managed and model._meta.app_label not in ("channeldb", "django_rq")
    ]
    ours = [table for table in tables if table not in KEPT]
    emptied = "; ".join(f'DELETE FROM "{table}"' for table in ours)  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        # Deleting is quicker where there is little. A large test would leave the next ones pages
        # of dead rows, and statistics from which the server expects nothing where much is written.
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND relkind = 'r'"
            " AND pg_relation_size(oid) > %s",
            [ours, LARGE],
        )
        if large := [table for (table,) in cursor.fetchall()]:
            cursor.execute(f"TRUNCATE {', '.join(large)} CASCADE")
        # In one message: a test must not wait for each table.
        cursor.execute(emptied)
        cursor.execute("SET session_replication_role = DEFAULT")
    # The next HQ in this database has issued none of these numbers.
    shutil.rmtree(settings.NUMBER_JOURNAL_DIR, ignore_errors=True)


@pytest.fixture
def desk(hq) -> User:
    """Who sits at headquarters."""
    return User.objects.create_user("desk")


@pytest.fixture
def register(hq, ring_templates, shelf) -> Iterator[Callable[..., ChannelDatabase]]:
    """Registers a member of the cast; its database is removed at the end."""
    made: list[ChannelDatabase] = []

    def add(code: str, **options: object) -> ChannelDatabase:
        kind, url = CAST[code]
        make_database(code, url, ring_templates, shelf)
        values = {"name": code.title(), "kind": kind, "company": "USRT", "database": url}
        values |= {"account_format": "00####", "first_number": 5001} if not made else {}
        made.append(register_channel(code=code, **(values | options)))
        return made[-1]

    yield add
    for database in made:
        if database.url.startswith("embedded:"):
            shelf.put_back(database.url.removeprefix("embedded:"))
        else:
            for ending in ("", "-wal", "-shm"):
                path = sqlite_path(database)
                path.with_name(path.name + ending).unlink(missing_ok=True)


def make_database(code: str, url: str, templates: dict[str, Channel], shelf: Shelf) -> None:
    """The channel's database with its tables and an identity, before it is registered."""
    if url == "embedded":
        channel = Channel(9003, f"embedded:ch_{code}")
        shelf.take(f"ch_{code}")
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
def other_company(hq) -> None:
    """A company with an account that the channels' own company never issued."""
    company = Company.objects.create(code="EURT", name="Europe")
    import_account(company, "E-0001", deliver=False)


@pytest.fixture
def backed_up() -> Iterator[Callable[[ChannelDatabase], Backup]]:
    """Makes backups of channel databases, which are gone after the test."""
    made: list[Backup] = []

    def back_up(database: ChannelDatabase) -> Backup:
        made.append(Backup(database))
        return made[-1]

    yield back_up
    for backup in made:
        backup.remove()


@pytest.fixture
def ignored(number: signal.Signals) -> Iterator[None]:
    """Have the tests ignore a signal that one of them sends, as under nohup they do."""
    before = signal.signal(number, signal.SIG_IGN)
    yield
    signal.signal(number, before)


@pytest.fixture
def command(capsys) -> Callable[..., str]:
    """Calls a management command and returns what it printed."""

    def call(*words: str) -> str:
        capsys.readouterr()
        call_command(*words)
        return capsys.readouterr().out

    return call


@pytest.fixture
def plant(hq) -> Iterator[Callable[..., None]]:
    """Plants triggers that raise on a marked row, and pulls them out again."""
    made: list[tuple[str, str]] = []

    def planted(table: str, event: str, condition: str, code: str = "P0001") -> None:
        name = f"planted_{len(made)}"
        with connection.cursor() as cursor:
            cursor.execute(
                f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN RAISE EXCEPTION 'planted' USING ERRCODE = '{code}'; END $$;
                    CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW
                    WHEN ({condition}) EXECUTE FUNCTION {name}()"""
            )
        made.append((table, name))

    yield planted
    with connection.cursor() as cursor:
        for table, name in made:
            cursor.execute(f"DROP TRIGGER {name} ON {table}; DROP FUNCTION {name}()")
