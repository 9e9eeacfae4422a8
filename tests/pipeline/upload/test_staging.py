"""Staging: rows that the database refuses are quarantined one by one, however many there are.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `store` is a store, once on PostgreSQL and once on SQLite; `raise_on` lets HQ refuse
certain rows of a table.
"""

import json
from uuid import UUID, uuid4

import pytest
from django.db import connection

from stores.channeldb.exchange import copy
from stores.channeldb.exchange.open import visit
from stores.models import (
    AsyncAttribute,
    AttributeDefinition,
    Customer,
    Incident,
    Quarantine,
)
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.pipeline.events.tables import UPLOAD_SOURCES
from stores.pipeline.upload import staging
from tests.support.make import make_customer, make_event, make_many, query, run, unacknowledged
from tests.support.staged import overwrite_events

pytestmark = pytest.mark.slow


@pytest.mark.fault("F-59")  # one bad row among many
def test_of_a_thousand_rows_only_the_refused_one_is_quarantined(store, raise_on):
    raise_on("async_customer", "INSERT", "NEW.last_name = 'Refused'")
    make_many(store, 500)
    guid = make_customer(store, "Ann", last_name="Refused")
    make_many(store, 499)

    document = run(JobCode.UPLOAD)

    assert document["counts"] == {"read": 1000, "staged": 999, "quarantined": 1}
    row = Quarantine.objects.get()
    assert (row.reason, row.rule) == ("refused", "SQLSTATE P0001")
    assert row.async_account == guid
    assert json.loads(bytes(row.raw))["first_name"] == "Ann"
    assert unacknowledged(store) == 0


@pytest.mark.fault("F-60")  # thousands of bad rows
def test_ten_thousand_bad_rows_open_an_incident(store):
    longest = Customer._meta.get_field("last_name").max_length
    make_many(store, 10_000, last_name="L" * (longest + 1))
    make_customer(store, "Bo")

    document = run(JobCode.UPLOAD)

    assert document["counts"] == {"read": 10_001, "staged": 1, "quarantined": 10_000}
    incident = Incident.objects.get(kind=IncidentKind.MANY_QUARANTINED)
    assert (incident.database, incident.detail) == (store, {"quarantined": 10_000})
    assert run(JobCode.UPLOAD)["outcome"] == "nothing_to_do"


def test_a_lost_connection_fails_the_run_and_quarantines_nothing(houston, monkeypatch):
    make_customer(houston)

    def lose_connection(*args: object, **kwargs: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as patch:
        patch.setattr(staging, "copy_in", lose_connection)
        document = run(JobCode.UPLOAD)

    assert document["outcome"] == "failed"
    assert not Quarantine.objects.exists()
    assert unacknowledged(houston) == 1


def test_copy_data_is_split_into_rows_and_joined_again(store):
    make_customer(store, "Ann\t\\N", last_name=None, name="two\nlines\\")
    make_customer(store, "Bo")
    source = UPLOAD_SOURCES[0]
    with visit(store) as channel:
        [events, *_] = channel.read_events(UPLOAD_SOURCES, limit=10, beyond={})

    rows = copy.split_rows(events.data, binary=events.binary)

    assert copy.join_rows(rows, binary=events.binary) == events.data
    values = copy.row_values(rows[0], source.types, binary=events.binary)
    row = dict(zip(source.columns, values, strict=True))
    assert row["first_name"] == "Ann\t\\N"
    assert row["last_name"] is None
    assert row["name"] == "two\nlines\\"
    assert UUID(row["event_id"])


def test_an_upload_releases_a_quarantined_row_that_is_now_valid(store):
    definition = AttributeDefinition.objects.create(
        company=store.channel.company, name="HAT", options=["S"]
    )
    make_event("attribute", store, async_account=uuid4(), attribute="HAT", value="XXL")
    run(JobCode.UPLOAD)
    definition.delete()
    query(store, "UPDATE async_attribute SET acknowledged_at = NULL")

    run(JobCode.UPLOAD)

    assert Quarantine.objects.get().status == "released"
    assert AsyncAttribute.objects.get().status == "pending"


def test_a_staged_row_is_not_validated_again(store):
    make_customer(store, email="nobody@example.com")
    run(JobCode.UPLOAD)
    query(store, "UPDATE async_customer SET acknowledged_at = NULL")
    overwrite_events("async_customer", "email = 'nobody'")

    run(JobCode.UPLOAD)

    # Validated again, it would be refused for its e-mail.
    assert Quarantine.objects.get().reason == "event_conflict"
