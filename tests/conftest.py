"""The cast: channels houston, seattle and web on PostgreSQL, popup in a SQLite file.

HQ and channels are real databases that commit for real; after a test HQ is emptied and the
channels are gone.
"""

import json
import shutil
import signal
from collections.abc import Callable, Iterator

import django_rq
import pytest
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
from tests.support.backups import Backup, HQBackup
from tests.support.channels import Channel
from tests.support.database_pool import TEMPLATE, DatabasePool
from tests.support.hq import CAST, empty_hq


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
def database_pool(ring_templates) -> DatabasePool:
    """Where channel databases of PostgreSQL wait for the next test."""
    return DatabasePool()


@pytest.fixture
def hq(django_db_setup, django_db_blocker) -> Iterator[None]:
    """HQ's database, which commits; emptied afterwards, with the queue and its workers."""
    with django_db_blocker.unblock():
        yield
        empty_hq()
        connection.close()
    # Also the names of workers that a test killed, which would count as listening for minutes.
    django_rq.get_connection("default").flushall()


@pytest.fixture
def hq_user(hq) -> User:
    """Who sits at headquarters."""
    return User.objects.create_user("robin")


@pytest.fixture
def register(hq, ring_templates, database_pool) -> Iterator[Callable[..., ChannelDatabase]]:
    """Registers a member of the cast; its database is removed at the end."""
    made: list[ChannelDatabase] = []

    def add(code: str, **options: object) -> ChannelDatabase:
        kind, url = CAST[code]
        make_database(code, url, ring_templates, database_pool)
        values = {"name": code.title(), "kind": kind, "company": "USRT", "database": url}
        values |= {"account_format": "00####", "first_number": 5001} if not made else {}
        made.append(register_channel(code=code, **(values | options)))
        return made[-1]

    yield add
    for database in made:
        if database.url.startswith("embedded:"):
            database_pool.put_back(database.url.removeprefix("embedded:"))
        else:
            for ending in ("", "-wal", "-shm"):
                path = sqlite_path(database)
                path.with_name(path.name + ending).unlink(missing_ok=True)


def make_database(
    code: str, url: str, templates: dict[str, Channel], database_pool: DatabasePool
) -> None:
    """The channel's database with its tables and an identity, before it is registered."""
    if url == "embedded":
        channel = Channel(9003, f"embedded:ch_{code}")
        database_pool.take(f"ch_{code}")
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
def interruptible() -> Iterator[None]:
    """Have Ctrl-C interrupt the tests themselves; those in a shell's background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


@pytest.fixture
def hq_backed_up(hq):
    """Makes backups of HQ's database, which are gone after the test."""
    made = []

    def back_up():
        made.append(HQBackup())
        return made[-1]

    yield back_up
    for backup in made:
        backup.remove()


@pytest.fixture
def recover_hq(command):
    """The command; its document."""

    def call(*words, fails=False):
        if not fails:
            return json.loads(command("recover_hq", "--json", *words))
        with pytest.raises(SystemExit) as ended:
            command("recover_hq", *words)
        return ended.value.code

    return call
