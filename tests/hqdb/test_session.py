"""What sessions ask of their server, whatever the defaults of server and database are."""

import pytest
from django.db import connection

from tests.support.channels import on_server
from tests.support.make import query

SETTINGS = {
    "synchronous_commit": "on",
    "statement_timeout": "30min",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "10min",
    "client_connection_check_interval": "10s",
}


@pytest.fixture
def careless(hq):
    """HQ's database as an administrator may have tuned it."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    connection.close()
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} RESET synchronous_commit")


@pytest.mark.parametrize(("setting", "value"), SETTINGS.items())
def test_v8_a_commit_of_headquarters_outlives_its_server(careless, setting, value):
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {setting}")

        assert cursor.fetchone() == (value,)


def test_v8_so_does_a_commit_of_a_channel(houston):
    name = houston.url.removeprefix("embedded:")
    on_server(f"ALTER DATABASE {name} SET synchronous_commit = off")
    try:
        assert query(houston, "SHOW synchronous_commit") == [("on",)]
    finally:
        on_server(f"ALTER DATABASE {name} RESET synchronous_commit")
