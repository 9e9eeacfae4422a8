"""Damage at HQ is named by the checks of verify, and so is a missing rule of its database.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `ring` has houston and popup after a run, with Ann, Bo and two quarantined addresses.
"""

from uuid import uuid4

import pytest
from django.db import connection

from stores.models import Customer
from stores.models.job import JobCode
from tests.support.damage import checks_failed_by, damage, without_constraint
from tests.support.invariants import Invariant
from tests.support.make import make_event, run
from tests.support.promises import failed_checks

pytestmark = pytest.mark.slow

# A statement that damages HQ, and the checks that must fail afterwards.
DAMAGES = {
    "a customer vanished": (
        "DELETE FROM customer WHERE number = 5002",
        {
            Invariant.NUMBERS_HAVE_NO_GAPS,
            Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER,
            Invariant.ADDRESS_HAS_ONE_OWNER,
            Invariant.CHANNEL_KNOWS_HQ_ACCOUNTS,
        },
    ),
    "the next number jumped": (
        "UPDATE number_sequence SET next = next + 5",
        {Invariant.NUMBERS_HAVE_NO_GAPS},
    ),
    "the next number fell": (
        "UPDATE number_sequence SET next = 5001",
        {Invariant.NUMBERS_HAVE_NO_GAPS, Invariant.NO_NUMBER_IS_AHEAD_OF_HQ},
    ),
    "the number sequence vanished": (
        "DELETE FROM number_sequence",
        {Invariant.NUMBERS_HAVE_NO_GAPS, Invariant.NO_NUMBER_IS_AHEAD_OF_HQ},
    ),
    "an imported account took a number that is still to be issued": (
        "INSERT INTO customer (company_id, account_number) VALUES ('USRT', '005077')",
        {Invariant.NUMBERS_HAVE_NO_GAPS},
    ),
    "an account was renamed": (
        "UPDATE customer SET account_number = 'X-1' WHERE number = 5001",
        {
            Invariant.NUMBERS_FOLLOW_THE_FORMAT,
            Invariant.GUID_KEEPS_ITS_ACCOUNT,
            Invariant.CHANNEL_KNOWS_HQ_ACCOUNTS,
            Invariant.CHANNEL_HOLDS_WHAT_IT_SAYS,
        },
    ),
    "two GUIDs were exchanged": (
        """UPDATE guid_map SET origin = 'linked', customer_id =
               (SELECT sum(customer_id) FROM guid_map) - customer_id""",
        {
            Invariant.ONE_GUID_CREATES_AN_ACCOUNT,
            Invariant.GUID_KEEPS_ITS_ACCOUNT,
            Invariant.LATEST_EVENT_IS_SHOWN,
            Invariant.ADDRESS_HAS_ONE_OWNER,
            Invariant.CHANNEL_KNOWS_HQ_ACCOUNTS,
            Invariant.EVERY_RUN_ENDS,
        },
    ),
    "HQ lost a GUID": (
        "DELETE FROM guid_map WHERE customer_id = (SELECT id FROM customer WHERE number = 5001)",
        {
            Invariant.ONE_GUID_CREATES_AN_ACCOUNT,
            Invariant.LATEST_EVENT_IS_SHOWN,
            Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER,
            Invariant.CHANNEL_KNOWS_HQ_ACCOUNTS,
            Invariant.EVERY_RUN_ENDS,
        },
    ),
    "staging lost its contacts": (
        "DELETE FROM async_contact",
        {
            Invariant.ACKNOWLEDGED_IS_AT_HQ,
            Invariant.LATEST_EVENT_IS_SHOWN,
            Invariant.EVERY_ROW_READ_IS_COUNTED,
        },
    ),
    "staging lost its addresses": (
        "DELETE FROM async_address",
        {
            Invariant.ACKNOWLEDGED_IS_AT_HQ,
            Invariant.LATEST_EVENT_IS_SHOWN,
            Invariant.EVERY_ROW_READ_IS_COUNTED,
            Invariant.ADDRESS_HAS_ONE_OWNER,
        },
    ),
    "staging lost its customers": (
        "DELETE FROM async_customer",
        {
            Invariant.ACKNOWLEDGED_IS_AT_HQ,
            Invariant.LATEST_EVENT_IS_SHOWN,
            Invariant.EVERY_ROW_READ_IS_COUNTED,
            Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER,
        },
    ),
    "the quarantine was emptied": (
        "DELETE FROM quarantine",
        {
            Invariant.ACKNOWLEDGED_IS_AT_HQ,
            Invariant.EVERY_ROW_READ_IS_COUNTED,
            Invariant.ADDRESS_HAS_ONE_OWNER,
        },
    ),
    "an upload session vanished": (
        "DELETE FROM upload_session",
        {Invariant.EVERY_ROW_READ_IS_COUNTED, Invariant.EVERY_RUN_ENDS},
    ),
    "an upload counts rows that it did not read": (
        "UPDATE upload_session SET read = read + 1, staged = staged + 1",
        {Invariant.EVERY_ROW_READ_IS_COUNTED, Invariant.EVERY_RUN_ENDS},
    ),
    "a customer is to go to no channel": (
        "UPDATE customer SET change_no = NULL WHERE number = 5001",
        {Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER},
    ),
    "a change was forgotten": (
        "DELETE FROM customer_change WHERE change_no = (SELECT max(change_no) FROM customer)",
        {Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER},
    ),
    "a change took no number": (
        "UPDATE customer SET hq_version = hq_version + 1 WHERE number = 5001",
        {Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER, Invariant.CHANNEL_HOLDS_WHAT_IT_SAYS},
    ),
    "the company forgot changes": (
        "UPDATE company SET change_no = 1",
        {Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER, Invariant.CHANNEL_HOLDS_WHAT_IT_SAYS},
    ),
    "a position was noted that never was": (
        "UPDATE channel_database SET position = position + 1",
        {Invariant.CHANNEL_HOLDS_WHAT_IT_SAYS},
    ),
    "a package lost a row": (
        "UPDATE package_table SET rows = rows - 1 WHERE name = 'customer'",
        {Invariant.CHANNEL_HOLDS_WHAT_IT_SAYS},
    ),
    "a conversion was half done": (
        "UPDATE upload_batch SET converted_at = NULL, run_id = NULL",
        {Invariant.LATEST_EVENT_IS_SHOWN, Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER},
    ),
    "a GUID was linked without a change": (
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, origin)
           SELECT gen_random_uuid(), company_id, customer_id, channel_id, 'linked' FROM guid_map""",
        {Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER, Invariant.EVERY_CHANNEL_GETS_EVERY_ACCOUNT},
    ),
    "an address lost its owner": (
        "UPDATE customer_address SET customer_id = -customer_id",
        {Invariant.ADDRESS_HAS_ONE_OWNER},
    ),
    "an address was given to another customer": (
        """UPDATE customer_address SET is_primary = false, customer_id = (
               SELECT max(id) FROM customer WHERE id <> customer_address.customer_id)""",
        {Invariant.LATEST_EVENT_IS_SHOWN, Invariant.ADDRESS_HAS_ONE_OWNER},
    ),
    "an upload batch vanished": (
        "DELETE FROM upload_batch",
        {
            Invariant.LATEST_EVENT_IS_SHOWN,
            Invariant.EVERY_ROW_READ_IS_COUNTED,
            Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER,
        },
    ),
    "a batch counts events that it does not have": (
        "UPDATE upload_batch SET rows = rows + 1",
        {Invariant.EVERY_ROW_READ_IS_COUNTED},
    ),
    "an event is of another company than its account": (
        "UPDATE async_customer SET company_id = 'NLRT'",
        {Invariant.COMPANIES_STAY_APART},
    ),
    "there is an event that no till wrote": (
        """INSERT INTO async_contact
           SELECT (jsonb_populate_record(contact, jsonb_build_object(
                      'event_id', gen_random_uuid(),
                      'staged_at', contact.staged_at - interval '1 day',
                      'replication_counter', 0))).*
             FROM async_contact contact""",
        {Invariant.HQ_INVENTS_NO_EVENT, Invariant.EVERY_ROW_READ_IS_COUNTED},
    ),
    "a customer shows an event that does not exist": (
        "UPDATE customer SET event_counter = event_counter + 7 WHERE number = 5001",
        {Invariant.LATEST_EVENT_IS_SHOWN},
    ),
    "a contact shows values that a later event replaced": (
        """UPDATE async_contact SET replication_counter = replication_counter + 1;
           INSERT INTO async_contact
           SELECT (jsonb_populate_record(contact, jsonb_build_object(
                      'event_id', gen_random_uuid(),
                      'replication_counter', contact.replication_counter - 1))).*
             FROM async_contact contact""",
        {
            Invariant.HQ_INVENTS_NO_EVENT,
            Invariant.LATEST_EVENT_IS_SHOWN,
            Invariant.EVERY_ROW_READ_IS_COUNTED,
        },
    ),
    "a quarantined row was truncated": (
        "UPDATE quarantine SET raw = substr(raw, 1, 9)",
        {Invariant.QUARANTINE_KEEPS_ROWS_WHOLE},
    ),
    "a quarantined row is pending in staging as well": (
        """UPDATE quarantine SET event_id = (SELECT min(event_id::text)::uuid FROM async_address);
           INSERT INTO open_event ("table", event_id, batch_id, company_id, status, reason)
           SELECT 'async_address', event_id, batch_id, company_id, 'waiting', 'parent_missing'
             FROM async_address""",
        {
            Invariant.ACKNOWLEDGED_IS_AT_HQ,
            Invariant.LATEST_EVENT_IS_SHOWN,
            Invariant.QUARANTINE_KEEPS_ROWS_WHOLE,
            Invariant.ADDRESS_HAS_ONE_OWNER,
        },
    ),
    "a failed event lost its reason": (
        """ALTER TABLE open_event DROP CONSTRAINT a_failed_event_says_why,
                  DROP CONSTRAINT a_waiting_event_has_a_reason_or_was_released;
           INSERT INTO open_event ("table", event_id, batch_id, company_id, status)
           SELECT 'async_contact', event_id, batch_id, company_id, 'failed' FROM async_contact""",
        {Invariant.LATEST_EVENT_IS_SHOWN, Invariant.WAITING_HAS_A_REASON},
    ),
    "a field of a customer was changed by hand": (
        "UPDATE customer SET last_name = 'X' WHERE number = 5001",
        {Invariant.FIELDS_ARE_AS_WRITTEN},
    ),
    "a field of an address was truncated": (
        "UPDATE customer_address SET street = left(street, 3)",
        {Invariant.FIELDS_ARE_AS_WRITTEN},
    ),
    "a worker has not extended its lease": (
        """UPDATE run_step SET status = 'running', ended_at = NULL,
                  lease_until = now() - interval '1 hour';
           UPDATE job_run SET status = 'running', ended_at = NULL
            WHERE id = (SELECT id FROM job_run ORDER BY created_at LIMIT 1)""",
        {Invariant.EVERY_RUN_ENDS},
    ),
    "a step has no end": ("UPDATE run_step SET ended_at = NULL", {Invariant.EVERY_RUN_ENDS}),
    "a step counts accounts that it did not create": (
        """UPDATE run_step SET counts = '{"converted": 9}' WHERE step = 'convert'""",
        {Invariant.EVERY_RUN_ENDS},
    ),
    "a run without steps left has not ended": (
        """UPDATE job_run SET status = 'running', ended_at = NULL
            WHERE id = (SELECT id FROM job_run ORDER BY created_at LIMIT 1)""",
        {Invariant.EVERY_RUN_ENDS},
    ),
    "a run with rows says that there was nothing to do": (
        "UPDATE job_run SET status = 'nothing_to_do'",
        {Invariant.IDLE_RUN_LEAVES_NOTHING},
    ),
    "a customer is dated after its latest event": (
        "UPDATE customer SET event_at = event_at + interval '1 day' WHERE event_at IS NOT NULL",
        {Invariant.NO_EVENT_IS_FROM_THE_FUTURE},
    ),
    "an event was staged in the future": (
        "UPDATE async_customer SET staged_at = staged_at + interval '1 day'",
        {Invariant.EVERY_ROW_READ_IS_COUNTED, Invariant.NO_EVENT_IS_FROM_THE_FUTURE},
    ),
    "a download skipped a customer": (
        """UPDATE channel_database SET position = 0;
           UPDATE customer SET created_at = created_at - interval '1 hour',
                  modified_at = modified_at - interval '1 hour'""",
        {Invariant.EVERY_CHANNEL_GETS_EVERY_ACCOUNT},
    ),
    "two steps have one fencing number": (
        "UPDATE run_step SET fencing_no = 1",
        {Invariant.ONE_LIVE_RUN},
    ),
    "a fencing number is higher than any that was issued": (
        "UPDATE run_step SET fencing_no = fencing_no + 1000000",
        {Invariant.ONE_LIVE_RUN},
    ),
}


def test_damage_at_hq_fails_its_checks(ring):
    failed = {name: checks_failed_by(statement) for name, (statement, _) in DAMAGES.items()}

    assert failed == {name: checks for name, (_, checks) in DAMAGES.items()}


def test_an_event_that_conversion_skipped_fails_a_check(ring, houston):
    make_event("affiliation", houston, async_account=uuid4())
    run(JobCode.PIPELINE)
    assert failed_checks() == {}

    damage("UPDATE open_event SET reason = NULL, released_at = now() - interval '1 hour'")

    assert {row["what"] for row in failed_checks()[Invariant.WAITING_HAS_A_REASON]} == {"passed by"}


def test_a_customer_showing_an_outdated_event_fails_a_check(ring, popup):
    ann = Customer.objects.get(first_name="Ann").account_number
    make_event("customer", popup, account_number=ann, first_name="Ann", operation="update")
    run(JobCode.PIPELINE)
    assert failed_checks() == {}

    damage(
        """UPDATE customer
              SET (event_at, event_database, event_generation, event_counter) = (
                      SELECT least(occurred_at, staged_at), database_id, generation,
                             replication_counter
                        FROM staged_customer
                       WHERE staged_customer.customer_id = customer.id
                       ORDER BY staged_at
                       LIMIT 1)
            WHERE first_name = 'Ann'"""
    )

    assert failed_checks().keys() == {Invariant.ARRIVAL_ORDER_IS_IRRELEVANT}


# A constraint, a statement that it would refuse, and the check that names both.
REFUSED_BY_CONSTRAINT = {
    "guid_map_pkey": (
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, origin)
           SELECT async_account, company_id, customer_id, channel_id, 'linked' FROM guid_map""",
        Invariant.ONE_ACCOUNT_PER_GUID,
    ),
    "account_is_unique_in_its_company": (
        """INSERT INTO customer (company_id, account_number)
           SELECT company_id, account_number FROM customer WHERE number IS NULL""",
        Invariant.ONE_GUID_CREATES_AN_ACCOUNT,
    ),
    "one_guid_creates_an_account": (
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id)
           SELECT gen_random_uuid(), company_id, customer_id, channel_id FROM guid_map""",
        Invariant.ONE_GUID_CREATES_AN_ACCOUNT,
    ),
    "number_is_issued_once_in_its_company": (
        "UPDATE customer SET number = 5001 WHERE number = 5002",
        Invariant.NUMBERS_HAVE_NO_GAPS,
    ),
    "every_row_read_is_accounted_for": (
        "UPDATE upload_session SET read = read + 1",
        Invariant.EVERY_ROW_READ_IS_COUNTED,
    ),
    "one_primary_address_per_purpose": (
        """INSERT INTO customer_address (address_id, customer_id, purpose, is_primary)
           SELECT gen_random_uuid(), customer_id, purpose, true FROM customer_address""",
        Invariant.ADDRESS_HAS_ONE_OWNER,
    ),
    "one_live_run_per_job_and_scope": (
        """INSERT INTO job_run (id, job, scope, status, channels, companies, started_by, stage,
                                counts, message, error)
           SELECT gen_random_uuid(), '1010', '*', 'queued', '[]', '[]', 'command', 1, '{}', '[]', ''
             FROM generate_series(1, 2)""",
        Invariant.ONE_LIVE_RUN,
    ),
}


@pytest.mark.parametrize("constraint", REFUSED_BY_CONSTRAINT)
def test_a_missing_constraint_and_what_it_forbids_fail_checks(ring, constraint):
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
        ("guid_map", "the_map_never_changes", Invariant.GUID_KEEPS_ITS_ACCOUNT),
        ("customer", "accounts_fit_their_sequence", Invariant.NUMBERS_HAVE_NO_GAPS),
        ("customer", "a_customer_is_never_deleted", Invariant.NUMBERS_HAVE_NO_GAPS),
        ("customer", "an_account_never_changes", Invariant.NUMBERS_FOLLOW_THE_FORMAT),
        ("number_sequence", "the_next_number_never_falls", Invariant.NUMBERS_HAVE_NO_GAPS),
        ("customer", "a_change_takes_a_new_number", Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER),
        ("customer", "changes_are_remembered", Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER),
        ("company", "the_change_number_never_falls", Invariant.ACCOUNT_AND_CHANGE_COME_TOGETHER),
        ("run_step", "fencing_numbers_only_grow", Invariant.ONE_LIVE_RUN),
        ("customer_address", "ALL", Invariant.ADDRESS_HAS_ONE_OWNER),
    ],
)
def test_a_disabled_trigger_fails_a_check(hq, table, trigger, check):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        failed = failed_checks()
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")

    assert failed.keys() == {check}
    assert table in failed[check][0]["missing"]
