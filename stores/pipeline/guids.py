"""Which GUIDs a channel may name: those that it made, and those of its company that it was given.

A GUID is made once, at a till. Other channels learn it from headquarters (HQ), together with the
account it became, in `account_map`. Source: docs/channel-schema.md.
"""

from psycopg2 import sql

# That HQ has noted once that a database of the channel has the customer.
GIVEN_TO_CHANNEL = """EXISTS (SELECT FROM customer_delivery d
                     JOIN channel_database o ON o.id = d.database_id
                    WHERE o.channel_id = {channel} AND d.customer_id = m.customer_id)"""


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
        given=sql.SQL(GIVEN_TO_CHANNEL).format(channel=sql.Identifier(*channel)),
    )
