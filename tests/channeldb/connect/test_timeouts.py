"""No statement takes longer than its timeout, even if the server has stopped answering.

From conftest.py: `houston` is a channel on PostgreSQL; `register` is a channel on SQLite.
"""
# ruff: noqa: PT012, SIM117 - what happens within the open channel is what is tested

import time

import pytest
from django.db import DataError, connections, transaction

from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.timeouts import MAX_VALUE_BYTES, extend_timeout
from stores.channeldb.errors import ChannelBusy, ChannelUnreachable
from tests.support.channels import Channel, Till, event
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
