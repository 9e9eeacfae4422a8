"""GUIDs that a channel names although another one made them and never shared them.

A channel that names a GUID of another one is asked what it holds: HQ notes what a channel was given
only after the channel has committed it, and a recovered HQ may not know of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch, run_sql
from stores.hqdb.work_table import WorkTable
from stores.pipeline.events.kinds import StagedTable
from stores.pipeline.guids import GIVEN_TO_CHANNEL
from stores.pipeline.upload.quarantine import UploadSource

FOREIGN_GUIDS = load(__file__, "foreign_guids")


class ForeignGuid(NamedTuple):
    """A GUID of another channel, the company it belongs to, and its account if it has one."""

    guid: str
    company: str
    account: str | None


def reject_foreign_guids(
    source: UploadSource, kind: StagedTable, incoming: WorkTable, rejected: WorkTable
) -> None:
    """Name incoming rows whose GUID another channel made and never shared with this one.

    An event that HQ holds already is no conflict: a copied channel sends those of its original.
    """
    foreign = not_held(source, foreign_by_hq(source, incoming))
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
    """GUIDs of the incoming rows that are another channel's, as far as HQ knows."""
    rows = fetch(foreign_statement(incoming), {"channel": source.database.channel_id})
    return [ForeignGuid(*row) for row in rows]


def foreign_statement(incoming: WorkTable) -> sql.Composed:
    return FOREIGN_GUIDS.format(
        incoming=incoming,
        is_given=sql.SQL(GIVEN_TO_CHANNEL).format(channel=sql.Placeholder("channel")),
    )


def not_held(source: UploadSource, foreign: Sequence[ForeignGuid]) -> list[ForeignGuid]:
    """Those of the GUIDs that the channel was never given, by its own account_map.

    Read after the events: a GUID that arrived in between is not refused.
    """
    company = source.database.channel.company_id
    asked = [row.guid for row in foreign if row.account and row.company == company]
    if not asked or source.accounts_of is None:
        return list(foreign)
    known = source.accounts_of(asked)
    return [row for row in foreign if known.get(row.guid) != (company, row.account)]
