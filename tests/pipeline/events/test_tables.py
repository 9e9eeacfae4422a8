"""Whatever walks a channel walks all its tables, sales with their lines and payments included."""

import json
from contextlib import suppress
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection

from stores.channeldb.provision import renew_identity
from stores.channeldb.schema.tables import EVENT_TABLES, PART_TABLES
from stores.models import Incident, Quarantine, RetailTransaction
from stores.models.incident import IncidentKind
from stores.pipeline.events import tables
from tests.support.backups import HQBackup
from tests.support.damage import broken, check, damage, damage_channel
from tests.support.make import (
    make_customer,
    make_event,
    make_sale,
    query,
    run,
    sale_rows,
    till,
    write,
    write_rows,
)

pytestmark = pytest.mark.slow

EVENTS = {table.name for table in EVENT_TABLES}
EVERYTHING = EVENTS | {table.name for table in PART_TABLES}


def write_everything(database):
    """One event of each kind, and a sale of two articles paid with two tenders."""
    ann = make_customer(database)
    for kind in ("address", "contact", "affiliation", "attribute"):
        make_event(kind, database, async_account=ann)
    payments = [
        {"tender_type": "cash", "amount": "10.70", "currency": "USD"},
        {"tender_type": "card", "amount": "5.35", "currency": "USD"},
    ]
    make_sale(database, "10.00", "5.00", async_account=ann, payments=payments)


def rows_at_hq():
    """Table -> how many rows of it HQ holds."""
    with connection.cursor() as cursor:
        found = {}
        for table in EVERYTHING:
            cursor.execute(f"SELECT count(*) FROM {table}")  # noqa: S608
            found[table] = cursor.fetchone()[0]
    return found


@pytest.fixture
def compare(capsys):
    """Compares HQ with its channels: channel -> kind of difference and table."""

    def call(*words):
        capsys.readouterr()
        with suppress(SystemExit):
            call_command("reconcile", "--json", *words)
        found = json.loads(capsys.readouterr().out)
        return {
            channel["channel"]: {(row["what"], row["table"]) for row in channel["differences"]}
            for channel in found["channels"]
        }

    return call


def test_v1_the_list_of_what_is_sent_is_all_that_tills_write():
    assert set(tables.TABLES) == EVERYTHING
    assert {source.table for source in tables.SOURCES} == EVENTS
    assert {part.table for source in tables.SOURCES for part in source.parts} == EVERYTHING - EVENTS


@pytest.mark.fault("F-33")
def test_v1_what_hq_forgot_is_seen_and_comes_back_from_every_table(houston, popup, command):
    backup = HQBackup()
    try:
        for store in (houston, popup):
            write_everything(store)
        assert run("pipeline")["counts"]["staged"] == 12
        before = rows_at_hq()
        backup.restore()
    finally:
        backup.remove()

    lost = check("I7").offending
    found = json.loads(command("recover_hq", "--json"))
    run("pipeline")

    assert {(row["channel"], row["table"]) for row in lost} == {
        (store, table) for store in ("houston", "popup") for table in EVENTS
    }
    assert found["events"] == {"houston": 6, "popup": 6}
    assert rows_at_hq() == before
    assert all(before.values())
    assert broken() == {}


def test_v1_what_is_acknowledged_and_lost_is_mended_by_a_comparison(houston, popup, compare):
    for store in (houston, popup):
        write_everything(store)
    run("pipeline")
    before = rows_at_hq()
    damage("; ".join(f"DELETE FROM {table}" for table in EVERYTHING))  # noqa: S608

    assert compare("--fix") == {
        store: {("unknown_at_hq", table) for table in EVENTS} for store in ("houston", "popup")
    }
    run("pipeline")

    assert rows_at_hq() == before
    assert compare() == {"houston": set(), "popup": set()}


