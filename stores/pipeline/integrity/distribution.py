"""Checks of what channels know: nothing but what HQ gave them, all of it, and each person once.

A statement of a check finds what is wrong. `seen` is a channel database with what HQ read of it;
`{map}` and `{customers}` are copies of the channels' tables account_map and customer.
"""

from typing import Any

from stores.hqdb.sql import fetch, fetch_value
from stores.messages.message import Message
from stores.pipeline.integrity.checks import Check, check_result, count_rows
from stores.pipeline.integrity.contents import (
    HELD_CUSTOMERS,
    HELD_VERSIONS,
    LATEST_VERSIONS,
    find_wrong_rows,
)
from stores.pipeline.integrity.evidence import Evidence
from stores.pipeline.integrity.snapshot import Copies
from stores.pipeline.integrity.tables import COMPARED_CUSTOMERS, COMPARED_MAP

# The accounts that channels know of a GUID, but that are not those of HQ.
FOREIGN_ACCOUNTS = """
    SELECT seen.label AS channel, held.async_account::text, held.company, held.account_number
      FROM {map} held JOIN {channels} seen USING (database_id)
      LEFT JOIN guid_map guid USING (async_account)
      LEFT JOIN customer ON customer.id = guid.customer_id
     WHERE (held.company, held.account_number)
           IS DISTINCT FROM (customer.company_id::text, customer.account_number::text)"""


def channels_know_nothing_else(evidence: Evidence) -> Check:
    return check_result(
        "I17",
        Message("promise_I17"),
        count_rows(evidence.copies.of(COMPARED_MAP)),
        evidence.snapshot.unreachable,
        FOREIGN_ACCOUNTS,
        names=evidence.names,
    )


# The customers that an enabled database lacks, by its position or as an exception. Registers that
# are sent no customers lack none.
PENDING_CUSTOMERS = """
    SELECT seen.label, database.id AS database_id, customer.account_number,
           greatest(customer.created_at, customer.modified_at) AS changed_at
      FROM {channels} seen
      JOIN channel_database database ON database.id = seen.database_id
      JOIN channel ON channel.id = database.channel_id
      JOIN customer ON customer.company_id = channel.company_id
     WHERE (customer.change_no > database.position
            OR EXISTS (SELECT FROM download_exception exception
                        WHERE exception.database_id = database.id
                          AND exception.customer_id = customer.id
                          AND exception.settled_at IS NULL))
       AND NOT EXISTS (SELECT FROM excluded_database excluded
                        WHERE excluded.database_id = database.id AND excluded.job = '1010')"""


def channels_know_what_was_delivered(evidence: Evidence) -> Check:
    names = evidence.names
    accounts_of_held = f"""SELECT count(*) FROM ({HELD_CUSTOMERS} OFFSET 0) held
                             JOIN guid_map USING (customer_id)"""  # noqa: S608
    pending = f"SELECT count(*) FROM ({PENDING_CUSTOMERS}) pending"  # noqa: S608
    return check_result(
        "I18",
        Message("promise_I18"),
        fetch_value(accounts_of_held, **names),
        evidence.snapshot.unreachable,
        f"""SELECT seen.label AS channel, guid.async_account::text, 'lacks the account' AS what
              FROM ({HELD_CUSTOMERS} OFFSET 0) held
              JOIN {{channels}} seen USING (database_id)
              JOIN guid_map guid USING (customer_id)
             WHERE NOT EXISTS (SELECT FROM {{map}} mapped
                                WHERE mapped.database_id = held.database_id
                                  AND mapped.async_account = guid.async_account)""",  # noqa: S608
        f"""SELECT pending.label AS channel, pending.account_number, 'passed by' AS what
              FROM ({PENDING_CUSTOMERS}) pending
             WHERE EXISTS (SELECT FROM {{cutoffs}} download
                            WHERE download.step = 'download'
                              AND download.database_id = pending.database_id
                              AND pending.changed_at < download.cutoff)""",  # noqa: S608
        names=names,
        late=fetch_value(pending, **names),
    )


def are_all_delivered(evidence: Evidence) -> bool:
    """Whether no customer has changed since a channel was sent its latest change."""
    answer = fetch_value(
        """SELECT NOT EXISTS (
               SELECT FROM {channels} seen
                 JOIN channel_database database ON database.id = seen.database_id
                 JOIN channel ON channel.id = database.channel_id
                 JOIN customer ON customer.company_id = channel.company_id
                              AND customer.change_no > seen.position)""",
        **evidence.names,
    )
    return bool(answer)


