"""Which GUIDs a channel may name: those that it made, and those of its company that it was given.

A GUID is made once, at a till. Other channels learn it from headquarters (HQ), together with the
account it became, in `account_map`. Source: docs/channel-schema.md.
"""

from psycopg2 import sql

# SQL condition: HQ has noted once that a database of {channel} has the customer of `guid`.
GIVEN_TO_CHANNEL = """EXISTS (SELECT FROM customer_delivery delivery
                     JOIN channel_database receiver ON receiver.id = delivery.database_id
                    WHERE receiver.channel_id = {channel}
                      AND delivery.customer_id = guid.customer_id)"""


def is_foreign(row: str, *, channel: tuple[str, str]) -> sql.Composable:
    """Condition on a staged row and its `guid` in guid_map: one that its channel could not know.

    `channel` is the column with the channel of the row. What was there when the row came was judged
    then, with what the channel held; so this is about GUIDs that became an account later. What HQ
    makes names whom it likes.
    """
    return sql.SQL(
        """({row}.database_id IS NOT NULL AND guid.channel_id <> {channel}
            AND guid.created_at > {row}.staged_at AND NOT {given})"""
    ).format(
        row=sql.Identifier(row),
        channel=sql.Identifier(*channel),
        given=sql.SQL(GIVEN_TO_CHANNEL).format(channel=sql.Identifier(*channel)),
    )
