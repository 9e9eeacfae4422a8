"""Verify names what is wrong at headquarters, and which of its database's rules is missing."""

from uuid import uuid4

import pytest
from django.db import connection

from stores.models import Customer
from tests.support.damage import broken, broken_by, damage, without
from tests.support.make import make_event, run

pytestmark = pytest.mark.slow

HQ_DAMAGE = {
    "a customer vanished": (
        "DELETE FROM customer WHERE number = 5002",
        {"I3", "I13", "I15", "I17"},
    ),
    "the next number jumped": ("UPDATE number_sequence SET next = next + 5", {"I3"}),
    "the next number fell": ("UPDATE number_sequence SET next = 5001", {"I3", "I31"}),
    "the number sequence vanished": ("DELETE FROM number_sequence", {"I3", "I31"}),
    "an imported account took a number to come": (
        "INSERT INTO customer (company_id, account_number) VALUES ('USRT', '005077')",
        {"I3"},
    ),
    "an account was renamed": (
        "UPDATE customer SET account_number = 'X-1' WHERE number = 5001",
        {"I4", "I5", "I17", "I19"},
    ),
    "two GUIDs were exchanged": (
        """UPDATE guid_map SET origin = 'linked', customer_id =
               (SELECT sum(customer_id) FROM guid_map) - customer_id""",
        {"I2", "I5", "I15", "I17", "I29"},
    ),
    "headquarters forgot a GUID": (
        "DELETE FROM guid_map WHERE customer_id = (SELECT id FROM customer WHERE number = 5001)",
        {"I2", "I13", "I17", "I29"},
    ),
    "staging lost its contacts": ("DELETE FROM async_contact", {"I7", "I10", "I11"}),
    "staging lost its addresses": ("DELETE FROM async_address", {"I7", "I10", "I11", "I15"}),
    "staging lost its customers": ("DELETE FROM async_customer", {"I7", "I10", "I11", "I13"}),
    "the quarantine was emptied": ("DELETE FROM quarantine", {"I7", "I11", "I15"}),
    "an upload session vanished": ("DELETE FROM upload_session", {"I11", "I29"}),
    "an upload counts rows it has not": (
        "UPDATE upload_session SET read = read + 1, staged = staged + 1",
        {"I11", "I29"},
    ),
    "a delivery vanished": (
        "DELETE FROM delivery WHERE database_id = (SELECT min(database_id) FROM delivery)",
        {"I13"},
    ),
    "a conversion was half done": (
        "UPDATE async_customer SET status = 'pending', applied_at = NULL",
        {"I10", "I13"},
    ),
    "a delivery was noted that never was": (
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, origin)
           SELECT gen_random_uuid(), company_id, customer_id, channel_id, 'linked' FROM guid_map""",
        {"I13", "I18"},
    ),
    "an address lost its owner": (
        "UPDATE customer_address SET customer_id = -customer_id",
        {"I15"},
    ),
    "an event went to a stranger": (
        """UPDATE async_address SET customer_id = (SELECT max(id) FROM customer) + 1
            WHERE status = 'applied'""",
        {"I10", "I15"},
    ),
    "an event is of another company than its account": (
        "UPDATE async_customer SET company_id = 'NLRT'",
        {"I6"},
    ),
    "an event that no till wrote": (
        """INSERT INTO async_contact SELECT (jsonb_populate_record(c, jsonb_build_object(
                  'event_id', gen_random_uuid(), 'staged_at', c.staged_at - interval '1 day',
                  'replication_counter', 0))).* FROM async_contact c""",
        {"I9", "I11"},
    ),
    "a customer shows an event that is not there": (
        "UPDATE customer SET event_counter = event_counter + 7 WHERE number = 5001",
        {"I10"},
    ),
    "a contact shows what a later event replaced": (
        """UPDATE async_contact SET replication_counter = replication_counter + 1;
           INSERT INTO async_contact SELECT (jsonb_populate_record(c, jsonb_build_object(
                  'event_id', gen_random_uuid(),
                  'replication_counter', c.replication_counter - 1))).* FROM async_contact c""",
        {"I9", "I10", "I11"},
    ),
    "a quarantined row was cut": (
        """UPDATE quarantine SET raw = substr(raw, 1, 9)""",
        {"I12"},
    ),
    "a quarantined row waits in staging as well": (
        """UPDATE quarantine SET event_id = (SELECT min(event_id::text)::uuid FROM async_address);
           UPDATE async_address SET status = 'pending', reason = 'parent_missing'""",
        {"I7", "I10", "I12", "I15"},
    ),
    "a failed event lost its reason": (
        """ALTER TABLE async_contact DROP CONSTRAINT asynccontact_failed_says_why;
           UPDATE async_contact SET status = 'failed', reason = NULL""",
        {"I10", "I14"},
    ),
    "a field of a customer was changed by hand": (
        "UPDATE customer SET last_name = 'X' WHERE number = 5001",
        {"I16"},
    ),
    "a field of an address was cut": (
        "UPDATE customer_address SET street = left(street, 3)",
        {"I16"},
    ),
    "a run is silent": (
        """UPDATE job_run SET status = 'running', ended_at = NULL,
                  lease_until = now() - interval '1 hour'
            WHERE id = (SELECT id FROM job_run ORDER BY created_at LIMIT 1)""",
        {"I29"},
    ),
    "a step has no end": ("UPDATE run_step SET ended_at = NULL", {"I29"}),
    "a step counts accounts that it did not give": (
        """UPDATE run_step SET counts = '{"converted": 9}' WHERE step = 'convert'""",
        {"I29"},
    ),
    "a lost run has no successor": (
        """UPDATE job_run SET status = 'lost', ended_at = ended_at - interval '1 hour'
            WHERE id = (SELECT id FROM job_run ORDER BY created_at LIMIT 1)""",
        {"I29"},
    ),
    "an idle run left rows": ("UPDATE job_run SET status = 'nothing_to_do'", {"I32"}),
    "a customer counts as later than it is": (
        "UPDATE customer SET event_at = event_at + interval '1 day' WHERE event_at IS NOT NULL",
        {"I34"},
    ),
    "an event was taken over tomorrow": (
        "UPDATE async_customer SET staged_at = staged_at + interval '1 day'",
        {"I11", "I34"},
    ),
    "a download passed a customer by": (
        """UPDATE delivery SET delivered_version = 0
            WHERE customer_id = (SELECT id FROM customer WHERE number = 5001);
           UPDATE customer SET created_at = created_at - interval '1 hour',
                  modified_at = modified_at - interval '1 hour'""",
        {"I18"},
    ),
    "two runs have one fencing number": ("UPDATE job_run SET fencing_no = 1", {"I28"}),
    "a fencing number is yet to come": (
        "UPDATE job_run SET fencing_no = fencing_no + 1000000",
        {"I28"},
    ),
}


def test_every_damage_at_headquarters_is_named(ring):
    found = {case: broken_by(statement) for case, (statement, _) in HQ_DAMAGE.items()}

    assert found == {case: named for case, (_, named) in HQ_DAMAGE.items()}


def test_a_conversion_that_passed_an_event_by_is_named(ring):
    make_event("affiliation", ring[0], async_account=uuid4())
    run("pipeline")
    assert broken() == {}

    damage("UPDATE async_affiliation SET reason = NULL, staged_at = staged_at - interval '1 hour'")

    assert {row["what"] for row in broken()["I14"]} == {"passed by"}


def test_an_event_that_won_only_because_it_came_last_is_named(ring):
    ann = Customer.objects.get(first_name="Ann").account_number
    make_event("customer", ring[1], account_number=ann, first_name="Ann", operation="update")
    run("pipeline")
    assert broken() == {}

    damage(
        """UPDATE customer SET (event_at, event_database, event_generation, event_counter) = (
                  SELECT least(occurred_at, staged_at), database_id, generation, replication_counter
                    FROM async_customer s WHERE s.customer_id = customer.id
                   ORDER BY staged_at LIMIT 1) WHERE first_name = 'Ann'"""
    )

    assert set(broken()) == {"I33"}


UNCONSTRAINED_DAMAGE = {
    "guid_map_pkey": (
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, origin)
           SELECT async_account, company_id, customer_id, channel_id, 'linked' FROM guid_map""",
        "I1",
    ),
    "account_is_unique_in_its_company": (
        """INSERT INTO customer (company_id, account_number)
           SELECT company_id, account_number FROM customer WHERE number IS NULL""",
        "I2",
    ),
    "one_guid_creates_an_account": (
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id)
           SELECT gen_random_uuid(), company_id, customer_id, channel_id FROM guid_map""",
        "I2",
    ),
    "number_is_issued_once_in_its_company": (
        "UPDATE customer SET number = 5001 WHERE number = 5002",
        "I3",
    ),
    "every_row_read_is_accounted_for": ("UPDATE upload_session SET read = read + 1", "I11"),
    "one_primary_address_per_purpose": (
        """INSERT INTO customer_address (address_id, customer_id, purpose, is_primary)
           SELECT gen_random_uuid(), customer_id, purpose, true FROM customer_address""",
        "I15",
    ),
    "one_live_run_per_job_and_scope": (
        """INSERT INTO job_run (id, job, scope, status, channels, companies, started_by, attempt,
                                counts, message, error)
           SELECT gen_random_uuid(), '1010', '*', 'queued', '[]', '[]', 'command', 1, '{}', '', ''
             FROM generate_series(1, 2)""",
        "I28",
    ),
}


@pytest.mark.parametrize("name", UNCONSTRAINED_DAMAGE)
def test_a_missing_constraint_and_what_it_would_have_refused_are_named(ring, name):
    statement, id = UNCONSTRAINED_DAMAGE[name]

    with without(name):
        missing = broken()[id]
        damage(statement)
        damaged = broken()[id]

    assert [row["missing"].split()[-3] for row in missing] == [name]
    assert len(damaged) > 1


@pytest.mark.parametrize(
    ("table", "trigger", "id"),
    [
        ("guid_map", "the_map_never_changes", "I5"),
        ("customer", "accounts_fit_their_sequence", "I3"),
        ("customer", "a_customer_is_never_deleted", "I3"),
        ("customer", "an_account_never_changes", "I4"),
        ("number_sequence", "the_next_number_never_falls", "I3"),
        ("delivery", "deliveries_have_customer_and_database", "I13"),
        ("job_run", "fencing_numbers_only_grow", "I28"),
        ("customer_address", "ALL", "I15"),
    ],
)
def test_a_trigger_that_is_switched_off_is_named(hq, table, trigger, id):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        found = broken()
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")

    assert set(found) == {id}
    assert table in found[id][0]["missing"]
