"""Which GUIDs a channel can know: those that it made, and those that HQ has given it.

A GUID is made once, at a till. Other channels of the company get it from headquarters (HQ) with the
account that HQ created for it, in their table account_map. Source: docs/channel-schema.md.
"""

from psycopg2 import sql

# SQL condition: HQ has once delivered the customer of `guid` to a database of {channel}. To plan it
# takes longer than to run most statements, so it is asked only about rows that are doubtful.
GIVEN_TO_CHANNEL = """EXISTS (SELECT FROM customer_delivery delivery
                     JOIN channel_database receiver ON receiver.id = delivery.database_id
                    WHERE receiver.channel_id = {channel}
                      AND delivery.customer_id = guid.customer_id OFFSET 0)"""


def is_given(*channel: str) -> sql.Composed:
    """Return the SQL condition that HQ has given `guid` to the channel in a column."""
    return sql.SQL(GIVEN_TO_CHANNEL).format(channel=sql.Identifier(*channel))


def is_doubtful(row: str, *, channel: tuple[str, str]) -> sql.Composed:
    """Return the SQL condition that a channel can know the GUID of a row only if it was given it.

    `row` is the alias of the staged row, `guid` that of the GUID's row in guid_map, and `channel`
    the column with the channel of the row. A GUID that had an account when the row arrived was
    checked by the upload. A row that HQ made may have any GUID.
    """
    return sql.SQL(
        """({row}.database_id IS NOT NULL AND guid.channel_id <> {channel}
            AND guid.created_at > {row}.staged_at)"""
    ).format(row=sql.Identifier(row), channel=sql.Identifier(*channel))


def is_foreign(row: str, *, channel: tuple[str, str]) -> sql.Composed:
    """Return the SQL condition that a channel could not know the GUID of a row that it sent."""
    return sql.SQL("({doubtful} AND NOT {given})").format(
        doubtful=is_doubtful(row, channel=channel), given=is_given(*channel)
    )
