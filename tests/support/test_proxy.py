"""The proxy that other tests use breaks connections as its methods say."""

import time
from collections.abc import Iterator

import psycopg2
import pytest

from tests.support.channels import on_server, server
from tests.support.databases import drop_database
from tests.support.processes import until
from tests.support.proxy import Proxy

CONNECTION_ERRORS = (psycopg2.OperationalError, psycopg2.InterfaceError)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    on_server("CREATE DATABASE proxied")
    yield "proxied"
    drop_database("proxied")


@pytest.fixture
def proxy(database) -> Iterator[Proxy]:
    """A proxy in front of a database with an empty table n of numbers."""
    with Proxy() as proxy:
        execute(proxy, "DROP TABLE IF EXISTS n; CREATE TABLE n (n int)")
        yield proxy


def connect(proxy: Proxy) -> "psycopg2.extensions.connection":
    return psycopg2.connect(proxy.url("proxied"), connect_timeout=2)


def execute(proxy: Proxy, statement: str) -> list[tuple[object, ...]]:
    """Execute and commit one statement on a connection of its own. Returns its rows."""
    connection = connect(proxy)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def committed_numbers(proxy: Proxy) -> list[object]:
    """Let the proxy work again, and read the table."""
    proxy.heal()
    return [number for (number,) in execute(proxy, "SELECT n FROM n ORDER BY n")]


def count_sessions() -> int:
    """How many sessions the server has in the database, asked without the proxy."""
    connection = server()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'proxied'")
        (count,) = cursor.fetchone()
    connection.close()
    return int(count)


def test_without_a_fault_everything_is_passed_on(proxy):
    assert execute(proxy, "SELECT repeat('x', 300000)") == [("x" * 300000,)]


def test_a_transaction_cut_before_its_commit_is_rolled_back(proxy):
    proxy.cut_before_commit(of=b"VALUES (1)")

    execute(proxy, "INSERT INTO n VALUES (2)")
    with pytest.raises(CONNECTION_ERRORS):
        execute(proxy, "INSERT INTO n VALUES (1)")
    execute(proxy, "INSERT INTO n VALUES (1), (3)")

    assert proxy.cuts == 1
    assert committed_numbers(proxy) == [1, 2, 3]


def test_a_transaction_cut_after_its_commit_is_committed(proxy):
    proxy.cut_after_commit(of=b"INSERT")

    with pytest.raises(CONNECTION_ERRORS):
        execute(proxy, "INSERT INTO n VALUES (1)")

    assert proxy.cuts == 1
    assert committed_numbers(proxy) == [1]


def test_a_query_is_cut_before_its_result(proxy):
    proxy.cut_mid_query(of=b"pg_sleep")

    with pytest.raises(CONNECTION_ERRORS):
        execute(proxy, "SELECT pg_sleep(0.01)")

    assert execute(proxy, "SELECT 1") == [(1,)]


def test_open_connections_are_cut_at_once(proxy):
    connection = connect(proxy)
    proxy.cut()

    with pytest.raises(CONNECTION_ERRORS):
        connection.cursor().execute("SELECT pg_sleep(5)")

    assert execute(proxy, "SELECT 1") == [(1,)]


def test_connections_are_refused_until_the_proxy_is_healed(proxy):
    proxy.refuse()

    with pytest.raises(CONNECTION_ERRORS, match="refused"):
        connect(proxy)

    assert committed_numbers(proxy) == []


def test_connections_are_reset_until_the_proxy_is_healed(proxy):
    proxy.reset_at_connect()

    with pytest.raises(CONNECTION_ERRORS):
        connect(proxy)

    assert committed_numbers(proxy) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["go_black", "go_half_open"])
def test_new_connections_time_out_while_nothing_is_passed_on(proxy, fault):
    connection = connect(proxy)
    getattr(proxy, fault)()

    with pytest.raises(CONNECTION_ERRORS, match="timeout"):
        connect(proxy)

    connection.close()
    assert committed_numbers(proxy) == []


def test_a_connection_works_again_after_a_time_without_traffic(proxy):
    connection = connect(proxy)
    proxy.go_black()
    proxy.heal()

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    connection.close()


def test_the_server_rolls_back_when_a_connection_is_half_open(proxy):
    connection = connect(proxy)
    connection.cursor().execute("INSERT INTO n VALUES (1)")
    proxy.go_half_open()

    until(lambda: count_sessions() == 0)
    connection.close()

    assert committed_numbers(proxy) == []


def test_the_rate_can_be_limited(proxy):
    proxy.slow(bytes_per_s=10_000, slice_bytes=1_000)

    start = time.monotonic()
    rows = execute(proxy, "SELECT repeat('x', 3000)")
    seconds = time.monotonic() - start

    assert rows == [("x" * 3000,)]
    assert seconds > 0.25


def test_packets_can_be_split(proxy):
    proxy.slow(slice_bytes=3)

    assert execute(proxy, "SELECT repeat('x', 900)") == [("x" * 900,)]


def test_a_commit_can_be_delayed(proxy):
    proxy.hold_commit(0.2)

    start = time.monotonic()
    execute(proxy, "INSERT INTO n VALUES (1)")
    seconds = time.monotonic() - start

    assert seconds > 0.2
    assert proxy.cuts == 0
