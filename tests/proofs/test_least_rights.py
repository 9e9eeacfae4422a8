"""The role that docs/channel-schema.md gives HQ: enough for the whole ring, and no more."""
# ruff: noqa: S608 - names of the schema

import logging

import psycopg2
import pytest
from django.db import connections

from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.url import till_url
from stores.channeldb.schema.grants import surplus_rights
from stores.channeldb.schema.tables import EVENT_TABLES, HQ_TABLES, PART_TABLES
from stores.models import ChannelDatabase
from stores.pipeline.integrity.verify import verify
from tests.support.channel_page import grant
from tests.support.channels import Channel, Till, on_server
from tests.support.make import lookup, make_customer, make_event, run

pytestmark = pytest.mark.slow


@pytest.fixture
def humble(register):
    """Houston, visited as the role of the page."""
    houston = register("houston")
    grant(Channel(houston.pk, houston.url))
    url = till_url(houston).replace("syncline@", "syncline_hq@")
    ChannelDatabase.objects.filter(pk=houston.pk).update(url=url)
    yield houston
    on_server("DROP DATABASE ch_houston WITH (FORCE)")
    for role in ("houston_till", "syncline_hq"):
        on_server(f"DROP ROLE {role}")


@pytest.fixture
def hq_role(humble):
    """An open channel, as that role."""
    with connect(ChannelDatabase.objects.get(pk=humble.pk)) as alias:
        yield Till(alias)


def test_whole_ring_works_with_the_role(humble, popup):
    guid = make_customer(humble, "Ann")
    make_event("address", humble, async_account=guid)
    make_customer(popup, "Bo")

    found = run("pipeline")

    assert found["outcome"] == "succeeded"
    assert sorted(lookup(humble)) == sorted(lookup(popup))
    assert [check.id for check in verify() if not check.ok] == []


EVERYWHERE = [table.name for table in (*EVENT_TABLES, *PART_TABLES, *HQ_TABLES)]
TILLS = [table.name for table in (*EVENT_TABLES, *PART_TABLES)]
REFUSED = [
    *(f"DELETE FROM {name}" for name in EVERYWHERE),
    *(f"TRUNCATE {name}" for name in EVERYWHERE),
    *(f"ALTER TABLE {name} ADD COLUMN x int" for name in EVERYWHERE),
    *(f"DROP TABLE {name}" for name in EVERYWHERE),
    *(f"INSERT INTO {name} DEFAULT VALUES" for name in TILLS),
    *(
        f"UPDATE {table.name} SET {column} = {column}"
        for table in (*EVENT_TABLES, *PART_TABLES)
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


def test_role_can_do_nothing_else(hq_role):
    for statement in REFUSED:
        with hq_role.refused("permission denied|must be owner|cannot run inside"):
            hq_role.sql(statement)


def test_role_of_the_page_has_no_surplus_rights(hq_role):
    assert surplus_rights(connections[hq_role.alias]) == []


@pytest.mark.parametrize(
    ("more", "told"),
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
def test_surplus_right_is_told_at_the_first_visit(humble, caplog, more, told):
    owner = psycopg2.connect(till_url(humble))
    owner.cursor().execute(more)
    owner.commit()
    owner.close()
    caplog.set_level(logging.WARNING, "stores")

    first = run("P-0001")
    said = [record.getMessage() for record in caplog.records if "more than" in record.getMessage()]
    run("P-0001")
    again = [record for record in caplog.records if "more than" in record.getMessage()]

    assert first["outcome"] == "nothing_to_do"
    assert len(said) == len(again) == 1
    assert told in said[0]
