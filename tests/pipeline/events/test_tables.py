"""Upload, checks, comparison and recovery cover every table that tills write, sales included.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `store` is a store,
once on PostgreSQL and once on SQLite; `back_up` backs up a channel database; `back_up_hq` backs up
HQ; `recover_hq` calls the command and returns its document.
"""

import json
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection

from stores.channeldb.provision import renew_identity
from stores.channeldb.schema.tables import EVENT_TABLES, PART_TABLES
from stores.models import Incident, Quarantine, RetailTransaction
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.pipeline.events import tables
from tests.support.damage import damage, damage_channel
from tests.support.invariants import Invariant
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
from tests.support.promises import broken_promises, get_check

pytestmark = pytest.mark.slow

TABLES_OF_EVENTS = {table.name for table in EVENT_TABLES}
TABLES_OF_PARTS = {table.name for table in PART_TABLES}
ALL_TABLES = TABLES_OF_EVENTS | TABLES_OF_PARTS


def write_all_tables(database):
    """Write one event of each kind, and a sale of two articles paid with two tenders."""
    ann = make_customer(database)
    for kind in ("address", "contact", "affiliation", "attribute"):
        make_event(kind, database, async_account=ann)
    payments = [
        {"tender_type": "cash", "amount": "10.70", "currency": "USD"},
        {"tender_type": "card", "amount": "5.35", "currency": "USD"},
    ]
    make_sale(database, "10.00", "5.00", async_account=ann, payments=payments)


def count_rows():
    """The number of rows that HQ holds in each table."""
    counts = {}
    with connection.cursor() as cursor:
        for table in ALL_TABLES:
            cursor.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - names of the schema
            [counts[table]] = cursor.fetchone()
    return counts


@pytest.fixture
def reconcile(capsys):
    """Calls the command. Returns the kind and the table of each difference, by channel."""

    def call(*options):
        capsys.readouterr()
        with suppress(SystemExit):
            call_command("reconcile", "--json", *options)
        document = json.loads(capsys.readouterr().out)
        return {
            channel["channel"]: {(row["what"], row["table"]) for row in channel["differences"]}
            for channel in document["channels"]
        }

    return call


@pytest.mark.finding(id="V1")
def test_every_table_that_tills_write_is_uploaded():
    uploaded = {source.table for source in tables.UPLOAD_SOURCES}
    uploaded_parts = {part.table for source in tables.UPLOAD_SOURCES for part in source.parts}

    assert uploaded == TABLES_OF_EVENTS
    assert uploaded_parts == TABLES_OF_PARTS
    assert set(tables.TRAVELLING_TABLES) == ALL_TABLES


@pytest.mark.finding(id="V1")
@pytest.mark.fault("F-33")  # HQ was restored from a backup
def test_rows_that_a_restored_hq_lost_are_fetched_again(houston, popup, back_up_hq, recover_hq):
    backup = back_up_hq()
    for store in (houston, popup):
        write_all_tables(store)
    assert run(JobCode.PIPELINE)["counts"]["staged"] == 12
    before = count_rows()
    assert all(before.values())
    backup.restore()

    lost = get_check(Invariant.ACKNOWLEDGED_IS_AT_HQ).offending
    recovery = recover_hq()
    run(JobCode.PIPELINE)

    assert {(row["channel"], row["table"]) for row in lost} == {
        (store, table) for store in ("houston", "popup") for table in TABLES_OF_EVENTS
    }
    assert recovery["events"] == {"houston": 6, "popup": 6}
    assert count_rows() == before
    assert broken_promises() == []


@pytest.mark.finding(id="V1")
def test_a_comparison_fetches_rows_that_hq_has_lost(houston, popup, reconcile):
    for store in (houston, popup):
        write_all_tables(store)
    run(JobCode.PIPELINE)
    before = count_rows()
    damage("; ".join(f"DELETE FROM {table}" for table in ALL_TABLES))  # noqa: S608

    differences = reconcile("--fix")
    run(JobCode.PIPELINE)

    unknown_at_hq = {("unknown_at_hq", table) for table in TABLES_OF_EVENTS}
    assert differences == {"houston": unknown_at_hq, "popup": unknown_at_hq}
    assert count_rows() == before
    assert reconcile() == {"houston": set(), "popup": set()}


@pytest.mark.finding(id="V13")
@pytest.mark.fault("F-31")  # a channel was restored from a backup
def test_the_incident_of_a_restored_channel_lists_lost_events(store, back_up):
    backup = back_up(store)
    write_all_tables(store)
    quarantined = make_sale(store, currency="X")
    run(JobCode.PIPELINE)
    staged = RetailTransaction.objects.get().transaction_id
    backup.restore()

    run(JobCode.PIPELINE)

    lost = Incident.objects.get(kind=IncidentKind.CHANNEL_RESTORED).detail["forgotten"]
    assert lost.keys() == TABLES_OF_EVENTS
    assert lost["retail_transaction"]["count"] == 2
    assert lost["retail_transaction"]["numbers"] == [staged, quarantined]


