"""A channel whose tables were changed is not visited, and an incident names the differences.

From conftest.py: `seattle` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite.
"""

import pytest

from stores.models import Incident
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from tests.support.channels import change
from tests.support.make import lookup, make_customer, run

DROP_INDEX = "DROP INDEX async_customer_waiting"
CREATE_INDEX = """CREATE INDEX async_customer_waiting ON async_customer (replication_counter)
                   WHERE acknowledged_at IS NULL"""


@pytest.mark.fault("F-28")  # a channel's schema was changed
def test_a_changed_channel_fails_alone_with_an_incident(store, seattle):
    make_customer(store, "Ann")
    make_customer(seattle, "Bo")
    change(store, DROP_INDEX)

    upload = run(JobCode.UPLOAD)

    assert upload["outcome"] == "partly"
    assert upload["counts"]["staged"] == 1
    incident = Incident.objects.open().get()
    assert (incident.kind, incident.database) == (IncidentKind.SCHEMA_DRIFT, store)
    assert incident.detail == {
        "differences": ["index async_customer.async_customer_waiting is missing"]
    }
    assert str(incident.message) in upload["message"]


@pytest.mark.slow
@pytest.mark.fault("F-28")  # a channel's schema was changed
def test_a_repaired_channel_goes_on_and_closes_its_incident(store):
    make_customer(store, "Ann")
    change(store, DROP_INDEX)
    run(JobCode.PIPELINE)
    run(JobCode.PIPELINE)
    incident = Incident.objects.open().get()
    assert incident.times > 1

    change(store, CREATE_INDEX)
    run(JobCode.PIPELINE)

    incident.refresh_from_db()
    assert incident.closing_reason == "The schema is correct again."
    assert lookup(store) == [("005001", "Ann")]


def test_a_dry_run_fails_and_opens_no_incident(store):
    change(store, DROP_INDEX)

    upload = run(JobCode.UPLOAD, dry_run=True)

    assert upload["outcome"] == "failed"
    assert not Incident.objects.exists()
