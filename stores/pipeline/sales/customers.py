"""Whom sales are for: converts what they name and HQ does not know yet, then writes the account.

Orders, validation and statements come here first, so that no document goes on under a temporary
identity.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from psycopg2 import sql

from stores.hqdb.sql import fetch, prefer_index_scans, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import Company, RunStep
from stores.pipeline.convert.accounts import create_accounts
from stores.pipeline.convert.known_customers import apply_to_known_customers
from stores.pipeline.events.kinds import ADDRESS
from stores.pipeline.guids import is_foreign


def resolve_customers(step: RunStep, company: Company, sales: Sequence[int]) -> int:
    """Give every sale the account of the customer it names, converting those that wait for it.

    Effects: accounts as create_accounts makes them, the sales' customers; in the caller's
    transaction. Returns how many customers were converted. Errors: those of create_accounts.
    """
    converted = 0
    guids = [
        guid
        for (guid,) in fetch(
            """SELECT DISTINCT t.async_account FROM retail_transaction t
                WHERE t.id = ANY(%s) AND t.customer_id IS NULL AND t.account_number IS NULL
                  AND EXISTS (SELECT FROM async_customer s
                               WHERE s.company_id = t.company_id AND s.status = 'pending'
                                 AND s.async_account = t.async_account)
                  AND NOT EXISTS (SELECT FROM guid_map m WHERE m.async_account = t.async_account)
                ORDER BY 1""",
            [list(sales)],
        )
    ]
    if guids:
        opened = create_accounts(step, company, only=guids, limit=len(guids))
        converted = opened.converted
        step.add(converted=opened.converted, failed=opened.failed)
    assign_customers(sales)
    return converted


def assign_customers(sales: Sequence[int]) -> None:
    """Give every sale the account that HQ knows under the GUID or number it names."""
    run_sql(
        # The sales first: the statistics do not know yet how many have no customer.
        sql.SQL(
            """WITH nameless AS MATERIALIZED (
             SELECT t.id, t.company_id, t.async_account, t.account_number, t.channel_id,
                    t.database_id, t.staged_at
               FROM retail_transaction t
              WHERE t.id = ANY(%s) AND t.customer_id IS NULL
                AND (t.async_account IS NOT NULL OR t.account_number IS NOT NULL))
           UPDATE retail_transaction t SET customer_id = found.customer_id
             FROM (SELECT n.id, coalesce(m.customer_id, k.id) AS customer_id
                     FROM nameless n
                     LEFT JOIN guid_map m ON m.async_account = n.async_account
                     LEFT JOIN customer k
                            ON k.company_id = n.company_id AND k.account_number = n.account_number
                    WHERE m.customer_id IS NULL
                       OR (m.company_id = n.company_id AND NOT {is_foreign}
                           AND (k.id IS NULL OR m.customer_id = k.id))) found
            WHERE t.id = found.id AND found.customer_id IS NOT NULL"""
        ).format(is_foreign=is_foreign("n", channel=("n", "channel_id"))),
        [list(sales)],
    )


def assign_default_customer(sales: Sequence[int]) -> None:
    """Have the orders that name nobody be the channel's default customer's.

    An order that failed on a default customer gets the one that was chosen since; one whose
    prepayments are in a statement stays with the customer who has them there.
    """
    run_sql(
        """UPDATE retail_transaction t SET customer_id = h.default_customer_id
             FROM channel h
            WHERE t.id = ANY(%s) AND h.id = t.channel_id
              AND t.async_account IS NULL AND t.account_number IS NULL
              AND t.customer_id IS DISTINCT FROM h.default_customer_id
              AND (t.customer_id IS NULL OR t.prepayment_statement_id IS NULL)""",
        [list(sales)],
    )


@contextmanager
def blockers_of(sales: Sequence[int]) -> Iterator[WorkTable]:
    """What each sale lacks, and whether that may still come by itself.

    Shape: id, what, reason, field, waits.

    A customer or address that is quarantined or failed is told with that row's own reason; one that
    has not arrived is waited for. An address that was removed meanwhile is there: an order goes
    where it was to go when it was written.
    """
    with query_table(
        "blocker",
        sql.SQL(
            """SELECT t.id, why.what, why.reason, why.field, why.waits
             FROM retail_transaction t
            CROSS JOIN LATERAL (
              SELECT 'customer' AS what,
                     CASE WHEN m.company_id <> t.company_id THEN 'company_mismatch'
                          ELSE 'guid_conflict' END AS reason,
                     'async_account' AS field, false AS waits, 0 AS place
                FROM guid_map m
               WHERE t.customer_id IS NULL AND m.async_account = t.async_account
                 AND (m.company_id <> t.company_id OR {is_foreign})
              UNION ALL
              SELECT 'customer', 'identity_mismatch', 'account_number', false, 1
                FROM guid_map m JOIN customer k ON k.account_number = t.account_number
                                               AND k.company_id = m.company_id
               WHERE m.company_id = t.company_id AND t.account_number IS NOT NULL
                 AND m.async_account = t.async_account AND m.customer_id <> k.id
              UNION ALL
              SELECT 'customer', q.reason, q.field, false, 2 FROM quarantine q
               WHERE t.customer_id IS NULL AND q.async_account = t.async_account
                 AND q.table = 'async_customer' AND q.status = 'open'
              UNION ALL
              SELECT 'customer', s.reason, s.field, false, 3 FROM async_customer s
               WHERE t.customer_id IS NULL AND s.company_id = t.company_id
                 AND s.async_account = t.async_account AND s.status = 'failed'
              UNION ALL
              SELECT 'customer', 'customer_missing',
                     CASE WHEN t.async_account IS NULL THEN 'account_number'
                          ELSE 'async_account' END, true, 4
               WHERE t.customer_id IS NULL
                 AND (t.async_account IS NOT NULL OR t.account_number IS NOT NULL)
              UNION ALL
              SELECT 'customer', 'default_customer_missing', 'customer', true, 4
               WHERE t.customer_id IS NULL
              UNION ALL
              SELECT 'address', 'address_of_another', 'delivery_address_id', false, 5
                FROM customer_address a
               WHERE a.address_id = t.delivery_address_id AND a.customer_id <> t.customer_id
              UNION ALL
              SELECT 'address', q.reason, q.field, false, 6 FROM quarantine q
               WHERE t.delivery_address_id IS NOT NULL AND q.async_account = t.async_account
                 AND q.table = 'async_address' AND q.status = 'open'
                 AND NOT EXISTS (SELECT FROM customer_address a
                                  WHERE a.address_id = t.delivery_address_id)
              UNION ALL
              SELECT 'address', s.reason, s.field, false, 7 FROM async_address s
               WHERE t.delivery_address_id IS NOT NULL AND s.address_id = t.delivery_address_id
                 AND s.status = 'failed' AND s.company_id = t.company_id
              UNION ALL
              SELECT 'address', 'address_missing', 'delivery_address_id', true, 8
               WHERE t.delivery_address_id IS NOT NULL
                 AND NOT EXISTS (SELECT FROM customer_address a
                                  WHERE a.address_id = t.delivery_address_id)
              ORDER BY place LIMIT 1) why
            WHERE t.id = ANY(%s)"""
        ).format(is_foreign=is_foreign("t", channel=("t", "channel_id"))),
        [list(sales)],
    ) as blockers:
        yield blockers


def resolve_addresses(step: RunStep, company: Company, sales: Sequence[int]) -> None:
    """Apply the addresses that wait in staging and belong to the sales.

    They are those that the sales go to, and all of the customers they name: no document is posted
    beside an address that HQ holds and has not applied. Effects: addresses and their staging, in
    the caller's transaction.
    """
    with prefer_index_scans():
        waiting = fetch(
            """WITH named AS MATERIALIZED (
                 SELECT DISTINCT t.delivery_address_id, t.async_account, t.account_number
                   FROM retail_transaction t
                  WHERE t.id = ANY(%(sales)s)
                    AND (t.delivery_address_id IS NOT NULL OR t.async_account IS NOT NULL
                         OR t.account_number IS NOT NULL))
               SELECT s.event_id FROM named n JOIN async_address s USING (async_account)
                WHERE s.company_id = %(company)s AND s.status = 'pending'
                UNION
               SELECT s.event_id FROM named n JOIN async_address s USING (account_number)
                WHERE s.company_id = %(company)s AND s.status = 'pending'
                UNION
               SELECT s.event_id FROM named n
                 JOIN async_address s ON s.address_id = n.delivery_address_id
                WHERE s.company_id = %(company)s AND s.status = 'pending'""",
            {"company": company.pk, "sales": list(sales)},
        )
        if waiting:
            apply_to_known_customers(
                step, company, ADDRESS, only=[event_id for (event_id,) in waiting]
            )
