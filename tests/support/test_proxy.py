"""The line that other tests break: does it break as it says?"""

import time
from collections.abc import Iterator

import psycopg2
import pytest

from tests.support.channels import on_server, server
from tests.support.processes import until
from tests.support.proxy import Proxy

TROUBLE = (psycopg2.OperationalError, psycopg2.InterfaceError)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A database with one table of numbers."""
    on_server("CREATE DATABASE proxied")
    yield "proxied"
    on_server("DROP DATABASE proxied WITH (FORCE)")


@pytest.fixture
def line(database) -> Iterator[Proxy]:
    with Proxy() as line:
        ask(line, "DROP TABLE IF EXISTS n; CREATE TABLE n (n int)")
        yield line


def client(line: Proxy, **options: object) -> "psycopg2.extensions.connection":
    return psycopg2.connect(line.url("proxied"), connect_timeout=2, **options)


def ask(line: Proxy, statement: str) -> list[tuple[object, ...]]:
    """One statement on a connection of its own, committed."""
    connection = client(line)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def numbers(line: Proxy) -> list[object]:
    line.heal()
    return [n for (n,) in ask(line, "SELECT n FROM n ORDER BY n")]


def test_healthy_line_passes_everything_on(line):
    assert ask(line, "SELECT repeat('x', 300000)") == [("x" * 300000,)]


def test_commit_that_is_cut_off_before_the_server_is_lost(line):
    line.cut_before_commit(of=b"VALUES (1)")

    ask(line, "INSERT INTO n VALUES (2)")
    with pytest.raises(TROUBLE):
        ask(line, "INSERT INTO n VALUES (1)")
    ask(line, "INSERT INTO n VALUES (1), (3)")

    assert line.cuts == 1
    assert numbers(line) == [1, 2, 3]


def test_commit_whose_answer_is_cut_off_is_there(line):
    line.cut_after_commit(of=b"INSERT")

    with pytest.raises(TROUBLE):
        ask(line, "INSERT INTO n VALUES (1)")

    assert line.cuts == 1
    assert numbers(line) == [1]


def test_query_is_cut_off_before_its_answer(line):
    line.cut_mid_query(of=b"pg_sleep")

    with pytest.raises(TROUBLE):
        ask(line, "SELECT pg_sleep(0.01)")

    assert ask(line, "SELECT 1") == [(1,)]


def test_open_connections_are_cut_at_once(line):
    connection = client(line)
    line.cut()

    with pytest.raises(TROUBLE):
        connection.cursor().execute("SELECT pg_sleep(5)")
    assert ask(line, "SELECT 1") == [(1,)]


def test_refusing_line_listens_again_when_it_is_healed(line):
    line.refuse()
    with pytest.raises(TROUBLE, match="refused"):
        client(line)

    assert numbers(line) == []


def test_line_resets_at_connect(line):
    line.reset_at_connect()

    with pytest.raises(TROUBLE):
        client(line)
    assert numbers(line) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["go_black", "go_half_open"])
def test_line_takes_everything_and_answers_nothing(line, fault):
    open_before = client(line)
    getattr(line, fault)()

    with pytest.raises(TROUBLE, match="timeout"):
        client(line)

    open_before.close()
    assert numbers(line) == []


def test_line_goes_on_after_a_black_hole(line):
    connection = client(line)
    line.go_black()
    line.heal()

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    connection.close()


def test_server_learns_of_a_half_open_line_and_rolls_back(line):
    connection = client(line)
    connection.cursor().execute("INSERT INTO n VALUES (1)")
    line.go_half_open()

    until(lambda: sessions() == 0)
    connection.close()
    assert numbers(line) == []


def sessions() -> int:
    """How many clients the server sees in the database, asked past the line."""
    connection = server()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'proxied'")
        (count,) = cursor.fetchone()
    connection.close()
    return int(count)


def test_slow_line_takes_its_time(line):
    before = time.monotonic()
    line.slow(bytes_per_s=10_000, slice_bytes=1_000)

    assert ask(line, "SELECT repeat('x', 3000)") == [("x" * 3000,)]
    assert time.monotonic() - before > 0.25


def test_sliced_line_passes_everything_on(line):
    line.slow(slice_bytes=3)

    assert ask(line, "SELECT repeat('x', 900)") == [("x" * 900,)]


def test_commit_can_be_held(line):
    line.hold_commit(0.2)
    before = time.monotonic()

    ask(line, "INSERT INTO n VALUES (1)")

    assert time.monotonic() - before > 0.2
    assert line.cuts == 0
