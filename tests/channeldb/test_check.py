"""The test of a connection names the first step that fails, in words, and changes nothing.

From conftest.py: `houston` is a channel on PostgreSQL; `register` is a channel on SQLite; `channel`
is a channel, once on PostgreSQL and once on SQLite; `nowhere` is a channel without a database, once
on each engine.
"""

import os
import socket
from urllib.parse import quote

import pytest
from django.conf import settings as django_settings

from stores.channeldb import provision
from stores.channeldb.check import check_database
from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.url import is_embedded, sqlite_path
from tests.support.channels import Channel, Till, on_server

SOCKETS = quote(str(django_settings.EMBEDDED.sockets), safe="")


def outcomes(channel: Channel) -> dict[str, str]:
    return {name: step.outcome for name, step in check_database(channel).steps.items()}


def failure(channel: Channel) -> tuple[str, str]:
    """The step that fails, and what it says."""
    step = check_database(channel).failure
    assert step is not None
    return step.name, str(step.message)


@pytest.fixture
def guest(templates):
    """A role of the server that has no privileges; it is dropped with all it was granted."""
    on_server("CREATE ROLE guest LOGIN")
    yield "guest"
    on_server("DROP OWNED BY guest")
    on_server("DROP ROLE guest")


def url_for(role: str, database: str) -> str:
    return f"postgresql://{role}@/{database}?host={SOCKETS}"


def test_a_database_that_works_passes_every_step_but_that_of_its_owner(channel):
    expected = outcomes(channel)

    assert expected.pop("owner") == "skipped"
    assert set(expected.values()) == {"passed"}


def test_what_does_not_exist_yet_is_to_be_made_and_is_not_made_by_the_test(nowhere):
    result = outcomes(nowhere)

    assert result["database"] == result["tables"] == "pending"
    if not is_embedded(nowhere):
        assert not sqlite_path(nowhere).exists()


def test_an_empty_database_lacks_tables_that_adding_it_makes(nowhere):
    provision.create_database(nowhere)

    test = check_database(nowhere)

    assert (test.steps["database"].outcome, test.steps["tables"].outcome) == ("passed", "pending")
    assert "create_channel" in str(test.steps["tables"].message)
    assert test.identity is None


def test_the_identity_of_a_database_is_found(channel):
    with connect(channel) as alias:
        identity = Till(alias).value("SELECT database_id FROM exchange_state")

    test = check_database(channel)

    assert test.identity is not None
    assert (str(test.identity[0]), test.identity[1]) == (str(identity), 0)


@pytest.mark.parametrize(
    ("url", "step", "sentence"),
    [
        ("postgresql://shop@nowhere.invalid/ch", "name", "the name of its server is unknown"),
        ("postgresql://shop@localhost:1/ch", "line", "nothing listens on the port"),
        ("postgresql://shop@169.254.169.254/ch", "name", "SYNCLINE_CHANNEL_HOSTS does not"),
        (
            "postgresql://syncline@/nowhere?host=SOCKETS",
            "database",
            "Create it there: empty, in UTF-8.",
        ),
        ("postgresql://nobody@/postgres?host=SOCKETS", "sign_in", "refuses HQ's user or password"),
        ("env:CHANNEL_DSN_NOWHERE", "address", "CHANNEL_DSN_NOWHERE is not set"),
        ("mysql://shop@localhost/ch", "address", "it must be postgresql://"),
    ],
)
def test_the_first_step_that_fails_is_named(url, step, sentence):
    test = check_database(Channel(1, url.replace("SOCKETS", SOCKETS)))

    assert test.failure is not None
    assert test.failure.name == step
    assert sentence in str(test.failure.message)
    assert test.steps["owner"].outcome == "skipped"
    before = list(test.steps)[: list(test.steps).index(step)]
    assert {test.steps[name].outcome for name in before} <= {"passed"}


def test_a_server_that_does_not_answer_is_told_from_one_that_is_not_there(settings):
    settings.CHANNEL_CONNECT_S = 2
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        url = f"postgresql://shop@127.0.0.1:{silent.getsockname()[1]}/ch"

        step, sentence = failure(Channel(1, url))

    assert step == "line"
    assert "its server does not answer. Check the address, and the firewalls" in sentence


def test_a_user_who_may_not_make_tables_lacks_a_privilege(guest, houston):
    name = houston.url.removeprefix("embedded:")
    on_server(f"CREATE DATABASE {name}_empty TEMPLATE template0 ENCODING 'UTF8'")
    try:
        step, sentence = failure(Channel(1, url_for(guest, f"{name}_empty")))
    finally:
        on_server(f"DROP DATABASE {name}_empty")

    assert step == "rights"
    assert "HQ's user lacks CREATE on schema public" in sentence


def test_a_user_who_may_not_read_lacks_privileges(guest, houston):
    with connect(houston) as alias:
        Till(alias).sql("GRANT SELECT ON django_migrations TO guest")

    step, sentence = failure(Channel(1, url_for(guest, houston.url.removeprefix("embedded:"))))

    assert step == "rights"
    assert "INSERT on account_map" in sentence


def test_tables_of_an_older_version_are_to_be_updated(channel):
    forget_migration(channel, "0002_positions")

    assert outcomes(channel)["tables"] == "pending"


def test_tables_of_a_newer_version_are_refused(channel):
    with connect(channel) as alias:
        Till(alias).insert(
            "django_migrations", app="channeldb", name="9999_newer", applied="2026-01-01"
        )

    step, sentence = failure(channel)

    assert step == "tables"
    assert "made by a newer version of Syncline (9999_newer)" in sentence


def test_tables_of_somebody_else_are_refused(nowhere):
    provision.create_database(nowhere)
    with connect(nowhere, migrate=True) as alias:
        Till(alias).sql("CREATE TABLE customer (id integer)")

    step, sentence = failure(nowhere)

    assert step == "tables"
    assert "a table customer that Syncline did not create" in sentence


def test_a_changed_column_is_named(channel):
    with connect(channel) as alias:
        Till(alias).sql("ALTER TABLE customer RENAME COLUMN email TO mail")

    step, sentence = failure(channel)

    assert step == "tables"
    assert "customer.email" in sentence


def test_a_file_that_is_no_database_fails(register):
    sqlite_path(register).write_bytes(os.urandom(8192))

    assert failure(register)[0] == "database"


def test_a_database_that_cannot_hold_every_name_fails(templates):
    on_server("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        step, sentence = failure(Channel(1, "embedded:latin"))
    finally:
        on_server("DROP DATABASE latin")

    assert step == "database"
    assert "an encoding that cannot hold every name" in sentence


def forget_migration(channel: Channel, name: str) -> None:
    with connect(channel) as alias:
        Till(alias).sql(f"DELETE FROM django_migrations WHERE name = '{name}'")  # noqa: S608
