"""Poison: what no rule foresees is found row by row, what floods is set aside at once."""

import json
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from django.db import connection

from stores.channeldb.exchange import copy
from stores.channeldb.exchange.open import visit
from stores.models import (
    AsyncAttribute,
    AsyncCustomer,
    AttributeDefinition,
    Customer,
    Incident,
    Quarantine,
)
from stores.models.incident import IncidentKind
from stores.pipeline.events.rules import STAGED
from stores.pipeline.upload import staging, upload
from tests.support.make import make_customer, make_event, make_many, query, run, unacknowledged

pytestmark = pytest.mark.slow


@pytest.fixture
def poison(hq) -> Iterator[None]:
    """HQ's database refuses every customer called Poison, as no rule foresees."""
    with connection.cursor() as cursor:
        cursor.execute(
            """CREATE FUNCTION no_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.last_name = 'Poison' THEN
                   RAISE EXCEPTION 'Poison %', NEW.first_name;
                 END IF;
                 RETURN NEW; END $$;
               CREATE TRIGGER no_poison BEFORE INSERT ON async_customer FOR EACH ROW
                 EXECUTE FUNCTION no_poison()"""
        )
        yield
        cursor.execute("DROP FUNCTION no_poison CASCADE")


@pytest.mark.fault("F-59")
def test_of_a_thousand_rows_the_one_that_no_rule_foresees_is_found(store, poison):
    make_many(store, 500)
    bad = make_customer(store, "Canary", last_name="Poison")
    make_many(store, 499)

    found = run("P-0001")["counts"]

    assert found == {"read": 1000, "staged": 999, "quarantined": 1}
    kept = Quarantine.objects.get()
    assert (kept.reason, kept.async_account) == ("refused", bad)
    assert kept.rule == "SQLSTATE P0001"
    assert json.loads(bytes(kept.raw))["first_name"] == "Canary"
    assert unacknowledged(store) == 0


@pytest.mark.fault("F-60")
def test_ten_thousand_poison_rows_are_set_aside_at_once_and_the_channel_is_flagged(store):
    make_many(store, 10_000, last_name="L" * 61)
    make_customer(store, "Bo")

    found = run("P-0001")["counts"]
    again = run("P-0001")

    assert (found["quarantined"], found["staged"]) == (10_000, 1)
    assert again["outcome"] == "nothing_to_do"
    flagged = Incident.objects.get(kind=IncidentKind.MANY_QUARANTINED)
    assert (flagged.database, flagged.detail) == (store, {"quarantined": 10_000})


def test_a_connection_that_breaks_is_no_trouble_with_a_row(houston, monkeypatch):
    make_customer(houston)

    def lose(*args: object, **kwargs: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(staging, "copy_in", lose)
    found = run("P-0001")
    monkeypatch.undo()

    assert found["outcome"] == "failed"
    assert not Quarantine.objects.exists()
    assert unacknowledged(houston) == 1


def test_copy_data_is_cut_into_rows_and_put_together_again(store):
    make_customer(store, "Ann\t\\N", last_name=None, name="two\nlines\\")
    make_customer(store, "Bo")
    with visit(store) as channel:
        events = channel.read_events(upload.SOURCES, limit=10, beyond={})[0]

    rows = copy.split(events.data, binary=events.binary)

    assert copy.join(rows, binary=events.binary) == events.data
    source = upload.SOURCES[0]
    values = copy.values(rows[0], source.types, binary=events.binary)
    first = dict(zip(source.columns, values, strict=True))
    names = [first[column] for column in ("first_name", "last_name", "name")]
    assert names == ["Ann\t\\N", None, "two\nlines\\"]
    assert UUID(first["event_id"])


def test_a_row_that_comes_again_and_passes_by_now_is_no_longer_open(store):
    company = store.channel.company
    define = {"company": company, "name": "HAT", "options": ["S"]}
    definition = AttributeDefinition.objects.create(**define)
    make_event("attribute", store, async_account=uuid4(), attribute="HAT", value="XXL")
    run("P-0001")
    definition.delete()
    query(store, "UPDATE async_attribute SET acknowledged_at = NULL")

    run("P-0001")

    assert Quarantine.objects.get().status == "released"
    assert AsyncAttribute.objects.get().status == "pending"


def test_what_is_staged_already_is_not_judged_by_a_new_rule(store):
    make_customer(store, email="nobody@example.com")
    run("P-0001")
    query(store, "UPDATE async_customer SET acknowledged_at = NULL")
    AsyncCustomer.objects.update(email="nobody")

    run("P-0001")

    assert Quarantine.objects.get().reason == "event_conflict"


# Erased people: an account whose state is erased; how one comes to be so is not built yet.


def erase(account: str) -> None:
    Customer.objects.filter(account_number=account).update(
        state="erased", first_name=None, last_name=None, email=None
    )


@pytest.mark.fault("F-51")
@pytest.mark.parametrize("kind", ["customer", "address", "contact", "affiliation", "attribute"])
def test_an_event_of_an_erased_customer_is_acknowledged_and_leaves_nothing(store, kind):
    guid = make_customer(store, "Ann")
    run("pipeline")
    erase("005001")
    make_event(kind, store, async_account=guid, operation="update")

    found = run("pipeline")

    assert found["counts"] == {"read": 1, "erased": 1}
    assert unacknowledged(store) == 0
    row = STAGED[kind].objects.get(status="erased")
    assert row.customer.account_number == "005001"
    words = {"Lee", "Main Street", "Houston", "second@example.com", "STAFF", "SIZE", "M"}
    assert not words & {getattr(row, field.attname) for field in row._meta.concrete_fields}
    assert Customer.objects.get(account_number="005001").last_name is None


@pytest.mark.fault("F-51")
def test_a_bad_row_of_an_erased_customer_is_no_quarantined_copy_of_them(popup):
    guid = make_customer(popup, "Ann")
    run("pipeline")
    erase("005001")
    make_event("customer", popup, async_account=guid, last_name="Canary", email="nobody")
    make_event("customer", popup, async_account=guid, last_name="Canary", birth_date="yesterday")

    run("pipeline")

    assert b"Canary" not in b"".join(bytes(row.raw) for row in Quarantine.objects.all())
    assert not AsyncCustomer.objects.filter(last_name="Canary").exists()
