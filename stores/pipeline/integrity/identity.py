"""Checks of identity: one account for each GUID, numbers without gaps, and whole conversions.

Tills identify a customer by a GUID until HQ has created an account with a number; `guid_map` has
the account of each GUID. `seen` is a channel database that was read, `{map}` what its own table
account_map holds.
"""

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_value
from stores.messages.message import Message
from stores.pipeline.events import document_tables
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.pipeline.guids import is_given
from stores.pipeline.integrity.checks import (
    Check,
    DatabaseRule,
    check_result,
    count_rows,
    offending_rows,
)
from stores.pipeline.integrity.evidence import Evidence
from stores.pipeline.integrity.snapshot import Copies
from stores.pipeline.integrity.tables import COMPARED_CUSTOMERS, COMPARED_MAP

NEVER_GIVEN = load(__file__, "never_given")


def one_account_per_guid(evidence: Evidence) -> Check:
    return check_result(
        "I1",
        Message("promise_I1"),
        count_rows("guid_map"),
        DatabaseRule("constraint", "guid_map", "guid_map_pkey"),
        """SELECT async_account::text, count(*) AS accounts FROM guid_map
            GROUP BY async_account HAVING count(*) > 1""",
    )


def one_guid_creates_an_account(evidence: Evidence) -> Check:
    return check_result(
        "I2",
        Message("promise_I2"),
        count_rows("customer"),
        DatabaseRule("constraint", "customer", "account_is_unique_in_its_company"),
        DatabaseRule("unique index", "guid_map", "one_guid_creates_an_account"),
        DatabaseRule("constraint", "guid_map", "guid_origin_is_known"),
        """SELECT company_id AS company, account_number, count(*) AS customers FROM customer
            GROUP BY company_id, account_number HAVING count(*) > 1""",
        """SELECT customer.company_id AS company, customer.account_number,
                  count(guid_map.async_account) AS creating_guids
             FROM customer
             LEFT JOIN guid_map ON guid_map.customer_id = customer.id
              AND guid_map.origin = 'created'
            GROUP BY customer.id, customer.company_id, customer.account_number, customer.number
           HAVING count(guid_map.async_account) > 1
               OR (customer.number IS NOT NULL AND count(guid_map.async_account) = 0)""",
    )


def numbers_have_no_gaps(evidence: Evidence) -> Check:
    return check_result(
        "I3",
        Message("promise_I3"),
        count_rows("customer", "number IS NOT NULL"),
        DatabaseRule("constraint", "customer", "number_is_issued_once_in_its_company"),
        DatabaseRule("trigger", "customer", "accounts_fit_their_sequence"),
        DatabaseRule("trigger", "customer", "a_customer_is_never_deleted"),
        DatabaseRule("trigger", "number_sequence", "the_next_number_never_falls"),
        DatabaseRule("trigger", "number_sequence", "a_used_sequence_is_never_deleted"),
        """SELECT sequence.company_id AS company, count(customer.number) AS have,
                  sequence.next - sequence.start AS should,
                  min(customer.number) AS smallest, max(customer.number) AS largest,
                  sequence.next
             FROM number_sequence sequence LEFT JOIN customer USING (company_id)
            GROUP BY sequence.company_id, sequence.start, sequence.next
           HAVING count(DISTINCT customer.number) <> sequence.next - sequence.start
               OR count(customer.number) <> sequence.next - sequence.start
               OR coalesce(min(customer.number), sequence.start) <> sequence.start
               OR coalesce(max(customer.number), sequence.start - 1) <> sequence.next - 1""",
        """SELECT customer.company_id AS company, customer.account_number, customer.number
             FROM customer LEFT JOIN number_sequence sequence USING (company_id)
            WHERE CASE WHEN customer.number IS NOT NULL THEN sequence.next IS NULL
                  ELSE parse_number(sequence.format, customer.account_number)
                       BETWEEN sequence.start AND sequence.largest END""",
    )