def positions_are_true(evidence: Evidence) -> Check:
    # To plan the view of all deliveries takes long.
    versions = LATEST_VERSIONS if are_all_delivered(evidence) else HELD_VERSIONS
    return check_result(
        "I19",
        Message("promise_I19_with_content" if evidence.snapshot.with_rows else "promise_I19"),
        count_rows(evidence.copies.channels, "position > 0"),
        evidence.snapshot.unreachable,
        f"""SELECT seen.label AS channel, customer.account_number, held.version,
                   shown.hq_version AS in_channel
              FROM ({versions}) held
              JOIN {{channels}} seen USING (database_id)
              JOIN customer ON customer.id = held.customer_id
              LEFT JOIN {{customers}} shown
                     ON shown.database_id = held.database_id
                    AND shown.company = customer.company_id
                    AND shown.account_number = customer.account_number
             WHERE shown.hq_version IS NULL OR shown.hq_version < held.version""",  # noqa: S608
        """SELECT seen.label AS channel, seen.position AS in_channel, seen.noted_position AS noted
             FROM {channels} seen JOIN channel_database database ON database.id = seen.database_id
            WHERE seen.position < seen.noted_position AND seen.generation = database.generation
              AND database.position >= seen.noted_position""",
        """SELECT seen.label AS channel, seen.position AS in_channel, company.change_no AS latest
             FROM {channels} seen
             JOIN channel_database database ON database.id = seen.database_id
             JOIN channel ON channel.id = database.channel_id
             JOIN company ON company.code = channel.company_id
            WHERE seen.position > company.change_no""",
        # Customers up to the position of a database that no session and no range has brought.
        """SELECT trim(database_place(database.id)) AS channel, customer.account_number,
                  'no session or range' AS what
             FROM channel_database database JOIN channel ON channel.id = database.channel_id
             LEFT JOIN (SELECT database_id, range_agg(changes) AS changes
                          FROM delivered_range GROUP BY database_id) sent
                    ON sent.database_id = database.id
            CROSS JOIN LATERAL unnest(int8multirange(int8range(0, database.position, '(]'))
                                      - coalesce(sent.changes, int8multirange())) gap
             JOIN customer ON customer.company_id = channel.company_id
                          AND customer.change_no >= lower(gap)
                          AND customer.change_no < upper(gap)""",
        """SELECT package.company_id AS company, package.from_no, package.to_no,
                  'rows differ' AS what
             FROM package LEFT JOIN package_table content ON content.package_id = package.id
            WHERE package.dropped_at IS NULL
            GROUP BY package.id
           HAVING coalesce(sum(content.rows), 0) <> package.rows
               OR coalesce(sum(octet_length(content.data)), 0) <> package.size_bytes""",
        other_contents(evidence.copies) if evidence.snapshot.with_rows else [],
        names=evidence.names,
    )


def other_contents(copies: Copies) -> list[dict[str, Any]]:
    """Return the rows of channels with another content than HQ's."""
    return [
        {"channel": label, "table": row.table, "account_number": row.account}
        for database, label in fetch("SELECT database_id, label FROM {channels}", **copies.names)
        for row in find_wrong_rows(database, copies.held)
    ]


def tills_see_each_person_once(evidence: Evidence) -> Check:
    return check_result(
        "I20",
        Message("promise_I20"),
        count_rows(evidence.copies.of(COMPARED_CUSTOMERS)),
        evidence.snapshot.unreachable,
        evidence.snapshot.shown,
    )


# The channel is in the state of a visit that HQ had confirmed or intended before it read the
# channel, or has confirmed or intended by now.
IS_AT_LAST_VISIT = """(seen.epoch, seen.nonce) IN (
              (seen.confirmed_epoch, seen.confirmed_nonce::text),
              (seen.intended_epoch, seen.intended_nonce::text),
              (known.confirmed_epoch, known.confirmed_nonce::text),
              (known.intended_epoch, known.intended_nonce::text))
           OR (seen.epoch > seen.confirmed_epoch AND seen.epoch < known.confirmed_epoch)"""


def channels_are_at_the_last_visit(evidence: Evidence) -> Check:
    return check_result(
        "I30",
        Message("promise_I30"),
        count_rows(evidence.copies.channels),
        evidence.snapshot.unreachable,
        f"""SELECT seen.label AS channel, seen.epoch AS in_channel,
                   known.confirmed_epoch AS confirmed, known.intended_epoch AS intended,
                   seen.identity IS DISTINCT FROM known.database_id::text AS is_another_database
              FROM {{channels}} seen JOIN channel_database known ON known.id = seen.database_id
             WHERE known.confirmed_nonce IS NOT NULL
               AND (seen.identity IS DISTINCT FROM known.database_id::text
                    OR NOT coalesce({IS_AT_LAST_VISIT}, false))
               AND NOT EXISTS (SELECT FROM incident
                                WHERE incident.database_id = seen.database_id
                                  AND incident.closed_at IS NULL)""",  # noqa: S608
        names=evidence.names,
    )


def no_number_is_ahead_of_hq(evidence: Evidence) -> Check:
    return check_result(
        "I31",
        Message("promise_I31"),
        count_rows(evidence.copies.of(COMPARED_MAP)) + count_rows(evidence.journal.numbers),
        evidence.snapshot.unreachable,
        """SELECT seen.label AS channel, held.company,
                  max(parse_number(sequence.format, held.account_number)) AS highest, sequence.next
             FROM {map} held JOIN {channels} seen USING (database_id)
             JOIN number_sequence sequence ON sequence.company_id = held.company
            WHERE parse_number(sequence.format, held.account_number)
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
