"""Damage at HQ is named by the checks of verify, and so is a missing rule of its database."""

from uuid import uuid4

import pytest
from django.db import connection

from stores.models import Customer
from tests.support.damage import checks_failed_by, damage, without_constraint
from tests.support.make import make_event, run
from tests.support.promises import failed_checks

pytestmark = pytest.mark.slow

# A statement that damages HQ, and the checks that must fail afterwards.
DAMAGES = {
    "a customer vanished": (
        "DELETE FROM customer WHERE number = 5002",
        {"I3", "I13", "I15", "I17"},
    ),
    "the next number jumped": ("UPDATE number_sequence SET next = next + 5", {"I3"}),
    "the next number fell": ("UPDATE number_sequence SET next = 5001", {"I3", "I31"}),
    "the number sequence vanished": ("DELETE FROM number_sequence", {"I3", "I31"}),
    "an imported account took a number that is still to be issued": (
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
    "HQ lost a GUID": (
        "DELETE FROM guid_map WHERE customer_id = (SELECT id FROM customer WHERE number = 5001)",
        {"I2", "I13", "I17", "I29"},
    ),
    "staging lost its contacts": ("DELETE FROM async_contact", {"I7", "I10", "I11"}),
    "staging lost its addresses": ("DELETE FROM async_address", {"I7", "I10", "I11", "I15"}),
    "staging lost its customers": ("DELETE FROM async_customer", {"I7", "I10", "I11", "I13"}),
    "the quarantine was emptied": ("DELETE FROM quarantine", {"I7", "I11", "I15"}),
    "an upload session vanished": ("DELETE FROM upload_session", {"I11", "I29"}),
    "an upload counts rows that it did not read": (
        "UPDATE upload_session SET read = read + 1, staged = staged + 1",
        {"I11", "I29"},
    ),
    "a customer is to go to no channel": (
        "UPDATE customer SET change_no = NULL WHERE number = 5001",
        {"I13"},
    ),
    "a change was forgotten": (
        "DELETE FROM customer_change WHERE change_no = (SELECT max(change_no) FROM customer)",
        {"I13"},
    ),
    "a change took no number": (
        "UPDATE customer SET hq_version = hq_version + 1 WHERE number = 5001",
        {"I13", "I19"},
    ),
    "the company forgot changes": (
        "UPDATE company SET change_no = 1",
        {"I13", "I19"},
    ),
    "a position was noted that never was": (
        "UPDATE channel_database SET position = position + 1",
        {"I19"},
    ),
    "a package lost a row": (
        "UPDATE package_table SET rows = rows - 1 WHERE name = 'customer'",
        {"I19"},
    ),
    "a conversion was half done": (
        "UPDATE async_customer SET status = 'pending', applied_at = NULL",
        {"I10", "I13"},
    ),
    "a GUID was linked without a change": (
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, origin)
           SELECT gen_random_uuid(), company_id, customer_id, channel_id, 'linked' FROM guid_map""",
        {"I13", "I18"},
    ),
    "an address lost its owner": (
        "UPDATE customer_address SET customer_id = -customer_id",
        {"I15"},
    ),
    "an event was applied to another customer": (
        """UPDATE async_address SET customer_id = (SELECT max(id) FROM customer) + 1
            WHERE status = 'applied'""",
        {"I10", "I15"},
    ),
    "an event is of another company than its account": (
        "UPDATE async_customer SET company_id = 'NLRT'",
        {"I6"},
    ),
    "there is an event that no till wrote": (
        """INSERT INTO async_contact SELECT (jsonb_populate_record(c, jsonb_build_object(
                  'event_id', gen_random_uuid(), 'staged_at', c.staged_at - interval '1 day',
                  'replication_counter', 0))).* FROM async_contact c""",
        {"I9", "I11"},
    ),
    "a customer shows an event that does not exist": (
        "UPDATE customer SET event_counter = event_counter + 7 WHERE number = 5001",
        {"I10"},
    ),
    "a contact shows values that a later event replaced": (
        """UPDATE async_contact SET replication_counter = replication_counter + 1;
           INSERT INTO async_contact SELECT (jsonb_populate_record(c, jsonb_build_object(
                  'event_id', gen_random_uuid(),
                  'replication_counter', c.replication_counter - 1))).* FROM async_contact c""",
        {"I9", "I10", "I11"},
    ),
    "a quarantined row was truncated": (
        "UPDATE quarantine SET raw = substr(raw, 1, 9)",
        {"I12"},
    ),
    "a quarantined row is pending in staging as well": (
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
    "a field of an address was truncated": (
        "UPDATE customer_address SET street = left(street, 3)",
        {"I16"},
    ),
    "a worker has not extended its lease": (
        """UPDATE run_step SET status = 'running', ended_at = NULL,
                  lease_until = now() - interval '1 hour';
           UPDATE job_run SET status = 'running', ended_at = NULL
            WHERE id = (SELECT id FROM job_run ORDER BY created_at LIMIT 1)""",
        {"I29"},
    ),
    "a step has no end": ("UPDATE run_step SET ended_at = NULL", {"I29"}),
    "a step counts accounts that it did not create": (
        """UPDATE run_step SET counts = '{"converted": 9}' WHERE step = 'convert'""",
        {"I29"},
    ),
    "a run without steps left has not ended": (
        """UPDATE job_run SET status = 'running', ended_at = NULL
            WHERE id = (SELECT id FROM job_run ORDER BY created_at LIMIT 1)""",
        {"I29"},
    ),
    "a run with rows says that there was nothing to do": (
        "UPDATE job_run SET status = 'nothing_to_do'",
        {"I32"},
    ),
    "a customer is dated after its latest event": (
        "UPDATE customer SET event_at = event_at + interval '1 day' WHERE event_at IS NOT NULL",
        {"I34"},
    ),
    "an event was staged in the future": (
        "UPDATE async_customer SET staged_at = staged_at + interval '1 day'",
        {"I11", "I34"},
    ),
    "a download skipped a customer": (
        """UPDATE channel_database SET position = 0;
           UPDATE customer SET created_at = created_at - interval '1 hour',
                  modified_at = modified_at - interval '1 hour'""",
        {"I18"},
    ),
    "two steps have one fencing number": ("UPDATE run_step SET fencing_no = 1", {"I28"}),
    "a fencing number is higher than any that was issued": (
        "UPDATE run_step SET fencing_no = fencing_no + 1000000",
        {"I28"},
    ),
}


def test_damage_at_hq_fails_its_checks(ring):
    failed = {name: checks_failed_by(statement) for name, (statement, _) in DAMAGES.items()}

    assert failed == {name: checks for name, (_, checks) in DAMAGES.items()}


def test_an_event_that_conversion_skipped_fails_a_check(ring, houston):
    make_event("affiliation", houston, async_account=uuid4())
    run("pipeline")
    assert failed_checks() == {}

    damage("UPDATE async_affiliation SET reason = NULL, staged_at = staged_at - interval '1 hour'")

    assert {row["what"] for row in failed_checks()["I14"]} == {"passed by"}


def test_a_customer_who_shows_the_event_that_arrived_first_fails_a_check(ring, popup):
    ann = Customer.objects.get(first_name="Ann").account_number
    make_event("customer", popup, account_number=ann, first_name="Ann", operation="update")
    run("pipeline")
    assert failed_checks() == {}

    damage(
        """UPDATE customer SET (event_at, event_database, event_generation, event_counter) = (
                  SELECT least(occurred_at, staged_at), database_id, generation, replication_counter
                    FROM async_customer s WHERE s.customer_id = customer.id
                   ORDER BY staged_at LIMIT 1) WHERE first_name = 'Ann'"""
    )

    assert failed_checks().keys() == {"I33"}


# A constraint, a statement that it would refuse, and the check that names both.
REFUSED_BY_CONSTRAINT = {
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
        """INSERT INTO job_run (id, job, scope, status, channels, companies, started_by, stage,
                                counts, message, error)
           SELECT gen_random_uuid(), '1010', '*', 'queued', '[]', '[]', 'command', 1, '{}', '', ''
             FROM generate_series(1, 2)""",
        "I28",
    ),
}


@pytest.mark.parametrize("constraint", REFUSED_BY_CONSTRAINT)
def test_a_missing_constraint_fails_a_check_and_so_does_what_it_would_refuse(ring, constraint):
    statement, check = REFUSED_BY_CONSTRAINT[constraint]

    with without_constraint(constraint):
        [missing] = failed_checks()[check]
        damage(statement)
        damaged = failed_checks()[check]

    assert constraint in missing["missing"].split()
    assert len(damaged) > 1


@pytest.mark.parametrize(
    ("table", "trigger", "check"),
    [
        ("guid_map", "the_map_never_changes", "I5"),
        ("customer", "accounts_fit_their_sequence", "I3"),
        ("customer", "a_customer_is_never_deleted", "I3"),
        ("customer", "an_account_never_changes", "I4"),
        ("number_sequence", "the_next_number_never_falls", "I3"),
        ("customer", "a_change_takes_a_new_number", "I13"),
        ("customer", "changes_are_remembered", "I13"),
        ("company", "the_change_number_never_falls", "I13"),
        ("run_step", "fencing_numbers_only_grow", "I28"),
        ("customer_address", "ALL", "I15"),
    ],
)
def test_a_disabled_trigger_fails_a_check(hq, table, trigger, check):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        failed = failed_checks()
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")

    assert failed.keys() == {check}
    assert table in failed[check][0]["missing"]