def accounts_have_their_format(evidence: Evidence) -> Check:
    return check_result(
        "I4",
        Message("promise_I4"),
        count_rows("customer", "number IS NOT NULL"),
        DatabaseRule("trigger", "customer", "an_account_never_changes"),
        DatabaseRule("trigger", "number_sequence", "the_format_is_frozen_once_used"),
        """SELECT customer.company_id AS company, customer.account_number, customer.number
             FROM customer JOIN number_sequence sequence USING (company_id)
            WHERE customer.number IS NOT NULL
              AND customer.account_number <> format_number(sequence.format, customer.number)""",
    )


def accounts_are_never_rewritten(evidence: Evidence) -> Check:
    return check_result(
        "I5",
        Message("promise_I5"),
        count_rows("guid_map"),
        evidence.snapshot.unreachable,
        DatabaseRule("trigger", "guid_map", "the_map_never_changes"),
        """SELECT seen.label AS channel, held.async_account::text,
                  held.account_number AS in_channel,
                  customer.account_number AS at_headquarters
             FROM {map} held JOIN {channels} seen USING (database_id)
             JOIN guid_map USING (async_account)
             JOIN customer ON customer.id = guid_map.customer_id
            WHERE held.company IS DISTINCT FROM customer.company_id
               OR held.account_number IS DISTINCT FROM customer.account_number""",
        """SELECT event.async_account::text, event.event_id::text,
                  was.account_number AS applied_to,
                  customer.account_number AS at_headquarters
             FROM async_customer event JOIN guid_map USING (async_account)
             JOIN customer ON customer.id = guid_map.customer_id
             JOIN customer was ON was.event_database = coalesce(event.database_id, 0)
              AND was.event_generation = event.generation
              AND was.event_counter = event.replication_counter
            WHERE event.account_number IS NULL AND was.id <> guid_map.customer_id
              AND was.company_id = event.company_id""",
        names=evidence.names,
    )


def accounts_stay_in_their_company(evidence: Evidence) -> Check:
    return check_result(
        "I6",
        Message("promise_I6"),
        count_rows("guid_map"),
        evidence.snapshot.unreachable,
        DatabaseRule("trigger", "guid_map", "guid_customer_and_channel_share_the_company"),
        DatabaseRule("trigger", "channel", "a_channel_keeps_its_company"),
        """SELECT guid_map.async_account::text, guid_map.company_id AS company,
                  channel.company_id AS of_channel,
                  customer.company_id AS of_customer
             FROM guid_map LEFT JOIN channel ON channel.id = guid_map.channel_id
             LEFT JOIN customer ON customer.id = guid_map.customer_id
            WHERE channel.company_id <> guid_map.company_id
               OR customer.company_id <> guid_map.company_id""",
        """SELECT guid_map.async_account::text, guid_map.company_id AS company,
                  min(event.company_id) AS of_its_event
             FROM guid_map JOIN async_customer event USING (async_account)
            GROUP BY guid_map.async_account, guid_map.company_id
           HAVING bool_and(event.company_id <> guid_map.company_id)""",
        *(
            offending_rows(
                """SELECT seen.label AS channel, {source} AS "table", held.company,
                          held.account_number
                     FROM {copy} held JOIN {channels} seen USING (database_id)
                     JOIN channel_database ON channel_database.id = held.database_id
                     JOIN channel ON channel.id = channel_database.channel_id
                    WHERE held.company <> channel.company_id""",
                source=sql.Literal(copy.source),
                copy=evidence.copies.of(copy),
                channels=evidence.copies.channels,
            )
            for copy in (COMPARED_MAP, COMPARED_CUSTOMERS)
        ),
        *(
            sql.SQL(
                """SELECT event.event_id::text, {view_name} AS "table",
                          event.company_id AS company, guid_map.company_id AS of_customer
                     FROM {view} event JOIN guid_map USING (async_account)
                    WHERE guid_map.company_id <> event.company_id
                      AND event.status IN ('applied', 'superseded') AND event.is_by_guid"""
            ).format(view=sql.Identifier(kind.view), view_name=sql.Literal(kind.view))
            for kind in EVENT_KINDS
        ),
        """SELECT sale.event_id::text, 'retail_transaction' AS "table",
                  sale.company_id AS company, customer.company_id AS of_customer
             FROM retail_transaction sale JOIN customer ON customer.id = sale.customer_id
            WHERE customer.company_id <> sale.company_id""",
        *(
            never_given(table, evidence.copies)
            for table in TABLES_WITH_GUIDS
            if has_shared_guids(table)
        ),
    )


