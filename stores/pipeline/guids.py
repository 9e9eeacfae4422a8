"""Which GUIDs a channel may name: those that it made, and those of its company that it was given.

A GUID is made once, at a till. Other channels learn it from headquarters (HQ), together with the
account it became, in `account_map`. HQ notes that only after the channel has committed it, and a
recovered HQ may not know of it; so a channel that names a GUID of another one is asked what it
holds. Source: docs/channel-schema.md.
"""

from typing import Any

from psycopg2 import sql

from stores.pipeline.bulk import fetch
from stores.pipeline.kinds import CUSTOMER
from stores.pipeline.set_aside import Arrival, Sent, name_broken

# That HQ has noted once that a database of the channel has the customer. A database that is owed
# everything again keeps the session.
GIVEN = """EXISTS (SELECT FROM delivery d JOIN channel_database o ON o.id = d.database_id
                    WHERE o.channel_id = {channel} AND d.customer_id = m.customer_id
                      AND (d.delivered_version > 0 OR d.session_id IS NOT NULL))"""


def is_foreign(row: str, *, channel: tuple[str, str]) -> sql.Composable:
    """Condition on a staged row and guid_map m: its channel named a GUID that it could not know.

    What was there when the row came was judged then, with what the channel held; so this is about
    GUIDs that became an account later. What HQ makes names whom it likes.
    """
    return sql.SQL(
        """({row}.database_id IS NOT NULL AND m.channel_id <> {channel}
            AND m.created_at > {row}.staged_at AND NOT {given})"""
    ).format(
        row=sql.Identifier(row),
        channel=sql.Identifier(*channel),
        given=sql.SQL(GIVEN).format(channel=sql.Identifier(*channel)),
    )


def find_foreign_guids(arrival: Arrival, kind: Sent) -> None:
    """Name rows of incoming whose GUID another channel made and never shared with this one.

    An event that HQ holds already is no conflict: a copied channel sends those of its original.
    """
    channel = arrival.database.channel
    foreign = not_held(arrival, look_up(arrival, kind))
    if not foreign:
        return
    name_broken(
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


# Most of what a till adds belongs to a customer of its own that waits for the account. The sum
# keeps the index for counting by database out: all that is open would be read for each GUID.
OTHERS = """SELECT DISTINCT i.async_account
              FROM incoming i LEFT JOIN LATERAL (
                   SELECT true AS is_there FROM async_customer s
                    WHERE s.company_id = %(company)s AND s.status = 'pending'
                      AND s.async_account = i.async_account AND s.database_id + 0 = %(database)s
                    LIMIT 1) own ON true
             WHERE i.async_account IS NOT NULL AND own.is_there IS NULL"""
ALL = "SELECT DISTINCT async_account FROM incoming WHERE async_account IS NOT NULL"


def look_up(arrival: Arrival, kind: Sent) -> list[tuple[Any, ...]]:
    """GUIDs in incoming that are another channel's, as far as HQ knows.

    Shape: GUID, the company it belongs to, its account if it has one.
    """
    # LIMIT has each GUID looked up by index: statistics know too little of a backlog that grows,
    # and its customers would be read whole for every batch.
    return fetch(
        sql.SQL(
            """WITH named AS MATERIALIZED ({named})
               SELECT n.async_account::text, coalesce(m.company_id, first.company_id),
                      (SELECT account_number FROM customer WHERE id = m.customer_id)
                 FROM named n
                 LEFT JOIN LATERAL (
                      SELECT w.* FROM company c, LATERAL (
                             SELECT s.company_id, s.staged_at, b.channel_id
                               FROM async_customer s JOIN channel_database b ON b.id = s.database_id
                              WHERE s.company_id = c.code AND s.status IN ('pending', 'failed')
                                AND s.async_account = n.async_account
                                AND s.reason IS DISTINCT FROM 'guid_conflict'
                              ORDER BY s.staged_at LIMIT 1) w
                       ORDER BY w.staged_at LIMIT 1) first ON true
                 LEFT JOIN LATERAL (
                      SELECT m.company_id, m.channel_id, m.customer_id FROM guid_map m
                       WHERE m.async_account = n.async_account LIMIT 1) m
                      ON first.channel_id IS DISTINCT FROM %(channel)s
                WHERE CASE WHEN m.channel_id IS NULL THEN first.channel_id <> %(channel)s
                           ELSE m.channel_id <> %(channel)s AND NOT {given} END"""
        ).format(
            named=sql.SQL(ALL if kind is CUSTOMER else OTHERS),
            given=sql.SQL(GIVEN).format(channel=sql.Placeholder("channel")),
        ),
        {
            "channel": arrival.database.channel_id,
            "company": arrival.database.channel.company_id,
            "database": arrival.database.pk,
        },
    )


def not_held(arrival: Arrival, foreign: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those of the GUIDs that the channel was never given, by its own account_map.

    Read after the events: a GUID that arrived in between is not refused.
    """
    company = arrival.database.channel.company_id
    asked = [guid for guid, home, account in foreign if account and home == company]
    if not asked or arrival.accounts_of is None:
        return foreign
    held = arrival.accounts_of(asked)
    return [row for row in foreign if held.get(row[0]) != (company, row[2])]
