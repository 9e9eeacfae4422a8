"""Raise versions of customers, because a channel accepts only a version above the one it has."""

from collections.abc import Mapping

from stores.hqdb.sql import fetch_values, run_sql
from stores.pipeline.changes import reserve_changes
from stores.pipeline.events.kinds import CHILDREN


def raise_versions_above(highest: Mapping[int, int], company: str) -> list[int]:
    """Raise customers of a company above the given versions, by id. Return the ids.

    Addresses, contacts and so on get the version of their customer. Each customer gets a change
    number, so that it is sent, unless no channel is to have it. All this happens in the caller's
    transaction.
    """
    raised = fetch_values(
        """UPDATE customer
              SET hq_version = greatest(customer.hq_version, above.version) + 1,
                  change_no = CASE WHEN customer.change_no IS NOT NULL
                                   THEN %(first)s - 1 + above.turn END
             FROM unnest(%(ids)s::bigint[], %(versions)s::bigint[])
                  WITH ORDINALITY above (id, version, turn)
            WHERE customer.id = above.id RETURNING customer.id""",
        {
            "first": reserve_changes(company, len(highest)),
            "ids": list(highest),
            "versions": list(highest.values()),
        },
    )
    for kind in CHILDREN:
        run_sql(
            """UPDATE {table} row SET hq_version = customer.hq_version
                 FROM customer
                WHERE customer.id = row.customer_id AND row.customer_id = ANY(%s)""",
            [raised],
            **kind.names,
        )
    return raised