# The tables with rows that name a customer by GUID.
TABLES_WITH_GUIDS = (*(kind.event for kind in EVENT_KINDS), document_tables.DOCUMENT_TABLE)


def has_shared_guids(table: str) -> bool:
    """Whether a table has rows with a GUID of another channel. Else none has to be looked for."""
    answer = fetch_value(
        """SELECT EXISTS (SELECT FROM {event} event
                            JOIN channel_database home ON home.id = event.database_id
                            JOIN guid_map guid ON guid.async_account = event.async_account
                           WHERE guid.channel_id <> home.channel_id
                             AND event.account_number IS NULL)""",
        event=sql.Identifier(table),
    )
    return bool(answer)


def never_given(table: str, copies: Copies) -> sql.Composed:
    """Return the query for rows with a GUID that their channel never received. See its file."""
    view = next((kind.view for kind in EVENT_KINDS if kind.event == table), None)
    return NEVER_GIVEN.format(
        name=sql.Literal(table),
        event=sql.Identifier(view or table),
        is_of_guid=sql.SQL(
            "event.status IN ('applied', 'superseded')"
            if view
            else "event.customer_id = guid.customer_id"
        ),
        is_given=is_given("home", "channel_id"),
        map=copies.of(COMPARED_MAP),
    )


def conversion_is_atomic(evidence: Evidence) -> Check:
    return check_result(
        "I13",
        Message("promise_I13"),
        count_rows("guid_map"),
        DatabaseRule("trigger", "guid_map", "guid_customer_and_channel_share_the_company"),
        DatabaseRule("trigger", "customer", "a_change_takes_a_new_number"),
        DatabaseRule("trigger", "customer", "new_customers_are_remembered"),
        DatabaseRule("trigger", "customer", "changes_are_remembered"),
        DatabaseRule("constraint", "customer", "a_change_number_is_given_once"),
        DatabaseRule("trigger", "company", "the_change_number_never_falls"),
        """SELECT event.async_account::text, 'applied without account' AS what
             FROM staged_customer event LEFT JOIN guid_map USING (async_account)
            WHERE event.status IN ('applied', 'superseded') AND event.is_by_guid
              AND event.reason IS DISTINCT FROM 'corrected'
              AND guid_map.async_account IS NULL""",
        """SELECT guid_map.async_account::text, 'account without customer' AS what
             FROM guid_map LEFT JOIN customer ON customer.id = guid_map.customer_id
            WHERE customer.id IS NULL""",
        """SELECT guid_map.async_account::text, 'account without event' AS what FROM guid_map
            WHERE NOT EXISTS (SELECT FROM staged_customer event
                               WHERE event.async_account = guid_map.async_account
                                 -- Replaced: a later edit reached a recovered HQ before it.
                                 AND event.status IN ('applied', 'superseded', 'erased'))
              -- A recovered HQ has the values of a channel, instead of an event that a till sent to
              -- the real-time service.
              AND NOT EXISTS (SELECT FROM customer
                               WHERE customer.id = guid_map.customer_id
                                 AND event_generation = 0 AND event_counter IS NULL)""",
        """SELECT guid_map.async_account::text, 'no change' AS what
             FROM guid_map
             JOIN customer ON customer.id = guid_map.customer_id
             JOIN company ON company.code = customer.company_id
             LEFT JOIN customer_change ON customer_change.customer_id = customer.id
              AND customer_change.change_no = customer.change_no
            WHERE customer_change.version IS DISTINCT FROM customer.hq_version
               OR customer.change_no > company.change_no""",
    )
