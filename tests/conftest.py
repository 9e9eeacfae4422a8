"""Real databases: HQ, the channels houston, seattle and web on PostgreSQL, and popup on SQLite.

Tests commit. After each test HQ is emptied and the channel databases are removed.
"""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import Any

import django_rq
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client

from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.url import sqlite_path
from stores.channeldb.models import ExchangeState
from stores.channeldb.provision import create_file, renew_identity
from stores.models import ChannelDatabase, Company
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.register import (
    ensure_channel,
    ensure_database,
    ensure_default_customer,
    register_channel,
    register_company,
)
from tests.support import prepared
from tests.support.backups import Backup, HQBackup
from tests.support.channels import Channel
from tests.support.database_pool import DatabasePool, Identity
from tests.support.hq import CAST, COMPANY, empty_hq


def pytest_configure() -> None:
    # Else each client of a test lists all static files before its first request.
    settings.WHITENOISE_AUTOREFRESH = True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the tests that may take long, lest one of them runs alone at the end."""
    usual = float(config.getini("timeout"))

    def is_long(item: pytest.Item) -> bool:
        mark = item.get_closest_marker("timeout")
        return mark is not None and mark.args[0] > usual

    items.sort(key=is_long, reverse=True)


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment) -> None:
    """HQ's test database, also for tests without the mark `django_db`. Its server goes with it."""
    settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = prepared.HQ


@pytest.fixture(scope="session")
def database_pool() -> DatabasePool:
    """PostgreSQL databases of channels, ready for the next test."""
    return DatabasePool()


@pytest.fixture
def hq(django_db_setup, django_db_blocker) -> Iterator[None]:
    """HQ's database; it is emptied afterwards, with the queue and its workers.

    The connection stays open, as a new one reads the catalogs anew: a tenth of the time of a test.
    """
    with django_db_blocker.unblock():
        yield
        connection.close_if_unusable_or_obsolete()
        empty_hq()
    # Killed workers stay registered for minutes unless they are removed as well.
    django_rq.get_connection("default").flushall()


@pytest.fixture
def hq_user(hq) -> User:
    """A user at headquarters."""
    return User.objects.create_user("robin")


@pytest.fixture
def boss(hq) -> Client:
    """A client in which an administrator is signed in."""
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client


@pytest.fixture
def register(hq, database_pool) -> Iterator[Callable[..., ChannelDatabase]]:
    """Creates and registers a channel by its code; its database is removed at the end."""
    databases: list[ChannelDatabase] = []

    def add(code: str, company: str = COMPANY, **options: Any) -> ChannelDatabase:
        kind, url = CAST[code]
        identity = make_database(code, url, database_pool)
        if not databases:
            # The first channel creates the number sequence of the company.
            options = {"account_format": "00####", "first_number": 5001} | options
        values = {"code": code, "name": code.title(), "kind": kind}
        if company == COMPANY:
            database = register_prepared(url, identity, values, **options)
        else:
            database = register_channel(company=company, database=url, **values, **options)
        databases.append(database)
        return database

    yield add
    for database in databases:
        if database.url.startswith("embedded:"):
            database_pool.put_back(database.url.removeprefix("embedded:"))
        else:
            for ending in ("", "-wal", "-shm"):
                path = sqlite_path(database)
                path.with_name(path.name + ending).unlink(missing_ok=True)


def register_prepared(
    url: str,
    identity: Identity,
    values: dict[str, str],
    *,
    country: str = "",
    account_format: str | None = None,
    first_number: int | None = None,
    last_number: int | None = None,
) -> ChannelDatabase:
    """Register a channel whose database has all that registering it would write.

    So it need not be opened, which takes longer than many a test.
    """
    company = register_company(COMPANY, account_format, first_number, last_number)
    channel = ensure_channel(company=company, profile=None, country=country, **values)
    ensure_default_customer(channel, None)
    database = ensure_database(channel, "", url, None)
    database_id, epoch, nonce = identity
    ChannelDatabase.objects.filter(pk=database.pk).update(
        database_id=database_id, confirmed_epoch=epoch, confirmed_nonce=nonce
    )
    return database


def make_database(code: str, url: str, database_pool: DatabasePool) -> Identity:
    """Create the channel's database with its tables and an identity; it is not registered yet."""
    if url == "embedded":
        return database_pool.take(f"ch_{code}")
    channel = Channel(9003, url)
    create_file(channel)
    shutil.copyfile(settings.SYNCLINE_DATA_DIR / prepared.CHANNEL_FILE, sqlite_path(channel))
    with connect(channel) as alias:
        renew_identity(alias)
        state = ExchangeState.objects.using(alias).get()
    return state.database_id, state.epoch, state.nonce


@pytest.fixture
def houston(register) -> ChannelDatabase:
    """A store on PostgreSQL; the next account of its company is 005001."""
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
    """A store on SQLite."""
    return register("popup")


@pytest.fixture(params=["houston", "popup"])
def store(request) -> ChannelDatabase:
    """A store; the test runs once on PostgreSQL and once on SQLite."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def other_company(hq) -> None:
    """Another company, which has the account E-0001."""
    company = Company.objects.create(code="EURT", name="Europe")
    import_account(company, "E-0001", deliver=False)


@pytest.fixture
def back_up() -> Iterator[Callable[[ChannelDatabase], Backup]]:
    """Backs up a channel database; the backup is removed after the test."""
    backups: list[Backup] = []

    def add(database: ChannelDatabase) -> Backup:
        backups.append(Backup(database))
        return backups[-1]

    yield add
    for backup in backups:
        backup.remove()


@pytest.fixture
def ignored(number: signal.Signals) -> Iterator[None]:
    """Ignores a signal in the tests themselves, as nohup does."""
    before = signal.signal(number, signal.SIG_IGN)
    yield
    signal.signal(number, before)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Lets Ctrl-C interrupt the tests even in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def command(capsys) -> Callable[..., str]:
    """Calls a management command. Returns its output."""

    def call(*arguments: str) -> str:
        capsys.readouterr()
        call_command(*arguments)
        return capsys.readouterr().out

    return call


@pytest.fixture
def raise_on(hq) -> Iterator[Callable[..., None]]:
    """Creates triggers in HQ that raise an error for certain rows; drops them at the end."""
    triggers: list[tuple[str, str]] = []

    def create(table: str, event: str, condition: str, code: str = "P0001") -> None:
        name = f"raise_{len(triggers)}"
        with connection.cursor() as cursor:
            cursor.execute(
                f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN RAISE EXCEPTION 'raised' USING ERRCODE = '{code}'; END $$;
                    CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW
                    WHEN ({condition}) EXECUTE FUNCTION {name}()"""
            )
        triggers.append((table, name))

    yield create
    with connection.cursor() as cursor:
        for table, name in triggers:
            cursor.execute(f"DROP TRIGGER {name} ON {table}; DROP FUNCTION {name}()")


@pytest.fixture
def back_up_hq(hq) -> Iterator[Callable[[], HQBackup]]:
    """Backs up HQ's database; the backup is removed after the test."""
    backups: list[HQBackup] = []

    def add() -> HQBackup:
        backups.append(HQBackup())
        return backups[-1]

    yield add
    for backup in backups:
        backup.remove()


@pytest.fixture
def recover_hq(command) -> Callable[..., Any]:
    """Calls the command. Returns its JSON document, or its exit status where it fails."""

    def call(*options: str, fails: bool = False) -> Any:
        if not fails:
            return json.loads(command("recover_hq", "--json", *options))
        with pytest.raises(SystemExit) as exit_info:
            command("recover_hq", *options)
        return exit_info.value.code

    return call
