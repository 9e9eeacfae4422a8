"""What channels know: nothing else than HQ gave them, all of it, and each person once."""

from typing import Any

from psycopg2 import sql

from stores.hqdb.sql import fetch, fetch_one
from stores.pipeline.integrity.checks import GRACE, Check, check_result, count_rows, offending_rows
from stores.pipeline.integrity.contents import HELD_CUSTOMERS, HELD_VERSIONS, find_wrong_rows
from stores.pipeline.integrity.evidence import Evidence
from stores.pipeline.integrity.snapshot import Copies
from stores.pipeline.integrity.tables import COMPARED_CUSTOMERS, COMPARED_MAP


def channels_know_nothing_else(evidence: Evidence) -> Check:
    return check_result(
        "I17",
        "Every account that a channel knows is the one headquarters assigned to the GUID.",
        count_rows(evidence.copies.of(COMPARED_MAP)),
        evidence.snapshot.unreachable,
        """SELECT seen.label AS channel, held.async_account::text, held.company,
                  held.account_number
             FROM {map} held JOIN {channels} seen USING (database_id)
             LEFT JOIN guid_map guid USING (async_account)
             LEFT JOIN customer ON customer.id = guid.customer_id
            WHERE (held.company, held.account_number)
                  IS DISTINCT FROM (customer.company_id::text, customer.account_number::text)""",
        names=evidence.names,
    )


# Customers of whom a channel says that it has their latest change, as HQ has them.
HELD = f"""FROM ({HELD_CUSTOMERS}) held
           JOIN {{channels}} c USING (database_id) JOIN customer k ON k.id = held.customer_id"""
# Customers that an enabled database lacks, by its position or as an exception.
PENDING = """FROM {channels} c JOIN channel_database b ON b.id = c.database_id
             JOIN channel h ON h.id = b.channel_id JOIN customer k ON k.company_id = h.company_id
            WHERE (k.change_no > b.position
                   OR EXISTS (SELECT FROM download_exception e
                               WHERE e.database_id = b.id AND e.customer_id = k.id
                                 AND e.settled_at IS NULL))"""


def channels_know_what_was_delivered(evidence: Evidence) -> Check:
    (pending,) = fetch_one(sql.SQL(f"SELECT count(*) {PENDING}").format(**evidence.names))
    (held,) = fetch_one(
        sql.SQL(f"SELECT count(*) {HELD} JOIN guid_map m ON m.customer_id = k.id").format(
            **evidence.names
        )
    )
    return check_result(
        "I18",
        "Every enabled channel has the account of every GUID of its company, or its delivery is"
        " pending and no download has skipped it.",
        int(held),
        evidence.snapshot.unreachable,
        offending_rows(
            f"""SELECT c.label AS channel, m.async_account::text, 'lacks the account' AS what
                {HELD} JOIN guid_map m ON m.customer_id = k.id
                 WHERE NOT EXISTS (SELECT FROM {{map}} v
                                    WHERE v.database_id = c.database_id
                                      AND v.async_account = m.async_account)""",  # noqa: S608
            **evidence.names,
        ),
        offending_rows(
            f"""SELECT c.label AS channel, k.account_number, 'passed by' AS what {PENDING}
                  AND EXISTS (SELECT FROM {{last_starts}} w
                               WHERE w.step = 'download' AND w.database_id = b.id
                                 AND greatest(k.created_at, k.modified_at)
                                     < w.since - {GRACE})""",  # noqa: S608
            **evidence.names,
        ),
        late=int(pending),
    )


# Customers up to the position of a database whom no session and no range has brought.
NEVER_SENT = """
    SELECT trim(database_place(channel_database.id)) AS channel, customer.account_number,
           'no session or range' AS what
      FROM channel_database JOIN channel ON channel.id = channel_database.channel_id
      LEFT JOIN (SELECT database_id, range_agg(changes) AS changes
                   FROM delivered_range GROUP BY database_id) sent
             ON sent.database_id = channel_database.id
     CROSS JOIN LATERAL unnest(int8multirange(int8range(0, channel_database.position, '(]'))
                               - coalesce(sent.changes, int8multirange())) gap
      JOIN customer ON customer.company_id = channel.company_id
                   AND customer.change_no >= lower(gap) AND customer.change_no < upper(gap)"""


def positions_are_true(evidence: Evidence) -> Check:
    return check_result(
        "I19",
        "What a channel says it has is there, in that version or a newer one"
        + (", with the same content" if evidence.snapshot.with_rows else "")
        + ". Headquarters has noted no more, and when it was sent; and every package is as it was"
        " made.",
        count_rows(evidence.copies.channels, "position > 0"),
        evidence.snapshot.unreachable,
        offending_rows(
            f"""SELECT c.label AS channel, k.account_number, held.version,
                       v.hq_version AS in_channel
                  FROM ({HELD_VERSIONS}) held
                  JOIN {{channels}} c USING (database_id) JOIN customer k ON k.id = held.customer_id
                  LEFT JOIN {{customers}} v
                         ON v.database_id = c.database_id AND v.company = k.company_id
                        AND v.account_number = k.account_number
                 WHERE v.hq_version IS NULL OR v.hq_version < held.version""",  # noqa: S608
            **evidence.names,
        ),
        offending_rows(
            """SELECT c.label AS channel, c.position AS in_channel, c.noted_position AS noted
                 FROM {channels} c JOIN channel_database b ON b.id = c.database_id
                WHERE c.position < c.noted_position AND c.generation = b.generation
                  AND b.position >= c.noted_position""",
            **evidence.names,
        ),
        offending_rows(
            """SELECT c.label AS channel, c.position AS in_channel, o.change_no AS latest
                 FROM {channels} c JOIN channel_database b ON b.id = c.database_id
                 JOIN channel h ON h.id = b.channel_id JOIN company o ON o.code = h.company_id
                WHERE c.position > o.change_no""",
            **evidence.names,
        ),
        offending_rows(NEVER_SENT),
        offending_rows(
            """SELECT p.company_id AS company, p.from_no, p.to_no, 'rows differ' AS what
                 FROM package p LEFT JOIN package_table t ON t.package_id = p.id
                WHERE p.dropped_at IS NULL
                GROUP BY p.id HAVING coalesce(sum(t.rows), 0) <> p.rows
                    OR coalesce(sum(octet_length(t.data)), 0) <> p.size_bytes"""
        ),
        other_contents(evidence.copies) if evidence.snapshot.with_rows else [],
    )


