"""Who is who: one GUID, one account, one number; a conversion is whole or not at all."""

from psycopg2 import sql

from stores.hqdb.files import load
from stores.pipeline.events import document_tables
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.pipeline.guids import GIVEN_TO_CHANNEL
from stores.pipeline.integrity.checks import (
    Check,
    DatabaseRule,
    check_result,
    count_rows,
    missing_rules,
    offending_rows,
)
from stores.pipeline.integrity.evidence import Evidence
from stores.pipeline.integrity.snapshot import Copies
from stores.pipeline.integrity.tables import COMPARED_CUSTOMERS, COMPARED_MAP

NEVER_GIVEN = load(__file__, "never_given")


def one_account_per_guid(evidence: Evidence) -> Check:
    return check_result(
        "I1",
        "One GUID has at most one account.",
        count_rows("guid_map"),
        missing_rules(DatabaseRule("constraint", "guid_map", "guid_map_pkey")),
        offending_rows(
            """SELECT async_account::text, count(*) AS accounts FROM guid_map
                GROUP BY async_account HAVING count(*) > 1"""
        ),
    )


def one_guid_creates_an_account(evidence: Evidence) -> Check:
    return check_result(
        "I2",
        "Each account has exactly one GUID that created it; any other GUID is linked.",
        count_rows("customer"),
        missing_rules(
            DatabaseRule("constraint", "customer", "account_is_unique_in_its_company"),
            DatabaseRule("unique index", "guid_map", "one_guid_creates_an_account"),
            DatabaseRule("constraint", "guid_map", "guid_origin_is_known"),
        ),
        offending_rows(
            """SELECT company_id AS company, account_number, count(*) AS customers FROM customer
                GROUP BY company_id, account_number HAVING count(*) > 1"""
        ),
        offending_rows(
            """SELECT k.company_id AS company, k.account_number,
                      count(m.async_account) AS creating_guids
                 FROM customer k
                 LEFT JOIN guid_map m ON m.customer_id = k.id AND m.origin = 'created'
                GROUP BY k.id, k.company_id, k.account_number, k.number
               HAVING count(m.async_account) > 1
                   OR (k.number IS NOT NULL AND count(m.async_account) = 0)"""
        ),
    )


def numbers_have_no_gaps(evidence: Evidence) -> Check:
    return check_result(
        "I3",
        "A company's account numbers have no gap and no duplicate, and none is above the next"
        " number to issue.",
        count_rows("customer", "number IS NOT NULL"),
        missing_rules(
            DatabaseRule("constraint", "customer", "number_is_issued_once_in_its_company"),
            DatabaseRule("trigger", "customer", "accounts_fit_their_sequence"),
            DatabaseRule("trigger", "customer", "a_customer_is_never_deleted"),
            DatabaseRule("trigger", "number_sequence", "the_next_number_never_falls"),
            DatabaseRule("trigger", "number_sequence", "a_used_sequence_is_never_deleted"),
        ),
        offending_rows(
            """SELECT s.company_id AS company, count(k.number) AS have, s.next - s.start AS should,
                      min(k.number) AS smallest, max(k.number) AS largest, s.next
                 FROM number_sequence s LEFT JOIN customer k USING (company_id)
                GROUP BY s.company_id, s.start, s.next
               HAVING count(DISTINCT k.number) <> s.next - s.start
                   OR count(k.number) <> s.next - s.start
                   OR coalesce(min(k.number), s.start) <> s.start
                   OR coalesce(max(k.number), s.start - 1) <> s.next - 1"""
        ),
        offending_rows(
            """SELECT k.company_id AS company, k.account_number, k.number
                 FROM customer k LEFT JOIN number_sequence s USING (company_id)
                WHERE CASE WHEN k.number IS NOT NULL THEN s.next IS NULL
                      ELSE account_place(s.format, k.account_number) BETWEEN s.start AND s.largest
                      END"""
        ),
    )


def accounts_have_their_format(evidence: Evidence) -> Check:
    return check_result(
        "I4",
        "Account numbers follow the format of their company, which never changes once used.",
        count_rows("customer", "number IS NOT NULL"),
        missing_rules(
            DatabaseRule("trigger", "customer", "an_account_never_changes"),
            DatabaseRule("trigger", "number_sequence", "the_format_is_frozen_once_used"),
        ),
        offending_rows(
            """SELECT k.company_id AS company, k.account_number, k.number
                 FROM customer k JOIN number_sequence s USING (company_id)
                WHERE k.number IS NOT NULL
                  AND k.account_number <> account_text(s.format, k.number)"""
        ),
    )


def accounts_are_never_rewritten(evidence: Evidence) -> Check:
    return check_result(
        "I5",
        "A GUID keeps its account forever: at headquarters, in its events and in the channels.",
        count_rows("guid_map"),
        evidence.snapshot.unreachable,
        missing_rules(DatabaseRule("trigger", "guid_map", "the_map_never_changes")),
        offending_rows(
            """SELECT c.label AS channel, v.async_account::text, v.account_number AS in_channel,
                      k.account_number AS at_headquarters
                 FROM {map} v JOIN {channels} c USING (database_id)
                 JOIN guid_map m USING (async_account) JOIN customer k ON k.id = m.customer_id
                WHERE (v.company, v.account_number)
                      IS DISTINCT FROM (k.company_id::text, k.account_number::text)""",
            evidence.names,
        ),
        offending_rows(
            """SELECT s.async_account::text, s.event_id::text, was.account_number AS applied_to,
                      k.account_number AS at_headquarters
                 FROM async_customer s JOIN guid_map m USING (async_account)
                 JOIN customer k ON k.id = m.customer_id
                 LEFT JOIN customer was ON was.id = s.customer_id
                WHERE s.status IN ('applied', 'superseded') AND s.account_number IS NULL
                  AND s.customer_id <> m.customer_id"""
        ),
    )


