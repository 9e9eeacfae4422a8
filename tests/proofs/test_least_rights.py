"""The role that docs/channel-schema.md creates for HQ has the privileges it needs and no others.

From conftest.py: `popup` is a store on SQLite; `register` registers a channel by its code.
"""
# ruff: noqa: S608 - names of the schema

import logging
import re

import psycopg2
import pytest
from django.db import DatabaseError, connections, transaction

from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.url import till_url
from stores.channeldb.schema.grants import excess_privileges
from stores.channeldb.schema.tables import EVENT_TABLES, HQ_TABLES, PART_TABLES
from stores.models import ChannelDatabase
from stores.models.job import JobCode
from tests.support.channel_page import granted_roles
from tests.support.channels import Till
from tests.support.make import lookup, make_customer, make_event, run
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

TILL_TABLES = [*EVENT_TABLES, *PART_TABLES]
TILL_TABLE_NAMES = [table.name for table in TILL_TABLES]
TABLE_NAMES = [table.name for table in (*TILL_TABLES, *HQ_TABLES)]
FORBIDDEN_STATEMENTS = [
    *(f"DELETE FROM {name}" for name in TABLE_NAMES),
    *(f"TRUNCATE {name}" for name in TABLE_NAMES),
    *(f"ALTER TABLE {name} ADD COLUMN x int" for name in TABLE_NAMES),
    *(f"DROP TABLE {name}" for name in TABLE_NAMES),
    *(f"INSERT INTO {name} DEFAULT VALUES" for name in TILL_TABLE_NAMES),
    *(
        f"UPDATE {table.name} SET {column} = {column}"
        for table in TILL_TABLES
        for column in table.column_names
        if column not in ("acknowledged_at", "replication_counter")
    ),
    "ALTER TABLE async_customer DISABLE TRIGGER guard_delete",
    "DROP TRIGGER guard_delete ON async_customer",
    "CREATE TABLE own (n int)",
    "CREATE FUNCTION own() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "UPDATE django_migrations SET name = 'x'",
    "CREATE ROLE friend",
    "CREATE DATABASE own",
]


@pytest.fixture
def restricted_houston(register):
    """Houston, which HQ visits as the role of the documentation."""
    houston = register("houston")
    url = till_url(houston).replace("syncline@", "syncline_hq@")
    with granted_roles(houston):
        ChannelDatabase.objects.filter(pk=houston.pk).update(url=url)
        yield houston


@pytest.fixture
def hq_session(restricted_houston):
    """A session of HQ's role in Houston's database."""
    with connect(ChannelDatabase.objects.get(pk=restricted_houston.pk)) as alias:
        yield Till(alias)


def is_refused(session: Till, statement: str) -> bool:
    try:
        with transaction.atomic(using=session.alias):
            session.sql(statement)
    except DatabaseError as error:
        refusal = re.search("permission denied|must be owner|cannot run inside", str(error))
        return refusal is not None
    return False


def warnings_about_privileges(caplog) -> list[str]:
    messages = [record.getMessage() for record in caplog.records]
    return [message for message in messages if "more than" in message]


def test_the_pipeline_works_with_the_role(restricted_houston, popup):
    guid = make_customer(restricted_houston, "Ann")
    make_event("address", restricted_houston, async_account=guid)
    make_customer(popup, "Bo")

    document = run("pipeline")

    assert document["outcome"] == "succeeded"
    assert lookup(restricted_houston) == lookup(popup)
    assert broken_promises() == []


def test_the_role_can_do_nothing_else(hq_session):
    allowed = [sql for sql in FORBIDDEN_STATEMENTS if not is_refused(hq_session, sql)]

    assert allowed == []


def test_the_role_has_no_excess_privileges(hq_session):
    assert excess_privileges(connections[hq_session.alias]) == []


@pytest.mark.parametrize(
    ("statement", "warning"),
    [
        ("GRANT DELETE ON async_customer TO syncline_hq", "it has DELETE on async_customer"),
        ("GRANT UPDATE ON async_customer TO syncline_hq", "it has UPDATE on async_customer"),
        (
            "GRANT UPDATE (email) ON async_customer TO syncline_hq",
            "it has UPDATE on async_customer.email",
        ),
        ("GRANT TRUNCATE ON customer TO syncline_hq", "it has TRUNCATE on customer"),
        ("GRANT CREATE ON SCHEMA public TO syncline_hq", "it may make tables"),
        ("ALTER ROLE syncline_hq CREATEDB", "it may make roles or databases"),
        ("ALTER TABLE async_contact OWNER TO syncline_hq", "it owns async_contact"),
        ("ALTER ROLE syncline_hq SUPERUSER", "it is a superuser"),
    ],
)
def test_an_excess_privilege_is_logged_once(restricted_houston, caplog, statement, warning):
    owner = psycopg2.connect(till_url(restricted_houston))
    owner.cursor().execute(statement)
    owner.commit()
    owner.close()
    caplog.set_level(logging.WARNING, "stores")

    first_run = run(JobCode.UPLOAD)
    first_warnings = warnings_about_privileges(caplog)
    run(JobCode.UPLOAD)
    all_warnings = warnings_about_privileges(caplog)

    assert first_run["outcome"] == "nothing_to_do"
    assert len(first_warnings) == 1
    assert warning in first_warnings[0]
    assert all_warnings == first_warnings