@pytest.mark.fault("F-31")
def test_v13_a_restored_channel_is_told_all_that_it_forgot(store, backed_up):
    backup = backed_up(store)
    write_everything(store)
    bad = make_sale(store, currency="X")
    run("pipeline")
    number = RetailTransaction.objects.get().transaction_id
    backup.restore()

    run("pipeline")

    forgotten = Incident.objects.get(kind=IncidentKind.CHANNEL_RESTORED).detail["forgotten"]
    assert set(forgotten) == EVENTS
    assert forgotten["retail_transaction"]["count"] == 2
    assert forgotten["retail_transaction"]["numbers"] == [number, bad]


def test_v14c_sales_that_a_channel_has_otherwise_than_it_sent_them_are_named(store, compare):
    early = {"occurred_at": "2026-03-01T10:00:00.123456+01:00"}
    header, line, payment, _ = (make_sale(store, price, **early) for price in "1234")
    run("P-0001")
    # What a person corrects at headquarters is no difference.
    damage("UPDATE retail_transaction_line SET price = 5 WHERE price = 4")
    assert broken() == {}
    assert compare() == {store.label: set()}

    damage_channel(
        store,
        f"UPDATE retail_transaction SET staff_id = '7' WHERE transaction_id = '{header}'",  # noqa: S608
        f"DELETE FROM retail_transaction_line WHERE transaction_id = '{line}'",  # noqa: S608
        f"""INSERT INTO retail_transaction_payment
                   (transaction_id, line_number, tender_type, amount, currency)
            VALUES ('{payment}', 2, 'card', '1.00', 'USD')""",  # noqa: S608
    )

    assert len(check("I40").offending) == 3
    assert compare() == {store.label: {("changed", "retail_transaction")}}
    assert len(Incident.objects.get(kind=IncidentKind.CONTENT_CHANGED).detail["keys"]) == 3


def test_v12_lines_and_payments_without_a_header_are_seen_and_fetched_once_it_is_there(
    store, compare
):
    rows = sale_rows(store, "10.00", "5.00")
    header = rows.pop("retail_transaction")
    write_rows(store, rows)
    run("P-0001")
    alone = {("without_header", table) for table in rows}

    assert {row["table"] for row in check("I8").offending} == set(rows)
    assert compare("--fix") == {store.label: alone}
    told = Incident.objects.open().get()
    assert told.kind == IncidentKind.PARTS_ALONE
    assert told.detail["keys"] == [header[0]["transaction_id"]] * 2

    write_rows(store, {"retail_transaction": header})
    run("P-0001")

    assert compare() == {store.label: set()}
    assert not Incident.objects.open().exists()
    assert broken() == {}


def test_v14d_rows_without_a_usable_id_are_found_in_a_copy_and_sent_again(popup, compare):
    for table in EVENTS:
        values = {"event_id": f"not a GUID in {table}", "occurred_at": "2026-03-01T10:00:00Z"}
        children = {"async_address": "address_id", "async_contact": "contact_id"}
        if table in children:
            values[children[table]] = str(uuid4())
        write(popup, table, values)
    run("P-0001")
    assert Quarantine.objects.count() == len(EVENTS)
    assert broken() == {}
    # As a copy that was taken for a new channel before its rows were fetched.
    damage("DELETE FROM quarantine")
    damage("UPDATE upload_session SET read = 0, quarantined = 0; DELETE FROM arrival")

    assert {row["table"] for row in check("I7").offending} == EVENTS
    assert compare("--fix") == {"popup": {("unknown_at_hq", table) for table in EVENTS}}
    run("P-0001")

    assert compare() == {"popup": set()}
    assert broken() == {}


def test_v14d_a_copy_sends_again_what_nobody_could_know_as_the_originals(popup):
    write(popup, "async_customer", {"event_id": "nobody", "occurred_at": "2026-03-01T10:00:00Z"})
    ann = make_customer(popup)
    run("P-0001")

    with till(popup) as alias:
        renew_identity(alias)

    assert query(popup, "SELECT event_id FROM async_customer WHERE acknowledged_at IS NULL") == [
        ("nobody",)
    ]
    assert ann
