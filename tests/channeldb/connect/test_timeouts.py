"""No statement takes longer than its timeout, even if the server has stopped answering.

From conftest.py: `houston` is a channel on PostgreSQL; `register` is a channel on SQLite.
"""
# ruff: noqa: PT012, SIM117 - what happens within the open channel is what is tested

import subprocess
import sys
import threading
import time
from weakref import WeakMethod

import pytest
from django.db import DataError, connections, transaction

from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.timeouts import MAX_VALUE_BYTES, extend_timeout
from stores.channeldb.errors import ChannelBusy, ChannelUnreachable
from stores.heartbeat import heartbeat
from tests.support.channels import Channel, Till, event
from tests.support.concurrency import run_together
from tests.support.processes import ROOT, environment
from tests.support.proxy import Proxy

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def proxy(houston):
    with Proxy() as proxy:
        yield proxy


@pytest.fixture
def houston_by_proxy(houston, proxy, settings):
    """Houston behind a connection that can break, with short timeouts."""
    settings.CHANNEL_STATEMENT_S = settings.CHANNEL_GRACE_S = 0.2
    settings.CHANNEL_CONNECT_S = 2
    return Channel(houston.pk, proxy.url(houston.url.removeprefix("embedded:")))


@pytest.mark.fault("F-38", "F-42")  # the network fails; a name does not resolve
@pytest.mark.parametrize("fault", ["go_black", "go_half_open"])
def test_a_query_without_an_answer_is_cut_off(houston_by_proxy, proxy, fault):
    with (
        pytest.raises(ChannelUnreachable, match="cannot be reached"),
        connect(houston_by_proxy) as alias,
    ):
        getattr(proxy, fault)()
        start = time.monotonic()
        Till(alias).value("SELECT 1")

    assert time.monotonic() - start < 2


@pytest.mark.fault("F-38")  # the network fails
def test_all_connections_without_an_answer_are_cut_off(houston_by_proxy, proxy):
    all_are_open = threading.Barrier(3, action=proxy.go_black)

    def ask():
        with pytest.raises(ChannelUnreachable), connect(houston_by_proxy) as alias:
            all_are_open.wait()
            Till(alias).value("SELECT 1")

    start = time.monotonic()
    run_together(ask, ask, ask)

    assert time.monotonic() - start < 2


# A process opens a channel and forks; there the same channel is opened, and does not answer.
FORK = """
import os, sys
import django
django.setup()
from django.conf import settings
from stores.channeldb.connect.connection import connect
from stores.channeldb.errors import ChannelUnreachable
from tests.support.channels import Channel, Till

settings.CHANNEL_STATEMENT_S = settings.CHANNEL_GRACE_S = 0.2
url = sys.argv[1]
with connect(Channel(1, url)) as first:
    child = os.fork()
    if not child:
        try:
            with connect(Channel(2, url)) as second:
                Till(second).sql("SET statement_timeout = 0")
                Till(second).value("SELECT pg_sleep(60)")
        except ChannelUnreachable as error:
            print(error, flush=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    print(Till(first).value("SELECT 'The parent goes on.'"))
"""


def test_a_forked_process_cuts_its_own_connections_only(houston):
    process = subprocess.run(
        [sys.executable, "-c", FORK, houston.url],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert process.stdout.splitlines() == [
        "Channel houston cannot be reached.",
        "The parent goes on.",
    ]


def test_a_closed_connection_is_forgotten(houston):
    with connect(houston) as alias:
        duty = connections[alias].connection.cut_if_overdue
        was_watched = WeakMethod(duty) in heartbeat._due

    # Something may still refer to the connection, as the duty does here.
    assert was_watched
    assert WeakMethod(duty) not in heartbeat._due


@pytest.mark.slow
@pytest.mark.fault("F-38", "F-42")  # the network fails; a name does not resolve
def test_a_commit_without_an_answer_is_cut_off(houston_by_proxy, proxy):
    start = time.monotonic()
    with pytest.raises(ChannelUnreachable), connect(houston_by_proxy) as alias:
        with transaction.atomic(using=alias):
            Till(alias).insert("async_customer", **event())
            proxy.go_black()

    # Django connects once more, which takes another timeout.
    assert time.monotonic() - start < 5


def test_the_server_ends_a_slow_statement(houston_by_proxy):
    with pytest.raises(ChannelBusy, match="is too slow"), connect(houston_by_proxy) as alias:
        Till(alias).value("SELECT pg_sleep(5)")


def test_the_timeout_can_be_extended(houston_by_proxy):
    with connect(houston_by_proxy) as alias:
        extend_timeout(connections[alias], 5)

        Till(alias).value("SELECT pg_sleep(0.5)")


def test_time_between_statements_does_not_count(houston_by_proxy):
    with connect(houston_by_proxy) as alias:
        time.sleep(0.6)

        assert Till(alias).value("SELECT 1") == 1


def test_an_endless_statement_of_sqlite_is_stopped(register, settings):
    settings.CHANNEL_STATEMENT_S = 0.05

    with pytest.raises(ChannelBusy, match="is too slow"), connect(register) as alias:
        Till(alias).value(ENDLESS)


def test_each_statement_of_sqlite_has_a_timeout_of_its_own(register, settings):
    settings.CHANNEL_STATEMENT_S = 0.2

    with connect(register) as alias:
        for _ in range(3):
            time.sleep(0.1)
            assert Till(alias).value("SELECT count(*) FROM async_customer") == 0


def test_a_huge_value_is_not_read_from_sqlite(register):
    with connect(register) as alias, pytest.raises(DataError):
        Till(alias).value(f"SELECT zeroblob({MAX_VALUE_BYTES + 1})")


def test_sqlite_loads_no_extensions(register):
    with connect(register) as alias, pytest.raises(Exception, match="not authorized"):
        Till(alias).sql("SELECT load_extension('anything')")
