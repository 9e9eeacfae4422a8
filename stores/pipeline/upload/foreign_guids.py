"""GUIDs that a channel names although another one made them and never shared them.

A channel that names a GUID of another one is asked what it holds: HQ notes what a channel was given
only after the channel has committed it, and a recovered HQ may not know of it.
"""

from typing import Any

from psycopg2 import sql

from stores.hqdb.sql import fetch
from stores.pipeline.events.kinds import StagedTable
from stores.pipeline.guids import GIVEN_TO_CHANNEL
from stores.pipeline.upload.quarantine import UploadBatch, reject_rows


def reject_foreign_guids(batch: UploadBatch, kind: StagedTable) -> None:
    """Name rows of incoming whose GUID another channel made and never shared with this one.

    An event that HQ holds already is no conflict: a copied channel sends those of its original.
    """
    channel = batch.database.channel
    foreign = not_held(batch, foreign_by_hq(batch))
    if not foreign:
        return
    reject_rows(
        sql.SQL(
            """SELECT i.replication_counter,
                      CASE WHEN f.company = %(company)s THEN 'guid_conflict'
                           ELSE 'company_mismatch' END, 'async_account',
                      CASE WHEN f.company = %(company)s
                           THEN 'a GUID of this channel, or one that it was given'
                           ELSE 'a GUID of ' || %(company)s END
                 FROM incoming i
                 JOIN unnest(%(guids)s::uuid[], %(companies)s::text[]) f (guid, company)
                   ON f.guid = i.async_account
                WHERE NOT EXISTS (SELECT FROM {held} held WHERE held.event_id = i.event_id)"""
        ).format(held=sql.Identifier(kind.event)),
        {
            "company": channel.company_id,
            "guids": [guid for guid, _, _ in foreign],
            "companies": [company for _, company, _ in foreign],
        },
    )


def foreign_by_hq(batch: UploadBatch) -> list[tuple[Any, ...]]:
    """GUIDs in incoming that are another channel's, as far as HQ knows.

    Shape: GUID, the company it belongs to, its account if it has one. A GUID that waits is that of
    the channel whose event came first.
    """
    # Arrays have the GUIDs looked up by index: statistics know too little of a backlog that grows,
    # and all of it would be read for every batch.
    return fetch(
        sql.SQL(
            """WITH named AS MATERIALIZED (
                 SELECT array_agg(DISTINCT async_account) AS guids FROM incoming),
               waiting AS (
                 SELECT DISTINCT ON (s.async_account) s.async_account, s.company_id, b.channel_id
                   FROM async_customer s JOIN channel_database b ON b.id = s.database_id
                  WHERE s.company_id = ANY(ARRAY(SELECT code FROM company))
                    AND s.async_account = ANY((SELECT guids FROM named)::uuid[])
                    AND s.status IN ('pending', 'failed')
                    AND s.reason IS DISTINCT FROM 'guid_conflict'
                  ORDER BY s.async_account, s.staged_at),
               known AS (
                 SELECT async_account, company_id, channel_id, customer_id FROM guid_map
                  WHERE async_account = ANY((SELECT guids FROM named)::uuid[]))
               SELECT async_account::text, coalesce(m.company_id, w.company_id),
                      (SELECT account_number FROM customer WHERE id = m.customer_id)
                 FROM waiting w FULL JOIN known m USING (async_account)
                WHERE w.channel_id IS DISTINCT FROM %(channel)s
                  AND CASE WHEN m.channel_id IS NULL THEN true
                           ELSE m.channel_id <> %(channel)s AND NOT {given} END"""
        ).format(given=sql.SQL(GIVEN_TO_CHANNEL).format(channel=sql.Placeholder("channel"))),
        {"channel": batch.database.channel_id},
    )


def not_held(batch: UploadBatch, foreign: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those of the GUIDs that the channel was never given, by its own account_map.

    Read after the events: a GUID that arrived in between is not refused.
    """
    company = batch.database.channel.company_id
    asked = [guid for guid, home, account in foreign if account and home == company]
    if not asked or batch.accounts_of is None:
        return foreign
    known = batch.accounts_of(asked)
    return [row for row in foreign if known.get(row[0]) != (company, row[2])]
