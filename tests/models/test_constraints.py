"""Every constraint and trigger of HQ's database refuses raw SQL that violates it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction
from django.db.models import CheckConstraint, UniqueConstraint
from django.utils import timezone

from stores.models import (
    AttributeDefinition,
    Channel,
    ChannelDatabase,
    ChannelDatabaseGroup,
    Company,
    Customer,
    CustomerAddress,
    CustomerContact,
    DownloadSession,
    GuidMap,
    JobRun,
    NumberSequence,
    Package,
    Quarantine,
    RtsAnswer,
    RtsToken,
    RunStep,
    StagedAddress,
    StagedAffiliation,
    StagedAttribute,
    StagedContact,
    StagedCustomer,
    UploadBatch,
    UploadSession,
)
from stores.pipeline.events.tables import STAGED_TABLES
from tests.support.hq import empty_hq
from tests.support.sale_constraints import RULES_OF_SALES, post_one_of_each
from tests.support.violations import Violation

pytestmark = pytest.mark.django_db


INSERT_CUSTOMER = "INSERT INTO customer (company_id, account_number, number) VALUES "
INSERT_GUID = (
    "INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, origin) VALUES "
)
INSERT_PACKAGE = """
    INSERT INTO package (company_id, from_no, to_no, latest_no, is_shortcut, is_all_new, customers,
                         rows, size_bytes, sha256) VALUES """
INSERT_EXCEPTION = """
    INSERT INTO download_exception (database_id, customer_id, reason, message, tries) VALUES """
INSERT_SESSION = """
    INSERT INTO download_session (id, database_id, package_id, status, job, parts, size_bytes,
                                  message, customers, rows)
    SELECT gen_random_uuid(), {}, p.id, 'available', '1010', 0, 0, '[]', 0, 0 FROM package p"""
INSERT_RANGE = """
    INSERT INTO download_range (database_id, is_shortcut, customers, rows, from_no, to_no,
                                latest_no, first_applied_at, last_applied_at, sessions)
    SELECT d.id, false, 0, 0, {} FROM channel_database d"""
INSERT_ADDRESS = (
    "INSERT INTO customer_address (address_id, customer_id, purpose, is_primary) VALUES "
)
INSERT_CONTACT = "INSERT INTO customer_contact (contact_id, customer_id, kind, is_primary) VALUES "
INSERT_AFFILIATION = """
    INSERT INTO affiliation (company_id, description, is_hidden, name)
    VALUES ('USRT', '', false, {})"""
INSERT_GROUP = """
    INSERT INTO customer_group (company_id, name, financial_dimensions, code)
    VALUES ('USRT', '', '', {})"""
INSERT_PROFILE = """
    INSERT INTO functionality_profile (code, name, create_customer_async, customer_order_mode)
    VALUES ({}, '', true, {})"""
INSERT_FEATURES = """
    INSERT INTO feature_set (multiple_contacts, company_id, async_addresses, enhanced_creation,
                             async_edit) VALUES (true, {})"""
ALL_FEATURES = INSERT_FEATURES.format("'USRT', true, true, true")
INSERT_SETTINGS = """
    INSERT INTO distributed_settings (database_id, job, settings, confirmed_at)
    SELECT %(houston_database)s, job, '{{}}', now() FROM (VALUES {}) AS sent (job)"""
UNFIT = "account and number do not fit the number sequence"

ACCOUNTS = [
    Violation(
        "a second account for one GUID",
        "guid_map_pkey",
        INSERT_GUID + "(%(ann_guid)s, 'USRT', %(bo)s, %(houston)s, 'linked')",
    ),
    Violation(
        "a second GUID that creates one account",
        "one_guid_creates_an_account",
        INSERT_GUID + "(gen_random_uuid(), 'USRT', %(ann)s, %(houston)s, 'created')",
    ),
    Violation(
        "a GUID whose customer is of another company",
        "guid_customer_and_channel_share_the_company",
        INSERT_GUID + "(gen_random_uuid(), 'USRT', %(zoe)s, %(houston)s, 'linked')",
    ),
    Violation(
        "a GUID whose channel is of another company",
        "guid_customer_and_channel_share_the_company",
        INSERT_GUID + "(gen_random_uuid(), 'USRT', %(ann)s, %(paris)s, 'linked')",
    ),
    Violation(
        "a GUID of a customer who does not exist",
        "guid_customer_and_channel_share_the_company",
        INSERT_GUID + "(gen_random_uuid(), 'USRT', 987654321, %(houston)s, 'linked')",
    ),
    Violation(
        "an unknown origin of a GUID",
        "guid_origin_is_known",
        INSERT_GUID + "(gen_random_uuid(), 'USRT', %(ann)s, %(houston)s, 'guessed')",
    ),
    Violation(
        "a GUID that changes its account",
        "the_map_never_changes",
        "UPDATE guid_map SET customer_id = %(bo)s WHERE async_account = %(ann_guid)s",
        "guid_map: update refused",
    ),
    Violation(
        "a GUID that loses its account",
        "the_map_never_changes",
        "DELETE FROM guid_map WHERE async_account = %(ann_guid)s",
        "guid_map: delete refused",
    ),
    Violation(
        "an emptied map", "the_map_never_changes", "TRUNCATE guid_map", "guid_map: truncate refused"
    ),
    Violation(
        "a customer of a company that does not exist",
        "its_company_exists",
        INSERT_CUSTOMER + "('GONE', 'OLD-2', NULL)",
    ),
    Violation(
        "a company that loses its customers",
        "a_company_with_customers_stays",
        "DELETE FROM company WHERE code = 'USRT'",
    ),
    Violation(
        "a company whose customers lose it",
        "a_company_with_customers_keeps_its_code",
        "UPDATE company SET code = 'USR2' WHERE code = 'USRT'",
    ),
    Violation(
        "emptied companies",
        "companies_are_never_truncated",
        "TRUNCATE company CASCADE",
        "company: truncate refused",
    ),
    Violation(
        "an account given twice in its company",
        "account_is_unique_in_its_company",
        INSERT_CUSTOMER + "('USRT', 'OLD-1', NULL)",
    ),
    Violation(
        "a number given twice in its company",
        "number_is_issued_once_in_its_company",
        INSERT_CUSTOMER + "('USRT', '5001', 5001)",
    ),
    Violation(
        "a number that is still to be issued",
        "accounts_fit_their_sequence",
        INSERT_CUSTOMER + "('USRT', '005005', 5005)",
        UNFIT,
    ),
    Violation(
        "a number before the first one",
        "accounts_fit_their_sequence",
        INSERT_CUSTOMER + "('USRT', '000042', 42)",
        UNFIT,
    ),
    Violation(
        "a number in a company without sequence",
        "accounts_fit_their_sequence",
        INSERT_CUSTOMER + "('NONE', '005001', 5001)",
        UNFIT,
    ),
    Violation(
        "an account that is not its number in the format",
        "accounts_fit_their_sequence",
        INSERT_CUSTOMER + "('USRT', '5004', 5004)",
        UNFIT,
    ),
    Violation(
        "an imported account that reads as a number to be issued",
        "accounts_fit_their_sequence",
        INSERT_CUSTOMER + "('USRT', '005999', NULL)",
        UNFIT,
    ),
    Violation(
        "a changed account",
        "an_account_never_changes",
        "UPDATE customer SET account_number = '005009' WHERE id = %(ann)s",
        "customer: update refused",
    ),
    Violation(
        "a changed number",
        "an_account_never_changes",
        "UPDATE customer SET number = NULL WHERE id = %(ann)s",
        "customer: update refused",
    ),
    Violation(
        "a customer who changes the company",
        "an_account_never_changes",
        "UPDATE customer SET company_id = 'EURT' WHERE id = %(old)s",
        "customer: update refused",
    ),
    Violation(
        "a deleted customer",
        "a_customer_is_never_deleted",
        "DELETE FROM customer WHERE id = %(old)s",
        "customer: delete refused",
    ),
    Violation(
        "emptied customers",
        "a_customer_is_never_deleted",
        "TRUNCATE customer CASCADE",
        "customer: truncate refused",
    ),
    Violation(
        "an unknown state of an account",
        "account_state_is_known",
        "UPDATE customer SET state = 'asleep' WHERE id = %(ann)s",
    ),
    Violation(
        "two customers with one id",
        "customer_pkey",
        "INSERT INTO customer (id, company_id, account_number) VALUES (%(ann)s, 'EURT', 'E')",
    ),
]
SEQUENCES = [
    Violation(
        "a next number that falls",
        "the_next_number_never_falls",
        "UPDATE number_sequence SET next = next - 1 WHERE company_id = 'USRT'",
        "number_sequence: update refused",
    ),
    Violation(
        "a format changed after use",
        "the_format_is_frozen_once_used",
        "UPDATE number_sequence SET format = 'C-######' WHERE company_id = 'USRT'",
        "number_sequence: update refused",
    ),
    Violation(
        "a start changed after use",
        "the_format_is_frozen_once_used",
        "UPDATE number_sequence SET start = 1 WHERE company_id = 'USRT'",
        "number_sequence: update refused",
    ),
    Violation(
        "a largest number that the format cannot hold",
        "the_largest_number_fits_the_format",
        "UPDATE number_sequence SET largest = 10000 WHERE company_id = 'USRT'",
    ),
    Violation(
        "a used sequence deleted",
        "a_used_sequence_is_never_deleted",
        "DELETE FROM number_sequence WHERE company_id = 'USRT'",
        "number_sequence: delete refused",
    ),
    Violation(
        "a truncated number sequence",
        "sequences_are_never_truncated",
        "TRUNCATE number_sequence",
        "number_sequence: truncate refused",
    ),
    Violation(
        "a range that comes to an imported account",
        "a_sequence_keeps_clear_of_imported_accounts",
        "UPDATE number_sequence SET largest = 5005 WHERE company_id = 'USRT';"
        " INSERT INTO customer (company_id, account_number) VALUES ('USRT', '005100');"
        " UPDATE number_sequence SET largest = 5999 WHERE company_id = 'USRT'",
        "number_sequence: an imported account lies in its range",
    ),
    Violation(
        "truncated channel databases",
        "a_database_is_never_deleted",
        "TRUNCATE channel_database CASCADE",
        "channel_database: truncate refused",
    ),
    Violation(
        "a fencing number taken away",
        "fencing_numbers_only_grow",
        "UPDATE run_step SET fencing_no = NULL",
        "run_step: update refused",
    ),
    Violation(
        "a next number before the first",
        "next_number_is_in_range",
        "UPDATE number_sequence SET start = 7 WHERE company_id = 'EURT'",
    ),
    Violation(
        "a number beyond the largest",
        "no_number_beyond_the_largest",
        "UPDATE number_sequence SET next = 6001 WHERE company_id = 'USRT'",
    ),
    Violation(
        "a format with two runs of #",
        "number_format_has_one_run",
        "UPDATE number_sequence SET format = 'C-##-##' WHERE company_id = 'EURT'",
    ),
    Violation(
        "a format without #",
        "number_format_has_one_run",
        "UPDATE number_sequence SET format = 'C-1' WHERE company_id = 'EURT'",
    ),
]
CHANNELS = [
    Violation(
        "a deleted channel",
        "a_channel_is_never_deleted",
        "DELETE FROM channel WHERE id = %(paris)s",
        "channel: delete refused",
    ),
    Violation(
        "a deleted database",
        "a_database_is_never_deleted",
        "DELETE FROM channel_database WHERE id = %(paris_database)s",
        "channel_database: delete refused",
    ),
    Violation(
        "a channel that changes the company",
        "a_channel_keeps_its_company",
        "UPDATE channel SET company_id = 'EURT' WHERE id = %(houston)s",
        "channel: update refused",
    ),
    Violation(
        "a channel in a time zone that the database does not know",
        "its_time_zone_is_known",
        "UPDATE channel SET time_zone = 'localtime' WHERE id = %(houston)s",
    ),
    Violation(
        "a database that changes the channel",
        "a_database_keeps_its_channel",
        "UPDATE channel_database SET channel_id = %(paris)s WHERE id = %(houston_database)s",
        "channel_database: update refused",
    ),
    Violation(
        "one database for two channels",
        "a_database_belongs_to_one_channel",
        "UPDATE channel_database SET url = 'embedded:ch_houston' WHERE id = %(paris_database)s",
    ),
    Violation(
        "two databases for one register",
        "one_database_per_register",
        """INSERT INTO channel_database (channel_id, name, group_id, url, database_id, generation,
                                         is_enabled, last_error)
           SELECT channel_id, name, group_id, 'embedded:other', gen_random_uuid(), 1, true, '[]'
             FROM channel_database WHERE id = %(houston_database)s""",
    ),
    Violation(
        "an intention that is not ahead",
        "an_intention_is_ahead_of_what_is_confirmed",
        """UPDATE channel_database SET intended_epoch = confirmed_epoch,
                  intended_nonce = gen_random_uuid() WHERE id = %(houston_database)s""",
    ),
    Violation(
        "two channels with one id",
        "channel_pkey",
        "UPDATE channel SET id = %(houston)s WHERE id = %(paris)s",
    ),
    Violation(
        "an attribute defined twice",
        "attribute_is_defined_once",
        """INSERT INTO attribute_definition (company_id, name, data_type, options)
           VALUES ('USRT', 'SIZE', 'text', '[]')""",
    ),
    Violation(
        "an attribute of an unknown type",
        "attribute_type_is_known",
        "UPDATE attribute_definition SET data_type = 'colour'",
    ),
    Violation(
        "an attribute whose limits leave no value",
        "an_attribute_has_values",
        "UPDATE attribute_definition SET smallest = 10, largest = 1",
    ),
    Violation(
        "an attribute whose options are no list",
        "options_are_texts",
        """UPDATE attribute_definition SET options = '"S,M,L"'""",
    ),
    Violation(
        "an attribute whose options are no texts",
        "options_are_texts",
        "UPDATE attribute_definition SET options = '[1, 2]'",
    ),
    Violation(
        "an attribute without a name",
        "an_attribute_has_a_name",
        r"UPDATE attribute_definition SET name = U&'\00A0'",
    ),
    Violation(
        "an affiliation defined twice",
        "an_affiliation_is_defined_once",
        INSERT_AFFILIATION.format("'STAFF'), ('USRT', '', false, 'STAFF'"),
    ),
    Violation(
        "an affiliation without a name",
        "an_affiliation_has_a_name",
        INSERT_AFFILIATION.format("''"),
    ),
    Violation(
        "a customer group defined twice",
        "a_customer_group_is_defined_once",
        INSERT_GROUP.format("'30'), ('USRT', '', '', '30'"),
    ),
    Violation(
        "a customer group without a code",
        "a_customer_group_has_a_code",
        INSERT_GROUP.format("''"),
    ),
    Violation(
        "an unknown preference of receipts",
        "receipt_preference_is_known",
        "UPDATE customer SET receipt_preference = 'fax' WHERE id = %(ann)s",
    ),
    Violation(
        "a functionality profile without a code",
        "a_profile_has_a_code",
        INSERT_PROFILE.format("''", "'async'"),
    ),
    Violation(
        "an unknown way to create orders",
        "order_mode_is_known",
        INSERT_PROFILE.format("'outlet'", "'later'"),
    ),
    Violation(
        "asynchronous editing without asynchronous addresses",
        "async_edit_has_what_it_needs",
        INSERT_FEATURES.format("'USRT', false, true, true"),
    ),
    Violation(
        "enhanced creation switched off below asynchronous editing",
        "async_edit_has_what_it_needs",
        f"{ALL_FEATURES}; UPDATE feature_set SET enhanced_creation = false",  # noqa: S608 - our own
    ),
    Violation(
        "a second set of features for all companies",
        "a_company_has_one_set_of_features",
        INSERT_FEATURES.format("NULL, true, true, true), (true, NULL, true, true, false"),
    ),
    Violation(
        "a setting of a job that sends nothing",
        "sending_job_is_known",
        "INSERT INTO scheduler_job (job, exclude_from_offline) VALUES ('eod', true)",
    ),
    Violation(
        "a parameter out of its range",
        "parameter_is_in_range",
        "INSERT INTO parameter (name, value) VALUES ('PACKAGE_DAYS', 0)",
    ),
    Violation(
        "settings that no job sends",
        "configuration_job_is_known",
        INSERT_SETTINGS.format("('1010')"),
    ),
    Violation(
        "settings noted twice for a database",
        "settings_are_noted_once_for_a_database",
        INSERT_SETTINGS.format("('1070'), ('1070')"),
    ),
    Violation(
        "a field of an event marked twice",
        "a_field_of_an_event_is_marked_once",
        """INSERT INTO field_to_correct (company_id, event_id, field, rule)
           SELECT 'USRT', '00000000-0000-0000-0000-000000000001', 'phone', 'phone_format'
             FROM generate_series(1, 2)""",
    ),
]
CHANGES = [
    Violation(
        "a change number that the company has not given out",
        "new_customers_are_remembered",
        """INSERT INTO customer (company_id, account_number, change_no)
           VALUES ('USRT', 'OLD-2', 900)""",
        "its company has not given out this change number",
    ),
    Violation(
        "a change to a number that the company has not given out",
        "changes_are_remembered",
        "UPDATE customer SET change_no = 900, hq_version = 2 WHERE id = %(ann)s",
        "its company has not given out this change number",
    ),
    Violation(
        "a version without a change number",
        "a_change_takes_a_new_number",
        "UPDATE customer SET hq_version = 2 WHERE id = %(ann)s",
        "customer: update refused",
    ),
    Violation(
        "a change that takes an earlier number",
        "a_change_takes_a_new_number",
        "UPDATE customer SET change_no = change_no - 1, hq_version = 2 WHERE id = %(ann)s",
        "customer: update refused",
    ),
    Violation(
        "a customer who is withdrawn from the channels",
        "a_change_takes_a_new_number",
        "UPDATE customer SET change_no = NULL WHERE id = %(ann)s",
        "customer: update refused",
    ),
    Violation(
        "a change number given twice",
        "a_change_number_is_given_once",
        "UPDATE customer SET change_no = 2 WHERE id = %(bo)s",
    ),
    Violation(
        "a company's change number that falls",
        "the_change_number_never_falls",
        "UPDATE company SET change_no = change_no - 1 WHERE code = 'USRT'",
        "company: update refused",
    ),
    Violation(
        "a change that is taken out of history",
        "the_history_of_changes_stays",
        "DELETE FROM customer_change",
        "customer_change: delete refused",
    ),
]
PACKAGES = [
    Violation(
        "a package without a range",
        "a_package_has_a_range",
        INSERT_PACKAGE + "('USRT', 3, 3, 9, true, false, 0, 0, 0, '')",
    ),
    Violation(
        "a package beyond the latest change",
        "a_package_has_a_range",
        INSERT_PACKAGE + "('USRT', 3, 5, 4, true, false, 0, 0, 0, '')",
    ),
    Violation(
        "a second package of the chain at one place",
        "the_chain_never_forks",
        INSERT_PACKAGE + "('USRT', 0, 1, 2, false, false, 0, 0, 0, '')",
    ),
    Violation(
        "a range packed twice",
        "a_range_is_packed_once",
        INSERT_PACKAGE + "('USRT', 0, 2, 2, true, false, 0, 0, 0, '')",
    ),
    Violation(
        "a package that is changed",
        "a_package_never_changes",
        "UPDATE package SET rows = rows + 1",
        "package: update refused",
    ),
    Violation(
        "a package that is deleted",
        "a_package_is_never_deleted",
        "DELETE FROM package WHERE id = -1",
        "package: delete refused",
    ),
    Violation(
        "a package on offer twice to one database",
        "a_package_is_offered_once",
        INSERT_SESSION.format("%(houston_database)s") + ", generate_series(1, 2)",
    ),
    Violation(
        "a session that sends neither a package nor customers",
        "a_session_sends_a_package_or_customers",
        "UPDATE download_session SET status = 'applied' WHERE package_id IS NULL",
    ),
    Violation(
        "a customer who was asked for and holds up others",
        "only_a_refused_customer_holds_up_others",
        """INSERT INTO download_exception
                  (database_id, customer_id, reason, message, tries, holds_up)
           VALUES (%(houston_database)s, %(ann)s, 'requested', '[]', 0, true)""",
    ),
    Violation(
        "a database that fails, after no failure",
        "only_a_database_that_fails_has_failed_since",
        "UPDATE channel_database SET failing_since = now()",
    ),
    Violation(
        "uploads that are paused for no reason",
        "uploads_are_paused_for_a_reason",
        "UPDATE channel_database SET uploads_paused_at = now()",
    ),
    Violation(
        "an archived channel that is visited",
        "an_archived_channel_is_off_for_a_reason",
        "UPDATE channel SET archived_at = now(), archive_reason = 'Closed.'",
    ),
    Violation(
        "a secret of a database that has no password",
        "only_a_server_s_address_has_a_secret",
        "UPDATE channel_database SET secret = 'file:houston'",
    ),
    Violation(
        "downloads that are paused for no reason",
        "downloads_are_paused_for_a_reason",
        "UPDATE channel_database SET downloads_paused_at = now()",
    ),
    Violation(
        "a second package that is being made for one database",
        "one_package_is_made_for_a_database",
        """INSERT INTO download_session (id, database_id, status, job, parts, size_bytes, message,
                                         customers, rows)
           SELECT gen_random_uuid(), database_id, 'create_failed', '1010', 0, 0, '[]', 0, 0
             FROM download_session""",
    ),
    Violation(
        "a range without changes",
        "a_range_has_an_end",
        INSERT_RANGE.format("4, 4, 4, now(), now(), 1"),
    ),
    Violation(
        "a range with sessions and without a beginning",
        "sessions_of_a_range_have_times",
        INSERT_RANGE.format("0, 4, 4, NULL, now(), 1"),
    ),
    Violation(
        "two ranges of the chain that overlap",
        "ranges_of_the_chain_never_overlap",
        INSERT_RANGE.format("s * 3, s * 3 + 4, 9, now(), now(), 1")
        + " CROSS JOIN generate_series(0, 1) s",
    ),
    Violation(
        "a package for a database of another company",
        "packages_stay_in_their_company",
        INSERT_SESSION.format("%(paris_database)s"),
    ),
    Violation(
        "an exception for an unknown reason",
        "exception_reason_is_known",
        INSERT_EXCEPTION + "(%(houston_database)s, %(ann)s, 'whim', '[]', 0)",
    ),
    Violation(
        "two open exceptions for one customer",
        "one_open_exception_per_customer",
        INSERT_EXCEPTION
        + "(%(houston_database)s, %(ann)s, 'refused', '[]', 0),"
        + " (%(houston_database)s, %(ann)s, 'requested', '[]', 0)",
    ),
    Violation(
        "an exception for a customer of another company",
        "exceptions_stay_in_their_company",
        INSERT_EXCEPTION + "(%(paris_database)s, %(ann)s, 'refused', '[]', 0)",
    ),
]
PARTS = [
    Violation(
        "a second primary address for one purpose",
        "one_primary_address_per_purpose",
        INSERT_ADDRESS + "(gen_random_uuid(), %(ann)s, 'home', true)",
    ),
    Violation(
        "a second primary contact of one kind",
        "one_primary_contact_per_kind",
        INSERT_CONTACT + "(gen_random_uuid(), %(ann)s, 'email', true)",
    ),
    Violation(
        "an address without customer",
        "its_customer_exists",
        INSERT_ADDRESS + "(gen_random_uuid(), 987654321, 'home', true)",
    ),
    *(
        Violation(
            f"an {kind} without customer",
            "its_customer_exists",
            f"INSERT INTO customer_{kind} (customer_id, {kind}) VALUES (987654321, 'VIP')",  # noqa: S608 - our own table names
        )
        for kind in ("affiliation", "attribute")
    ),
    Violation(
        "a contact that moves to a customer who does not exist",
        "its_new_customer_exists",
        "UPDATE customer_contact SET customer_id = 987654321",
    ),
    Violation(
        "an address of two customers",
        "customer_address_pkey",
        INSERT_ADDRESS + "(%(address)s, %(bo)s, 'home', true)",
    ),
    Violation(
        "an affiliation held twice",
        "customer_affiliation_pkey",
        """INSERT INTO customer_affiliation (customer_id, affiliation)
           VALUES (%(ann)s, 'STAFF'), (%(ann)s, 'STAFF')""",
    ),
]
STAGED = ("customer", "address", "contact", "affiliation", "attribute")
OF_EVENTS = (
    ("of an unknown origin", "origin_is_known", "'origin', '?'"),
    ("from nowhere", "comes_from_somewhere", "'database_id', NULL"),
    ("sent in real time of a generation", "is_in_its_generation", "'origin', 'rts'"),
)
# What no update of a staged event may do. An erasure keeps what identifies the event.
UPDATES_OF_EVENTS = (
    ("that is edited", "created_offline = true"),
    ("that forgets its batch", "batch_id = batch_id + 1, erased_at = now()"),
    ("that gets another id", "event_id = gen_random_uuid(), erased_at = now()"),
    ("that is erased for another person", "account_number = 'C-1', erased_at = now()"),
    ("that is no longer erased", "erased_at = now(); UPDATE {} SET erased_at = NULL"),
)
OPEN_EVENT = """INSERT INTO open_event ("table", event_id, batch_id, company_id, status, reason)
                SELECT 'async_customer', event_id, batch_id, company_id, {} FROM async_customer"""
OPEN_ONE = OPEN_EVENT.format("'waiting', 'parent_missing'")
SETTLED_EVENT = """INSERT INTO settled_event ("table", event_id, batch_id, outcome, reason)
                   SELECT 'async_customer', event_id, batch_id, {} FROM async_customer"""
SETTLE_ONE = SETTLED_EVENT.format("'applied', NULL")
EVENTS = [
    Violation(
        f"an {kind} event {what}",
        f"staged{kind}_{rule}",
        f"""INSERT INTO async_{kind} SELECT (jsonb_populate_record(e, jsonb_build_object(
               'event_id', gen_random_uuid(), {columns}))).* FROM async_{kind} e""",  # noqa: S608 - our own table names
    )
    for kind in STAGED
    for what, rule, columns in OF_EVENTS
]
EVENTS += [
    Violation(
        f"an {kind} event {what}",
        "a_staged_event_never_changes",
        f"UPDATE async_{kind} SET {breaks.format(f'async_{kind}')}",  # noqa: S608 - our own table names
        f"async_{kind}: update refused",
    )
    for kind in STAGED
    for what, breaks in UPDATES_OF_EVENTS
]
EVENTS += [
    Violation(
        "an event that a conversion passed by without a word",
        "what_waits_in_staging_says_why",
        """INSERT INTO upload_batch (company_id, staged_at)
           VALUES ('USRT', now() - interval '1 hour');
           UPDATE run_step SET step = 'convert', company_id = 'USRT', status = 'running',
                  started_at = now();
           UPDATE run_step SET status = 'succeeded'""",
    ),
    Violation(
        "an open event that a conversion passed by without a word",
        "what_waits_in_staging_says_why",
        """UPDATE upload_batch SET converted_at = now();
           INSERT INTO open_event ("table", event_id, batch_id, company_id, status, released_at)
           SELECT 'async_customer', event_id, batch_id, company_id, 'waiting',
                  now() - interval '1 hour' FROM async_customer;
           UPDATE run_step SET step = 'convert', company_id = 'USRT', status = 'running',
                  started_at = now();
           UPDATE run_step SET status = 'succeeded'""",
    ),
    Violation(
        "a batch converted again",
        "a_batch_is_converted_once",
        """UPDATE upload_batch SET converted_at = now();
           UPDATE upload_batch SET converted_at = NULL""",
        "upload_batch: update refused",
    ),
    Violation(
        "a batch of another company",
        "a_batch_is_converted_once",
        "UPDATE upload_batch SET company_id = 'EURT'",
        "upload_batch: update refused",
    ),
    Violation(
        "a batch with a run that did not convert it",
        "only_a_converted_batch_has_a_run",
        "UPDATE upload_batch SET run_id = %(live)s",
    ),
    Violation(
        "an open event of an unknown status",
        "open_event_status_is_known",
        OPEN_EVENT.format("'lost', 'parent_missing'"),
    ),
    Violation(
        "an event that failed for no reason",
        "a_failed_event_says_why",
        OPEN_EVENT.format("'failed', ''"),
    ),
    Violation(
        "an event that waits for nothing",
        "a_waiting_event_has_a_reason_or_was_released",
        OPEN_EVENT.format("'waiting', NULL"),
    ),
    Violation("an event opened twice", "open_event_pkey", f"{OPEN_ONE}; {OPEN_ONE}"),
    Violation(
        "an event with an unknown outcome",
        "settled_event_outcome_is_known",
        SETTLED_EVENT.format("'lost', NULL"),
    ),
    Violation(
        "an applied event with a reason",
        "only_a_corrected_event_has_a_reason",
        SETTLED_EVENT.format("'applied', 'corrected'"),
    ),
    Violation(
        "an open event that is settled",
        "an_event_is_open_or_settled",
        f"{OPEN_ONE}; {SETTLE_ONE}",
        "settled_event: an event is open or settled, not both",
    ),
    Violation(
        "a settled event that is opened",
        "an_event_is_open_or_settled",
        f"{SETTLE_ONE}; {OPEN_ONE}",
        "open_event: an event is open or settled, not both",
    ),
    Violation(
        "an event staged twice",
        "async_customer_pkey",
        "INSERT INTO async_customer SELECT * FROM async_customer",
    ),
    Violation(
        "a bad row kept twice",
        "a_bad_row_is_kept_once",
        """INSERT INTO quarantine (database_id, "table", row_key, payload_hash, reason, field, raw,
                                   session_id)
           SELECT database_id, "table", row_key, payload_hash, reason, field, raw, session_id
             FROM quarantine""",
    ),
    Violation(
        "a bad row without reason", "quarantine_has_a_reason", "UPDATE quarantine SET reason = ''"
    ),
    Violation(
        "an unknown status of a bad row",
        "quarantine_status_is_known",
        "UPDATE quarantine SET status = 'lost', settled_at = now()",
    ),
    Violation(
        "a bad row settled at no time",
        "a_settled_row_says_since_when",
        "UPDATE quarantine SET status = 'released'",
    ),
    Violation(
        "a bad row dismissed without a reason",
        "a_row_is_dismissed_with_a_reason",
        "UPDATE quarantine SET status = 'dismissed', settled_at = now()",
    ),
    Violation(
        "a bad row that is open and pending at once",
        "an_open_row_is_not_pending",
        """UPDATE quarantine SET event_id = (SELECT event_id FROM async_customer),
                                 reason = 'too_long'""",
        "quarantine: its event is pending in staging",
    ),
    Violation(
        "an upload whose counts do not add up",
        "every_row_read_is_accounted_for",
        "UPDATE upload_session SET read = read + 1",
    ),
    Violation(
        "an unknown status of an upload",
        "upload_status_is_known",
        "UPDATE upload_session SET status = 'fine'",
    ),
    Violation(
        "an unknown status of a download",
        "download_status_is_known",
        "UPDATE download_session SET status = 'fine', sends_single_customers = true",
    ),
]
RUNS = [
    Violation(
        "a second live run of one job and scope",
        "one_live_run_per_job_and_scope",
        "UPDATE job_run SET status = 'running', ended_at = NULL WHERE id = %(ended)s",
    ),
    Violation(
        "an ended run without an end",
        "a_run_has_an_end_once_it_ended",
        "UPDATE job_run SET ended_at = NULL WHERE id = %(ended)s",
    ),
    Violation(
        "a live run with an end",
        "a_run_has_an_end_once_it_ended",
        "UPDATE job_run SET ended_at = now() WHERE id = %(live)s",
    ),
    Violation(
        "a fencing number that falls",
        "fencing_numbers_only_grow",
        "UPDATE run_step SET fencing_no = fencing_no - 1",
        "run_step: update refused",
    ),
    Violation(
        "an unknown status of a run",
        "run_status_is_known",
        "UPDATE job_run SET status = 'tired' WHERE id = %(ended)s",
    ),
    Violation(
        "a run that visits unknown databases",
        "visits_of_a_run_are_known",
        "UPDATE job_run SET visits = 'some' WHERE id = %(ended)s",
    ),
    Violation(
        "an unknown status of a step",
        "step_status_is_known",
        "UPDATE run_step SET status = 'tired'",
    ),
    Violation(
        "two steps in one place of a run",
        "one_step_per_position",
        """INSERT INTO run_step (run_id, position, step, status, counts, message, stage, turn,
                                 losses)
           VALUES (%(live)s, 1, 'convert', 'queued', '{}', '[]', 2, 1, 0)""",
    ),
]
INSERT_INCIDENT = (
    "INSERT INTO incident (kind, subject, message, detail, closed_at, closing_reason) VALUES "
)
INCIDENTS = [
    Violation(
        "a second headquarters",
        "there_is_one_headquarters",
        "INSERT INTO headquarters (id, identity) VALUES (2, '{}')",
    ),
    Violation(
        "an incident of no known kind",
        "incident_kind_is_known",
        INSERT_INCIDENT + "('odd', '', '[]', '{}', NULL, '')",
    ),
    Violation(
        "one incident open twice",
        "one_open_incident_of_a_kind",
        INSERT_INCIDENT
        + "('hq_behind', '', '[]', '{}', NULL, ''), ('hq_behind', '', '[]', '{}', NULL, '')",
    ),
    Violation(
        "an incident closed without a reason",
        "an_incident_is_closed_with_a_reason",
        INSERT_INCIDENT + "('hq_behind', '', '[]', '{}', now(), '')",
    ),
    Violation(
        "an open incident with a closing reason",
        "an_open_incident_has_no_closing_reason",
        INSERT_INCIDENT + "('hq_behind', '', '[]', '{}', NULL, 'Done.')",
    ),
    Violation(
        "a headquarters that is behind, closed by a person",
        "nobody_closes_a_headquarters_that_is_behind",
        """INSERT INTO incident (kind, subject, message, detail, closed_at, closing_reason,
                                 closed_by_id)
           SELECT 'hq_behind', '', '[]', '{}', now(), 'Done.', id FROM auth_user""",
    ),
]
INSERT_ARRIVAL = """INSERT INTO arrival (database_id, "table", day, rows) VALUES """
INSERT_BALANCE = (
    """INSERT INTO balance (database_id, "table", day, captured, converted, linked, waiting,"""
    " failed, quarantined, erased) VALUES "
)
BALANCE = [
    Violation(
        "two counts of one day's arrivals",
        "arrivals_are_counted_once",
        INSERT_ARRIVAL + "(1, 'async_customer', '2026-01-01', 1),"
        " (1, 'async_customer', '2026-01-01', 1)",
    ),
    Violation(
        "two balances of one day",
        "a_day_is_balanced_once",
        INSERT_BALANCE + "(1, 'async_customer', '2026-01-01', 0, 0, 0, 0, 0, 0, 0),"
        " (1, 'async_customer', '2026-01-01', 0, 0, 0, 0, 0, 0, 0)",
    ),
]
INSERT_CONFLICT = (
    """INSERT INTO edit_conflict (customer_id, "table", key, field, lost_value, kept_value,"""
    " lost_event, kept_event, lost_at, kept_at, clock_skewed, closed_at, choice, reason,"
    " made_event) VALUES "
)
A_CONFLICT = (
    "(%(ann)s, 'async_customer', '', 'phone', '1', '2', %(ann_guid)s, %(ann_guid)s, now(), now(), "
)
CONFLICTS = [
    Violation(
        "one conflict twice",
        "two_edits_conflict_once",
        f"{INSERT_CONFLICT}{A_CONFLICT}false, now(), 'rule', '', NULL), "
        f"{A_CONFLICT}false, now(), 'rule', '', NULL)",
    ),
    Violation(
        "a conflict closed without a choice",
        "conflict_is_closed_by_a_choice",
        f"{INSERT_CONFLICT}{A_CONFLICT}false, now(), '', '', NULL)",
    ),
    Violation(
        "a wrong clock that a rule settles",
        "no_rule_settles_a_wrong_clock",
        f"{INSERT_CONFLICT}{A_CONFLICT}true, now(), 'rule', '', NULL)",
    ),
    Violation(
        "a removal that a rule settles (p19)",
        "no_rule_undoes_a_removal",
        f"{INSERT_CONFLICT}(%(ann)s, 'async_customer', '', 'is_active', 'true', 'false', "
        "%(ann_guid)s, %(ann_guid)s, now(), now(), false, now(), 'rule', '', NULL)",
    ),
    Violation(
        "a conflict closed by nobody",
        "a_person_says_why",
        f"{INSERT_CONFLICT}{A_CONFLICT}true, now(), 'keep', 'Asked her.', NULL)",
    ),
    Violation(
        "a value taken without an event",
        "a_taken_value_has_its_event",
        f"{INSERT_CONFLICT}{A_CONFLICT}false, now(), 'rule', '', %(ann_guid)s)",
    ),
]
# Triggers that refuse nothing.
COUNTING = {
    *("arrivals_are_counted", "the_erased_leave_no_package"),
    *("a_database_is_switched_on", "a_channel_is_switched_on", "a_group_is_included"),
    *("registers_are_included", "registers_are_included_by_default"),
    "a_register_leaves_its_group",
}

INSERT_SCHEDULE = "INSERT INTO schedule (is_enabled, job, {}) VALUES (true, "
SCHEDULES = [
    Violation(
        "a schedule of an unknown job",
        "scheduled_job_is_known",
        INSERT_SCHEDULE.format("cron") + "'raffle', '0 22 * * *')",
    ),
    Violation(
        "a schedule that says when in two ways",
        "a_schedule_says_when_in_one_way",
        INSERT_SCHEDULE.format("cron, every_minutes") + "'eod', '0 22 * * *', 10)",
    ),
    Violation(
        "a schedule that says no time",
        "a_schedule_says_when_in_one_way",
        "INSERT INTO schedule (is_enabled, job) VALUES (true, 'eod')",
    ),
    Violation(
        "a schedule without a pause",
        "a_schedule_says_when_in_one_way",
        INSERT_SCHEDULE.format("every_minutes") + "'eod', 0)",
    ),
    Violation(
        "a long job again and again",
        "only_jobs_that_are_soon_done_are_continuous",
        INSERT_SCHEDULE.format("is_continuous") + "'reconcile', true)",
    ),
    Violation(
        "a schedule that ends before it begins",
        "a_schedule_ends_after_it_begins",
        INSERT_SCHEDULE.format("every_minutes, first_day, last_day")
        + "'eod', 10, '2026-03-02', '2026-03-01')",
    ),
    Violation(
        "endless retries",
        "retries_have_a_limit",
        INSERT_SCHEDULE.format("every_minutes, retries") + "'eod', 10, 21)",
    ),
    Violation(
        "a schedule paused for no reason",
        "schedules_are_paused_for_a_reason",
        INSERT_SCHEDULE.format("every_minutes, paused_at") + "'eod', 10, now())",
    ),
    Violation(
        "a paused schedule that starts",
        "a_schedule_that_is_off_has_no_next_start",
        INSERT_SCHEDULE.format("every_minutes, paused_at, pause_reason, planned_at, next_start_at")
        + "'eod', 10, now(), 'Stocktaking', now(), now())",
    ),
]
INSERT_INTO_TOKENS = """
    INSERT INTO rts_token (id, digest, channel_id, networks, calls_per_minute, made_at, expires_at,
                           revoked_by_id)
    VALUES ('a', {}, %(houston)s, '[]', {}, now(), {}, {})"""
TOKENS = [
    Violation(
        "a token with its secret in clear",
        "only_a_digest_is_stored",
        INSERT_INTO_TOKENS.format("'secret'", 1, "now() + interval '1 day'", "NULL"),
    ),
    Violation(
        "a token that allows no call",
        "a_token_allows_some_calls",
        INSERT_INTO_TOKENS.format("repeat('a', 64)", 0, "now() + interval '1 day'", "NULL"),
    ),
    Violation(
        "a token that has expired when it is made",
        "a_token_expires_after_it_was_made",
        INSERT_INTO_TOKENS.format("repeat('a', 64)", 1, "now()", "NULL"),
    ),
    Violation(
        "a token that somebody has revoked at no time",
        "somebody_revokes_at_some_time",
        INSERT_INTO_TOKENS.format("repeat('a', 64)", 1, "now() + interval '1 day'", 1),
    ),
    Violation(
        "a token that is valid for longer than before",
        "a_token_never_changes",
        "UPDATE rts_token SET expires_at = expires_at + interval '1 day'",
        "rts_token: update refused",
    ),
    Violation(
        "a revoked token that is valid again",
        "a_token_never_changes",
        "UPDATE rts_token SET revoked_at = now(); UPDATE rts_token SET revoked_at = NULL",
        "rts_token: update refused",
    ),
    Violation(
        "a token that disappears",
        "a_token_is_never_deleted",
        "DELETE FROM rts_token",
        "rts_token: delete refused",
    ),
    Violation(
        "an answer that was given with another token",
        "an_answer_never_changes",
        "UPDATE rts_answer SET token_id = 'b'",
        "rts_answer: update refused",
    ),
]
VIOLATIONS = [
    *ACCOUNTS,
    *SEQUENCES,
    *CHANNELS,
    *CHANGES,
    *PACKAGES,
    *PARTS,
    *EVENTS,
    *RUNS,
    *INCIDENTS,
    *BALANCE,
    *CONFLICTS,
    *SCHEDULES,
    *TOKENS,
    *RULES_OF_SALES,
]


@pytest.fixture(scope="module")
def committed_rows(django_db_setup, django_db_blocker) -> Iterator[dict[str, Any]]:
    """One row of every table, for all tests here. The keys that the statements refer to."""
    with django_db_blocker.unblock(), transaction.atomic():
        keys = insert_rows()
    yield keys
    with django_db_blocker.unblock():
        empty_hq()


@pytest.fixture
def ring(committed_rows, db) -> dict[str, Any]:
    """One row of every table, in a transaction that is rolled back. Returns their keys."""
    return committed_rows


def insert_rows() -> dict[str, Any]:
    usrt, eurt, _ = [
        Company.objects.create(code=c, name=c, change_no=3) for c in ("USRT", "EURT", "NONE")
    ]
    for company, form, start, following in ((usrt, "00####", 5001, 5005), (eurt, "E-####", 1, 1)):
        NumberSequence.objects.create(
            company=company, format=form, start=start, next=following, largest=start + 998
        )
    group = ChannelDatabaseGroup.objects.create(name="Default")
    channels = {
        code: Channel.objects.create(code=code, name=code, company=company)
        for code, company in (("houston", usrt), ("paris", eurt))
    }
    databases = {
        code: ChannelDatabase.objects.create(
            channel=channel, group=group, url=f"embedded:ch_{code}"
        )
        for code, channel in channels.items()
    }
    customers = {
        name: Customer.objects.create(
            company=company, account_number=account, number=number, change_no=change_no
        )
        for name, company, account, number, change_no in (
            ("ann", usrt, "005001", 5001, 2),
            ("bo", usrt, "005002", 5002, 1),
            ("cy", usrt, "005003", 5003, None),
            ("old", usrt, "OLD-1", None, None),
            ("zoe", eurt, "OLD-1", None, None),
        )
    }
    ann, houston = customers["ann"], databases["houston"]
    guid = GuidMap.objects.create(
        async_account=uuid4(), company=usrt, customer=ann, channel=channels["houston"]
    )
    Package.objects.create(
        company=usrt, to_no=2, from_no=0, latest_no=2, customers=1, rows=1, size_bytes=1, sha256=""
    )
    address = CustomerAddress.objects.create(
        address_id=uuid4(), customer=ann, purpose="home", is_primary=True
    )
    CustomerContact.objects.create(contact_id=uuid4(), customer=ann, kind="email", is_primary=True)
    AttributeDefinition.objects.create(company=usrt, name="SIZE")
    live = JobRun.objects.create(job="pipeline")
    ended = JobRun.objects.create(job="pipeline", status="succeeded", ended_at=timezone.now())
    RunStep.objects.create(run=live, position=1, step="upload", database=houston, fencing_no=7)
    stage_one_of_each(houston, live)
    token = RtsToken.objects.create(
        id="houston",
        digest="0" * 64,
        channel=channels["houston"],
        calls_per_minute=1,
        expires_at=timezone.now() + timedelta(days=1),
    )
    RtsAnswer.objects.create(async_account=guid.pk, token=token)
    return {
        **{name: customer.pk for name, customer in customers.items()},
        **{code: channel.pk for code, channel in channels.items()},
        **{f"{code}_database": database.pk for code, database in databases.items()},
        **{"ann_guid": str(guid.pk), "address": str(address.pk)},
        **{"live": str(live.pk), "ended": str(ended.pk)},
        **post_one_of_each(channels["houston"], houston, ann),
    }


def stage_one_of_each(database: ChannelDatabase, run: JobRun) -> None:
    """Create an event of each kind, a quarantined row, and their sessions."""
    session = UploadSession.objects.create(
        database=database, run=run, read=6, staged=5, quarantined=1
    )
    DownloadSession.objects.create(database=database, run=run)
    company = database.channel.company
    batch = UploadBatch.objects.create(company=company, database=database, session=session, rows=5)
    event = {"database": database, "company": company, "batch": batch}
    event |= {"replication_counter": 1, "occurred_at": timezone.now(), "operation": "create"}
    StagedCustomer.objects.create(event_id=uuid4(), **event)
    StagedAddress.objects.create(event_id=uuid4(), address_id=uuid4(), **event)
    StagedContact.objects.create(event_id=uuid4(), contact_id=uuid4(), **event)
    StagedAffiliation.objects.create(event_id=uuid4(), affiliation="STAFF", **event)
    StagedAttribute.objects.create(event_id=uuid4(), attribute="SIZE", **event)
    Quarantine.objects.create(
        database=database,
        session=session,
        table="async_customer",
        row_key="2",
        reason="key_missing",
        payload_hash=b"hash",
        raw=b"{}",
    )


def execute_and_check(statement: str, keys: dict[str, Any]) -> None:
    """Execute a statement, with the constraints that are otherwise checked at commit."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement, keys)


@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda violation: violation.id)
def test_the_database_refuses(ring, violation):
    with pytest.raises(DatabaseError) as refusal:
        execute_and_check(violation.statement, ring)

    if violation.message:
        assert violation.message in str(refusal.value)
    else:
        assert refusal.value.__cause__.diag.constraint_name == violation.rule


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE number_sequence SET next = next + 1, largest = largest + 1",
        "UPDATE number_sequence SET format = 'F-####' WHERE company_id = 'EURT'",
        "DELETE FROM number_sequence WHERE company_id = 'EURT'",
        "UPDATE customer SET first_name = 'Anna', hq_version = 2, change_no = 3 WHERE id = %(ann)s",
        "UPDATE customer SET first_name = 'Cyd', hq_version = 2 WHERE id = %(cy)s",
        INSERT_CUSTOMER + "('USRT', 'OLD-2', NULL), ('USRT', '004999', NULL)",
        INSERT_GUID + "(gen_random_uuid(), 'USRT', %(ann)s, %(houston)s, 'linked')",
        INSERT_ADDRESS + "(gen_random_uuid(), %(ann)s, 'invoice', true)",
        "UPDATE package SET dropped_at = now()",
        "UPDATE channel SET name = 'Houston', is_enabled = false",
        "UPDATE channel_database SET url = 'embedded:moved', generation = 2 "
        "WHERE id = %(houston_database)s",
        "UPDATE run_step SET fencing_no = 8",
        "UPDATE async_customer SET last_name = NULL, staff_id = NULL, erased_at = now()",
        """WITH batch AS (INSERT INTO upload_batch (company_id) VALUES ('USRT') RETURNING id)
           INSERT INTO async_customer SELECT (jsonb_populate_record(e, jsonb_build_object(
               'event_id', gen_random_uuid(), 'batch_id', batch.id, 'database_id', NULL,
               'origin', 'hq'))).*
             FROM async_customer e, batch""",
        """INSERT INTO async_customer SELECT (jsonb_populate_record(e, jsonb_build_object(
               'event_id', gen_random_uuid(), 'origin', 'rts', 'generation', 0))).*
             FROM async_customer e""",
        "UPDATE rts_token SET last_used_at = now(), calls = 2, revoked_at = now()",
        "UPDATE upload_batch SET converted_at = now(), run_id = %(live)s",
        SETTLED_EVENT.format("'superseded', 'corrected'"),
        "UPDATE quarantine SET event_id = gen_random_uuid(), reason = 'too_long'",
    ],
)
def test_the_database_allows(ring, statement):
    execute_and_check(statement, ring)


@pytest.mark.parametrize("table", [table.event for table in STAGED_TABLES])
def test_no_row_of_any_table_is_open_and_pending(ring, table):
    statement = f"""UPDATE quarantine SET "table" = '{table}', reason = 'too_long',
                           event_id = (SELECT event_id FROM {table} LIMIT 1)"""  # noqa: S608

    with pytest.raises(DatabaseError, match="its event is pending in staging"):
        execute_and_check(statement, ring)


def test_every_rule_of_the_database_is_violated_once(db):
    constraints = {
        constraint.name % {"class": model.__name__.lower(), "app_label": "stores"}
        for model in apps.get_app_config("stores").get_models()
        for constraint in model._meta.constraints
        if isinstance(constraint, CheckConstraint | UniqueConstraint)
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
        triggers = {name for (name,) in cursor.fetchall()}

    violated = {violation.rule for violation in VIOLATIONS}
    assert constraints | (triggers - COUNTING) <= violated
