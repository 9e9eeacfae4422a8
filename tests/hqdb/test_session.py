"""Sessions of HQ and channels do not depend on the defaults of their server or database.

From conftest.py: `houston` is a store on PostgreSQL.
"""

from collections.abc import Iterator

import pytest
from django.db import connection

from tests.support.channels import on_server
from tests.support.make import query

pytestmark = pytest.mark.finding(id="V8")


@pytest.fixture
def asynchronous_commit(hq) -> Iterator[None]:
    """HQ's database, tuned by an administrator to confirm commits before they are on disk."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    connection.close()
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} RESET synchronous_commit")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("synchronous_commit", "on"),
        ("statement_timeout", "30min"),
        ("lock_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "10min"),
        ("client_connection_check_interval", "10s"),
    ],
)
def test_a_session_of_hq_has_its_own_settings(asynchronous_commit, setting, value):
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {setting}")

        assert cursor.fetchone() == (value,)


def test_a_session_of_a_channel_commits_synchronously(houston):
    name = houston.url.removeprefix("embedded:")
    on_server(f"ALTER DATABASE {name} SET synchronous_commit = off")
    try:
        assert query(houston, "SHOW synchronous_commit") == [("on",)]
    finally:
        on_server(f"ALTER DATABASE {name} RESET synchronous_commit")
