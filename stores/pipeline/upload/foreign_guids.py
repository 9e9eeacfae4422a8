"""Reject events that name a GUID which their channel cannot know.

A till creates a customer under a GUID. Other channels learn of it only when HQ sends them the
customer, so a channel that names a *foreign* GUID otherwise is in error. HQ may have sent the
customer without knowing it: it records that after the channel has committed, and loses the record
if it is restored from a backup. So the channel is asked which of the GUIDs it was sent.
"""

from collections.abc import Sequence
from typing import NamedTuple

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch, fetch_value, run_sql
from stores.hqdb.work_table import WorkTable
from stores.pipeline.events.kinds import StagedTable
from stores.pipeline.guids import GIVEN_TO_CHANNEL
from stores.pipeline.upload.quarantine import UploadSource

FOREIGN_GUIDS = load(__file__, "foreign_guids")
KNOWN_ELSEWHERE = """
    WITH named AS MATERIALIZED (
      SELECT array_agg(DISTINCT async_account) AS guids FROM {incoming})
    SELECT EXISTS (SELECT FROM guid_map
                    WHERE async_account = ANY((SELECT guids FROM named)::uuid[])
                      AND channel_id IS DISTINCT FROM %(channel)s)
        OR EXISTS (SELECT FROM async_customer event
                     JOIN channel_database ON channel_database.id = event.database_id
                    WHERE event.async_account = ANY((SELECT guids FROM named)::uuid[])
                      AND channel_database.channel_id <> %(channel)s)"""


class ForeignGuid(NamedTuple):
    """A GUID of another channel, its company, and its account number if it has one."""

    guid: str
    company: str
    account: str | None


def reject_foreign_guids(
    source: UploadSource, kind: StagedTable, incoming: WorkTable, rejected: WorkTable
) -> None:
    """Reject the incoming rows with a foreign GUID, without those that HQ has staged before.

    A channel that was copied from another one sends the same events once more.
    """
    foreign = not_sent(source, foreign_by_hq(source, incoming))
    if not foreign:
        return
    run_sql(
        """INSERT INTO {rejected} (replication_counter, reason, field, rule)
           SELECT incoming.replication_counter,
                  CASE WHEN foreign_guid.company = %(company)s THEN 'guid_conflict'
                       ELSE 'company_mismatch' END, 'async_account',
                  CASE WHEN foreign_guid.company = %(company)s
                       THEN 'a GUID of this channel, or one that it was given'
                       ELSE 'a GUID of ' || %(company)s END
             FROM {incoming} incoming
             JOIN unnest(%(guids)s::uuid[], %(companies)s::text[]) foreign_guid (guid, company)
               ON foreign_guid.guid = incoming.async_account
            WHERE NOT EXISTS (SELECT FROM {held} held WHERE held.event_id = incoming.event_id)
               ON CONFLICT DO NOTHING""",
        {
            "company": source.database.channel.company_id,
            "guids": [row.guid for row in foreign],
            "companies": [row.company for row in foreign],
        },
        rejected=rejected,
        incoming=incoming,
        held=sql.Identifier(kind.event),
    )


def foreign_by_hq(source: UploadSource, incoming: WorkTable) -> list[ForeignGuid]:
    """Return the GUIDs in the incoming rows that are foreign as far as HQ knows."""
    channel = {"channel": source.database.channel_id}
    # Mostly HQ knows none of them from elsewhere. To plan the whole question takes longer.
    if not fetch_value(KNOWN_ELSEWHERE, channel, incoming=incoming):
        return []
    return [ForeignGuid(*row) for row in fetch(foreign_statement(incoming), channel)]


def foreign_statement(incoming: WorkTable) -> sql.Composed:
    return FOREIGN_GUIDS.format(
        incoming=incoming,
        is_given=sql.SQL(GIVEN_TO_CHANNEL).format(channel=sql.Placeholder("channel")),
    )


def not_sent(source: UploadSource, foreign: Sequence[ForeignGuid]) -> list[ForeignGuid]:
    """Return the GUIDs that the channel was not sent either, according to its own account_map."""
    company = source.database.channel.company_id
    candidates = [row.guid for row in foreign if row.account and row.company == company]
    if not candidates or source.accounts_of is None:
        return list(foreign)
    # It is read after the events, so a customer that was sent in between counts as known.
    account_map = source.accounts_of(candidates)
    return [row for row in foreign if account_map.get(row.guid) != (company, row.account)]
