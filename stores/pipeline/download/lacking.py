"""Count the customers that channel databases lack, as HQ last knew them."""

from collections.abc import Collection

from stores.hqdb.sql import fetch


def count_lacking(
    databases: Collection[int] | None = None, *, most: int | None = None
) -> dict[int, int]:
    """Return how many customers each database lacks in their present version, by its id.

    These are the customers that changed after what it received, up to `most` + 1 of them, and
    earlier ones that it refused or lost. Registers that are sent no customers lack none. Without
    `databases`, all are counted.
    """
    return dict(
        fetch(
            """WITH base AS (
                 SELECT database.id, channel.company_id,
                        greatest(database.position, database.received_no) AS received,
                        EXISTS (SELECT FROM excluded_database excluded
                                 WHERE excluded.database_id = database.id
                                   AND excluded.job = '1010') AS is_excluded
                   FROM channel_database database JOIN channel ON channel.id = channel_id
                  WHERE %(databases)s::bigint[] IS NULL
                     OR database.id = ANY(%(databases)s::bigint[])),
               -- Most databases of a company have received the same, and are counted once.
               reached AS (
                 SELECT DISTINCT company_id, received FROM base WHERE NOT is_excluded),
               beyond AS (
                 SELECT company_id, received,
                        (SELECT count(*)
                           FROM (SELECT FROM customer
                                  WHERE customer.company_id = reached.company_id
                                    AND customer.change_no > reached.received
                                  LIMIT %(limit)s) later) AS customers
                   FROM reached)
               SELECT base.id, CASE WHEN base.is_excluded THEN 0 ELSE beyond.customers
                      + (SELECT count(*) FROM download_exception exception
                           JOIN customer ON customer.id = exception.customer_id
                          WHERE exception.database_id = base.id AND exception.settled_at IS NULL
                            -- A person has asked to send this customer again: it is not lacking.
                            AND exception.reason <> 'requested'
                            AND customer.change_no <= base.received) END
                 FROM base LEFT JOIN beyond USING (company_id, received)""",
            {
                "databases": None if databases is None else list(databases),
                "limit": None if most is None else most + 1,
            },
        )
    )
