"""GUIDs that a channel names although another one made them and never shared them.

A channel that names a GUID of another one is asked what it holds: HQ notes what a channel was given
only after the channel has committed it, and a recovered HQ may not know of it.
"""

from typing import Any

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch, run_sql
from stores.hqdb.work_table import WorkTable
from stores.pipeline.events.kinds import StagedTable
from stores.pipeline.guids import GIVEN_TO_CHANNEL
from stores.pipeline.upload.quarantine import UploadSource

FOREIGN_GUIDS = load(__file__, "foreign_guids")


def reject_foreign_guids(
    source: UploadSource, kind: StagedTable, incoming: WorkTable, rejected: WorkTable
) -> None:
    """Name incoming rows whose GUID another channel made and never shared with this one.

    An event that HQ holds already is no conflict: a copied channel sends those of its original.
    """
    channel = source.database.channel
    foreign = not_held(source, foreign_by_hq(source, incoming))
    if not foreign:
        return
    run_sql(
        """INSERT INTO {rejected} (replication_counter, reason, field, rule)
           SELECT i.replication_counter,
                  CASE WHEN f.company = %(company)s THEN 'guid_conflict'
                       ELSE 'company_mismatch' END, 'async_account',
                  CASE WHEN f.company = %(company)s
                       THEN 'a GUID of this channel, or one that it was given'
                       ELSE 'a GUID of ' || %(company)s END
             FROM {incoming} i
             JOIN unnest(%(guids)s::uuid[], %(companies)s::text[]) f (guid, company)
               ON f.guid = i.async_account
            WHERE NOT EXISTS (SELECT FROM {held} held WHERE held.event_id = i.event_id)
               ON CONFLICT DO NOTHING""",
        {
            "company": channel.company_id,
            "guids": [guid for guid, _, _ in foreign],
            "companies": [company for _, company, _ in foreign],
        },
        rejected=rejected,
        incoming=incoming,
        held=sql.Identifier(kind.event),
    )


def foreign_by_hq(source: UploadSource, incoming: WorkTable) -> list[tuple[Any, ...]]:
    """GUIDs of the incoming rows that are another channel's, as far as HQ knows.

    Shape: GUID, the company it belongs to, its account if it has one.
    """
    return fetch(foreign_statement(incoming), {"channel": source.database.channel_id})


def foreign_statement(incoming: WorkTable) -> sql.Composed:
    return FOREIGN_GUIDS.format(
        incoming=incoming,
        is_given=sql.SQL(GIVEN_TO_CHANNEL).format(channel=sql.Placeholder("channel")),
    )


def not_held(source: UploadSource, foreign: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those of the GUIDs that the channel was never given, by its own account_map.

    Read after the events: a GUID that arrived in between is not refused.
    """
    company = source.database.channel.company_id
    asked = [guid for guid, home, account in foreign if account and home == company]
    if not asked or source.accounts_of is None:
        return foreign
    known = source.accounts_of(asked)
    return [row for row in foreign if known.get(row[0]) != (company, row[2])]
