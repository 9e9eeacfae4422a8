"""No statement outlasts its time, not even when nobody answers any more."""
# ruff: noqa: PT012, SIM117 - what happens within the open channel is what is tested

import time

import pytest
from django.db import DataError, connections, transaction

from stores.channeldb.connect.connection import ChannelBusy, ChannelUnreachable, connect
from stores.channeldb.connect.timeouts import LARGEST_VALUE, allow_time
from tests.support.channels import Channel, Till, event
from tests.support.proxy import Proxy

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def line(houston):
    with Proxy() as line:
        yield line


@pytest.fixture
def by_tcp(houston, line, settings):
    """Houston through a line that can break, visited by somebody with little patience."""
    settings.CHANNEL_STATEMENT_S = settings.CHANNEL_GRACE_S = 0.2
    settings.CHANNEL_CONNECT_S = 2
    return Channel(houston.pk, line.url(houston.url.removeprefix("embedded:")))


@pytest.mark.fault("F-38", "F-42")
@pytest.mark.parametrize("fault", ["go_black", "go_half_open"])
def test_line_that_answers_nothing_is_cut(by_tcp, line, fault):
    with (
        pytest.raises(ChannelUnreachable, match="cannot be reached"),
        connect(by_tcp) as alias,
    ):
        getattr(line, fault)()
        before = time.monotonic()
        Till(alias).one("SELECT 1")

    assert time.monotonic() - before < 2


@pytest.mark.slow
@pytest.mark.fault("F-38", "F-42")
def test_commit_that_is_not_answered_is_cut_too(by_tcp, line):
    before = time.monotonic()
    with pytest.raises(ChannelUnreachable), connect(by_tcp) as alias:
        with transaction.atomic(using=alias):
            Till(alias).insert("async_customer", **event())
            line.go_black()

    # Django tries to connect once more.
    assert time.monotonic() - before < 5


def test_server_ends_a_slow_statement_first(by_tcp):
    with pytest.raises(ChannelBusy, match="is too slow"), connect(by_tcp) as alias:
        Till(alias).one("SELECT pg_sleep(5)")


def test_work_that_needs_longer_can_say_so(by_tcp):
    with connect(by_tcp) as alias:
        allow_time(connections[alias], 5)

        Till(alias).one("SELECT pg_sleep(0.5)")


def test_time_between_statements_does_not_count(by_tcp):
    with connect(by_tcp) as alias:
        time.sleep(0.6)

        assert Till(alias).one("SELECT 1") == 1


def test_endless_statement_of_sqlite_is_stopped(register, settings):
    settings.CHANNEL_STATEMENT_S = 0.05

    with pytest.raises(ChannelBusy, match="is too slow"), connect(register) as alias:
        Till(alias).one(ENDLESS)


def test_each_statement_of_sqlite_has_its_own_time(register, settings):
    settings.CHANNEL_STATEMENT_S = 0.2

    with connect(register) as alias:
        for _ in range(3):
            time.sleep(0.1)
            assert Till(alias).one("SELECT count(*) FROM async_customer") == 0


def test_no_giant_value_is_read_from_sqlite(register):
    with connect(register) as alias, pytest.raises(DataError):
        Till(alias).one(f"SELECT zeroblob({LARGEST_VALUE + 1})")


def test_sqlite_loads_no_extensions(register):
    with connect(register) as alias, pytest.raises(Exception, match="not authorized"):
        Till(alias).sql("SELECT load_extension('anything')")