def accounts_stay_in_their_company(evidence: Evidence) -> Check:
    return check_result(
        "I6",
        "An account belongs to the company of the channel that sent its GUID. Channels see only"
        " their own company's accounts, and can change only GUIDs that they created or received.",
        count_rows("guid_map"),
        evidence.snapshot.unreachable,
        missing_rules(
            DatabaseRule("trigger", "guid_map", "guid_customer_and_channel_share_the_company"),
            DatabaseRule("trigger", "channel", "a_channel_keeps_its_company"),
        ),
        offending_rows(
            """SELECT m.async_account::text, m.company_id AS company, h.company_id AS of_channel,
                      k.company_id AS of_customer
                 FROM guid_map m LEFT JOIN channel h ON h.id = m.channel_id
                 LEFT JOIN customer k ON k.id = m.customer_id
                WHERE h.company_id <> m.company_id OR k.company_id <> m.company_id"""
        ),
        offending_rows(
            """SELECT m.async_account::text, m.company_id AS company,
                      min(s.company_id) AS of_its_event
                 FROM guid_map m JOIN async_customer s USING (async_account)
                GROUP BY m.async_account, m.company_id
               HAVING bool_and(s.company_id <> m.company_id)"""
        ),
        *(
            offending_rows(
                sql.SQL(
                    """SELECT c.label AS channel, {source} AS "table", v.company, v.account_number
                         FROM {copy} v JOIN {channels} c USING (database_id)
                         JOIN channel_database b ON b.id = v.database_id
                         JOIN channel h ON h.id = b.channel_id WHERE v.company <> h.company_id"""
                ).format(
                    source=sql.Literal(copy.source),
                    copy=evidence.copies.of(copy).identifier,
                    channels=evidence.copies.channels.identifier,
                )
            )
            for copy in (COMPARED_MAP, COMPARED_CUSTOMERS)
        ),
        *(offending_rows(ACROSS_COMPANIES.format(table=table)) for table in NAMING),
        *(offending_rows(never_given(table, evidence.copies)) for table in NAMING),
    )


# Tables whose rows name a customer, and got one.
NAMING = (*(kind.event for kind in EVENT_KINDS), document_tables.DOCUMENT_TABLE)
ACROSS_COMPANIES = """SELECT s.event_id::text, '{table}' AS "table", s.company_id AS company,
                             k.company_id AS of_customer
                        FROM {table} s JOIN customer k ON k.id = s.customer_id
                       WHERE k.company_id <> s.company_id"""


def never_given(table: str, copies: Copies) -> sql.Composed:
    """Query for rows that named a GUID of another channel; see its file."""
    return NEVER_GIVEN.format(
        name=sql.Literal(table),
        event=sql.Identifier(table),
        is_given=sql.SQL(GIVEN_TO_CHANNEL).format(channel=sql.Identifier("b", "channel_id")),
        map=copies.of(COMPARED_MAP).identifier,
    )


def conversion_is_atomic(evidence: Evidence) -> Check:
    return check_result(
        "I13",
        "Account, customer, applied event and pending deliveries are created together.",
        count_rows("guid_map"),
        missing_rules(
            DatabaseRule("trigger", "guid_map", "guid_customer_and_channel_share_the_company"),
            DatabaseRule("trigger", "delivery", "deliveries_have_customer_and_database"),
            DatabaseRule("trigger", "delivery", "a_delivery_is_never_moved"),
        ),
        offending_rows(
            """SELECT s.async_account::text, 'applied without account' AS what
                 FROM async_customer s LEFT JOIN guid_map m USING (async_account)
                WHERE s.status IN ('applied', 'superseded') AND s.account_number IS NULL
                  AND s.reason IS DISTINCT FROM 'corrected' AND m.async_account IS NULL"""
        ),
        offending_rows(
            """SELECT m.async_account::text, 'account without customer' AS what
                 FROM guid_map m LEFT JOIN customer k ON k.id = m.customer_id WHERE k.id IS NULL"""
        ),
        offending_rows(
            """SELECT m.async_account::text, 'account without event' AS what FROM guid_map m
                WHERE NOT EXISTS (SELECT FROM async_customer s
                                   WHERE s.async_account = m.async_account
                                     AND s.status IN ('applied', 'erased'))"""
        ),
        offending_rows(
            """SELECT m.async_account::text, 'delivery missing' AS what,
                      concat_ws('/', h.code, nullif(b.name, '')) AS channel
                 FROM guid_map m
                 JOIN channel h ON h.company_id = m.company_id AND h.is_enabled
                 JOIN channel_database b ON b.channel_id = h.id AND b.is_enabled
                 LEFT JOIN delivery d ON d.database_id = b.id AND d.customer_id = m.customer_id
                WHERE d.customer_id IS NULL"""
        ),
    )