def other_contents(copies: Copies) -> list[dict[str, Any]]:
    channels = sql.SQL("SELECT database_id, label FROM {channels}").format(**copies.names)
    return [
        {"channel": label, "table": row.table, "account_number": row.account}
        for database, label in fetch(channels)
        for row in find_wrong_rows(database, copies.held)
    ]


def tills_see_each_person_once(evidence: Evidence) -> Check:
    return check_result(
        "I20",
        "A till's search shows each person once, by account or as pending, and never by a GUID.",
        count_rows(evidence.copies.of(COMPARED_CUSTOMERS)),
        evidence.snapshot.unreachable,
        evidence.snapshot.shown,
    )


# The pair that HQ had confirmed or intended before it read the channel, or has by now.
FENCED = """(seen.epoch, seen.nonce) IN (
              (seen.confirmed_epoch, seen.confirmed_nonce::text),
              (seen.intended_epoch, seen.intended_nonce::text),
              (known.confirmed_epoch, known.confirmed_nonce::text),
              (known.intended_epoch, known.intended_nonce::text))
           OR (seen.epoch > seen.confirmed_epoch AND seen.epoch < known.confirmed_epoch)"""


def channels_are_at_the_last_visit(evidence: Evidence) -> Check:
    return check_result(
        "I30",
        "Every channel is the registered database, in the state of its last visit, or an incident"
        " is open.",
        count_rows(evidence.copies.channels),
        evidence.snapshot.unreachable,
        f"""SELECT seen.label AS channel, seen.epoch AS in_channel,
                   known.confirmed_epoch AS confirmed, known.intended_epoch AS intended,
                   seen.identity IS DISTINCT FROM known.database_id::text AS is_another_database
              FROM {{channels}} seen JOIN channel_database known ON known.id = seen.database_id
             WHERE known.confirmed_nonce IS NOT NULL
               AND (seen.identity IS DISTINCT FROM known.database_id::text
                    OR NOT coalesce({FENCED}, false))
               AND NOT EXISTS (SELECT FROM incident
                                WHERE incident.database_id = seen.database_id
                                  AND incident.closed_at IS NULL)""",  # noqa: S608
        names=evidence.names,
    )


def no_number_is_ahead_of_hq(evidence: Evidence) -> Check:
    return check_result(
        "I31",
        "No channel and no number journal knows a number that headquarters has yet to issue.",
        count_rows(evidence.copies.of(COMPARED_MAP)) + count_rows(evidence.journal.numbers),
        evidence.snapshot.unreachable,
        """SELECT seen.label AS channel, held.company,
                  max(account_place(sequence.format, held.account_number)) AS highest, sequence.next
             FROM {map} held JOIN {channels} seen USING (database_id)
             JOIN number_sequence sequence ON sequence.company_id = held.company
            WHERE account_place(sequence.format, held.account_number)
                  BETWEEN sequence.next AND sequence.largest
            GROUP BY seen.label, held.company, sequence.next""",
        """SELECT seen.label AS channel, high.key AS company, high.value::bigint AS highest,
                  sequence.next
             FROM {channels} seen, jsonb_each_text(seen.account_high) high
             JOIN number_sequence sequence ON sequence.company_id = high.key
            WHERE high.value::bigint >= sequence.next""",
        """SELECT 'number journal' AS place, issued.company, max(issued.number) AS highest,
                  sequence.next
             FROM {numbers} issued
             LEFT JOIN number_sequence sequence ON sequence.company_id = issued.company
            WHERE sequence.next IS NULL OR issued.number >= sequence.next
            GROUP BY issued.company, sequence.next""",
        """SELECT seen.label AS channel, high.key AS series, high.value::bigint AS highest,
                  coalesce(issued.number, 0) AS issued
             FROM {channels} seen, jsonb_each_text(seen.issued) high
             LEFT JOIN issued_document issued
                    ON issued.company || '/' || issued.series = high.key
            WHERE high.value::bigint > coalesce(issued.number, 0)""",
        """SELECT 'number journal' AS place, company || '/' || series AS series,
                  max(height.number) AS highest, coalesce(max(issued.number), 0) AS issued
             FROM {heights} height LEFT JOIN issued_document issued USING (company, series)
            GROUP BY company, series
           HAVING max(height.number) > coalesce(max(issued.number), 0)""",
        names=evidence.names,
    )
