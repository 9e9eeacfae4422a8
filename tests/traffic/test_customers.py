"""Generated customers look like those of real tills, without reaching real people.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite.
"""
# ruff: noqa: S608 - the names put into SQL are those of the schema

import re
from datetime import datetime
from uuid import UUID

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from stores.channeldb.schema import tables
from stores.models import AsyncCustomer, ChannelDatabase, GuidMap, Quarantine
from stores.traffic import write_traffic
from stores.traffic.people import CUSTOMER_EVENT_TABLES
from stores.traffic.store import Store, day_of
from tests.support.event_rows import count_events, event_rows
from tests.support.make import query

SEED = 1010


def distinct(database, column, table):
    """The different values of a column."""
    return {value for (value,) in query(database, f"SELECT DISTINCT {column} FROM {table}")}


def test_the_result_counts_the_rows_that_were_written(store):
    result = write_traffic(store, customers=40, edits=10, faulty=0.2)

    assert result.rows == count_events(store)
    assert result.database == store.label
    assert result.faulty_customers == 8


def test_customers_have_a_realistic_number_of_addresses_and_contacts(store):
    write_traffic(store, customers=1000, seed=SEED)

    counts = count_events(store)
    assert counts["async_customer"] == 1000
    assert counts["async_address"] == pytest.approx(1300, rel=0.1)
    assert counts["async_contact"] == pytest.approx(1000, rel=0.1)
    assert counts["async_affiliation"] == pytest.approx(500, rel=0.15)
    assert counts["async_attribute"] == pytest.approx(1000, rel=0.1)


def test_values_respect_the_limits_and_choices_of_hq(store):
    write_traffic(store, customers=300, edits=60, seed=SEED)

    staged_models = {
        model._meta.db_table: model for model in apps.get_app_config("stores").get_models()
    }
    for table, rows in event_rows(store).items():
        columns = tables.TABLE_BY_NAME[table].columns
        fields = {field.name: field for field in staged_models[table]._meta.concrete_fields}
        texts = [
            (fields[column.name], row[place])
            for place, column in enumerate(columns)
            if column.kind == "text"
            for row in rows
        ]
        assert texts
        for field, value in texts:
            assert value is None or not field.max_length or len(value) <= field.max_length
            assert value is None or not field.choices or value in dict(field.flatchoices)


def test_every_guid_is_unique_and_canonical(store):
    write_traffic(store, customers=200, seed=SEED)

    rows = query(store, "SELECT event_id, async_account FROM async_customer")
    guids = [str(guid) for row in rows for guid in row]
    assert len(set(guids)) == 400
    assert all(str(UUID(guid)) == guid and UUID(guid).version == 4 for guid in guids)


def test_email_addresses_and_phone_numbers_are_not_real(store):
    write_traffic(store, customers=200, seed=SEED)

    for email in distinct(store, "email", "async_customer") - {None}:
        assert re.fullmatch(r"[a-z0-9.]+@example\.(com|nl|org)", email)
    for phone in distinct(store, "phone", "async_customer") - {None}:
        assert re.fullmatch(r"\+31 6 0\d{7}|\+1 \d{3} 555 01\d\d", phone)


def test_events_are_in_order_and_within_opening_hours(store):
    write_traffic(store, customers=100, seed=SEED)

    rows = query(store, "SELECT occurred_at FROM async_customer ORDER BY replication_counter")
    zone = Store.of(store, SEED).zone
    times = [datetime.fromisoformat(str(moment)).astimezone(zone) for (moment,) in rows]
    assert times == sorted(times)
    assert {time.date() for time in times} == {day_of(SEED)}
    assert all(9 <= time.hour < 21 for time in times)


@pytest.mark.parametrize("table", CUSTOMER_EVENT_TABLES[1:])
def test_addresses_and_the_like_belong_to_a_generated_customer(store, table):
    write_traffic(store, customers=100, seed=SEED)

    orphans = query(
        store,
        f"""SELECT count(*) FROM {table} child
             WHERE NOT EXISTS (SELECT 1 FROM async_customer customer
                                WHERE customer.async_account = child.async_account)""",
    )
    assert count_events(store)[table] > 0
    assert orphans == [(0,)]


def test_customers_differ_in_country_type_and_consent(store):
    write_traffic(store, customers=200, seed=SEED)

    assert distinct(store, "country", "async_address") == {"NLD", "USA"}
    assert distinct(store, "customer_type", "async_customer") == {"person", "organization"}
    # Yes, no and not asked.
    assert len(distinct(store, "marketing_opt_in", "async_contact")) == 3


def test_hq_is_only_read(store):
    database = ChannelDatabase.objects.get(pk=store.pk)

    with CaptureQueriesContext(connection) as queries:
        write_traffic(database, customers=20, edits=5, faulty=0.2)

    statements = [query["sql"] for query in queries]
    assert statements
    assert all(statement.startswith("SELECT") for statement in statements)
    for model in (AsyncCustomer, GuidMap, Quarantine):
        assert not model.objects.exists()


def test_tables_that_hq_writes_in_the_channel_are_unchanged(store):
    def hq_tables():
        return {
            table.name: query(store, f"SELECT * FROM {table.name}") for table in tables.HQ_TABLES
        }

    before = hq_tables()

    write_traffic(store, customers=20, edits=5, faulty=0.2)

    assert hq_tables() == before
