"""Whom sales are for: converts what they name and HQ does not know yet, then writes the account.

Orders, validation and statements come here first, so that no document goes on under a temporary
identity.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch, prefer_index_scans, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import Company, RunStep
from stores.pipeline.convert.accounts import create_accounts
from stores.pipeline.convert.known_customers import apply_to_known_customers
from stores.pipeline.events.kinds import ADDRESS
from stores.pipeline.guids import is_foreign

ASSIGN_CUSTOMERS = load(__file__, "assign_customers")
BLOCKERS = load(__file__, "blockers")


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
    run_sql(assign_statement(), {"sales": list(sales)})


def assign_statement() -> sql.Composed:
    return ASSIGN_CUSTOMERS.format(is_foreign=is_foreign("n", channel=("n", "channel_id")))


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
    """
    with query_table("blocker", blockers_query(), {"sales": list(sales)}) as blockers:
        yield blockers


def blockers_query() -> sql.Composed:
    return BLOCKERS.format(is_foreign=is_foreign("t", channel=("t", "channel_id")))


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