@pytest.fixture
def four_sales(store) -> None:
    """Uploaded sales of one line each, T-1 to T-4, at prices of 1 to 4."""
    # Microseconds and an offset must not make a difference by themselves.
    occurred_at = "2026-03-01T10:00:00.123456+01:00"
    for transaction_id, price in (("T-1", "1"), ("T-2", "2"), ("T-3", "3"), ("T-4", "4")):
        make_sale(store, price, transaction_id=transaction_id, occurred_at=occurred_at)
    run(JobCode.UPLOAD)


@pytest.mark.finding(id="V14c")
def test_a_correction_at_headquarters_is_no_difference(store, four_sales, reconcile):
    damage("UPDATE retail_transaction_line SET price = 5 WHERE price = 4")

    assert broken_promises() == []
    assert reconcile() == {store.label: set()}


@pytest.mark.finding(id="V14c")
def test_a_sale_that_was_changed_in_its_channel_is_reported(store, four_sales, reconcile):
    damage_channel(
        store,
        "UPDATE retail_transaction SET staff_id = '7' WHERE transaction_id = 'T-1'",
        "DELETE FROM retail_transaction_line WHERE transaction_id = 'T-2'",
        """INSERT INTO retail_transaction_payment
                  (transaction_id, line_number, tender_type, amount, currency)
           VALUES ('T-3', 2, 'card', '1.00', 'USD')""",
    )

    assert len(get_check(Invariant.EVENTS_NEVER_CHANGE).offending) == 3
    assert reconcile() == {store.label: {("changed", "retail_transaction")}}
    assert len(Incident.objects.get(kind=IncidentKind.CONTENT_CHANGED).detail["keys"]) == 3


@pytest.fixture
def missing_header(store) -> dict[str, list[dict[str, Any]]]:
    """Two lines and a payment are in the channel without their header, which is returned."""
    rows = sale_rows(store, "10.00", "5.00", transaction_id="T-1")
    header = {"retail_transaction": rows.pop("retail_transaction")}
    write_rows(store, rows)
    run(JobCode.UPLOAD)
    return header


@pytest.mark.finding(id="V12")
def test_lines_and_payments_without_their_header_are_an_incident(store, missing_header, reconcile):
    skipped = get_check(Invariant.NO_EVENT_IS_SKIPPED).offending

    differences = reconcile("--fix")

    assert {row["table"] for row in skipped} == TABLES_OF_PARTS
    assert differences == {store.label: {("without_header", table) for table in TABLES_OF_PARTS}}
    incident = Incident.objects.open().get()
    assert incident.kind == IncidentKind.PARTS_ALONE
    # Once for its lines and once for its payment.
    assert incident.detail["keys"] == ["T-1", "T-1"]


@pytest.mark.finding(id="V12")
def test_lines_and_payments_are_fetched_once_their_header_is_there(
    store, missing_header, reconcile
):
    reconcile("--fix")
    write_rows(store, missing_header)

    run(JobCode.UPLOAD)

    assert reconcile() == {store.label: set()}
    assert not Incident.objects.open().exists()
    assert broken_promises() == []


@pytest.mark.finding(id="V14d")
def test_rows_with_an_unusable_id_are_fetched_again(popup, reconcile):
    for table in TABLES_OF_EVENTS:
        values = {"event_id": f"not a GUID in {table}", "occurred_at": "2026-03-01T10:00:00Z"}
        if table == "async_address":
            values["address_id"] = str(uuid4())
        if table == "async_contact":
            values["contact_id"] = str(uuid4())
        write(popup, table, values)
    run(JobCode.UPLOAD)
    assert Quarantine.objects.count() == len(TABLES_OF_EVENTS)
    assert broken_promises() == []
    # As if the channel were a copy, of whose rows HQ has never read any.
    damage("DELETE FROM quarantine")
    damage("UPDATE upload_session SET read = 0, quarantined = 0; DELETE FROM arrival")

    missing = get_check(Invariant.ACKNOWLEDGED_IS_AT_HQ).offending
    assert {row["table"] for row in missing} == TABLES_OF_EVENTS
    assert reconcile("--fix") == {"popup": {("unknown_at_hq", table) for table in TABLES_OF_EVENTS}}
    run(JobCode.UPLOAD)

    assert reconcile() == {"popup": set()}
    assert broken_promises() == []


@pytest.mark.finding(id="V14d")
def test_a_copied_channel_sends_rows_with_an_unusable_id_again(popup):
    write(popup, "async_customer", {"event_id": "nobody", "occurred_at": "2026-03-01T10:00:00Z"})
    make_customer(popup)
    run(JobCode.UPLOAD)

    with till(popup) as alias:
        renew_identity(alias)

    unacknowledged = "SELECT event_id FROM async_customer WHERE acknowledged_at IS NULL"
    assert query(popup, unacknowledged) == [("nobody",)]
