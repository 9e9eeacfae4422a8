"""Tables of a channel that somebody changed: the visit ends at once, and people are told."""

import pytest

from stores.models import Incident
from stores.models.incident import IncidentKind
from tests.support.channels import change
from tests.support.make import lookup, make_customer, run

WAITING = (
    "CREATE INDEX async_customer_waiting ON async_customer (replication_counter) "
    "WHERE acknowledged_at IS NULL"
)


@pytest.mark.fault("F-28")
def test_changed_channel_fails_alone_with_an_incident(store, seattle):
    make_customer(store, "Ann")
    make_customer(seattle, "Bo")
    change(store, "DROP INDEX async_customer_waiting")

    found = run("P-0001")

    assert found["outcome"] == "partly"
    assert found["counts"]["staged"] == 1
    [incident] = Incident.objects.open()
    assert (incident.kind, incident.database) == (IncidentKind.SCHEMA_DRIFT, store)
    assert incident.detail == {
        "differences": ["index async_customer.async_customer_waiting is missing"]
    }
    assert incident.message in found["message"]


@pytest.mark.slow
@pytest.mark.fault("F-28")
def test_repaired_channel_goes_on_and_closes_its_incident(store):
    make_customer(store, "Ann")
    change(store, "DROP INDEX async_customer_waiting")
    run("pipeline")
    run("pipeline")
    [incident] = Incident.objects.open()
    assert incident.times > 1

    change(store, WAITING)
    run("pipeline")

    incident.refresh_from_db()
    assert incident.closing_reason == "The schema is correct again."
    assert lookup(store) == [("005001", "Ann")]


def test_rehearsal_tells_and_writes_no_incident(store):
    change(store, "DROP INDEX async_customer_waiting")

    found = run("P-0001", dry_run=True)

    assert found["outcome"] == "failed"
    assert not Incident.objects.exists()
