"""Raise versions of customers: a channel that holds a higher one takes only one above it."""

from collections.abc import Mapping

from stores.hqdb.sql import fetch, run_sql
from stores.pipeline.changes import reserve_changes
from stores.pipeline.events.kinds import CHILDREN


def raise_versions_above(highest: Mapping[int, int], company: str) -> list[int]:
    """Put customers of a company above the versions given, each by a change. Returns customers.

    What belongs to them gets their version. Whom no channel is to have gets no change number.
    Effects: customers, their addresses, contacts and so on, in the caller's transaction.
    """
    rows = fetch(
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
    raised = [pk for (pk,) in rows]
    for kind in CHILDREN:
        run_sql(
            """UPDATE {table} row SET hq_version = customer.hq_version
                 FROM customer
                WHERE customer.id = row.customer_id AND row.customer_id = ANY(%s)""",
            [raised],
            **kind.names,
        )
    return raised
