"""Find the customers of sales, and convert those that are still in staging.

A sale names its customer by a GUID that the till made, by an account number, or not at all. Here it
gets HQ's customer, before it is validated or becomes an order. An event is pending until the
conversion has applied it; a pending customer or address is converted at once if a sale needs it.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from uuid import UUID

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_value, fetch_values, prefer_index_scans, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import Company, RunStep
from stores.pipeline.convert.apply import apply_events, convert_guids
from stores.pipeline.events.kinds import ADDRESS
from stores.pipeline.guids import is_doubtful, is_foreign

IS_DOUBTFUL = is_doubtful("sale", channel=("sale", "channel_id"))
IS_FOREIGN = is_foreign("sale", channel=("sale", "channel_id"))
ASSIGN_CUSTOMERS = load(__file__, "assign_customers")
BLOCKERS = load(__file__, "blockers")


def resolve_customers(step: RunStep, company: Company, sales: Sequence[int]) -> int:
    """Convert the pending customers of the sales, then assign each sale its customer.

    Return how many customers were converted. Effects: accounts, and the customers of the sales, in
    the caller's transaction.
    """
    converted = 0
    if guids := pending_guids(sales):
        applied = convert_guids(company, guids, run_key=step.run_key)
        converted = applied.converted
        step.add(**applied.counts)
    assign_customers(sales)
    return converted


def pending_guids(sales: Sequence[int]) -> list[UUID]:
    """Return the GUIDs by which sales name customers that are pending, if nothing else does."""
    return fetch_values(
        """SELECT DISTINCT sale.async_account
             FROM retail_transaction sale
            WHERE sale.id = ANY(%s) AND sale.customer_id IS NULL AND sale.account_number IS NULL
              AND EXISTS (SELECT FROM staged_customer event
                           WHERE event.company_id = sale.company_id
                             AND event.async_account = sale.async_account
                             AND event.status = 'pending')
              AND NOT EXISTS (SELECT FROM guid_map
                               WHERE guid_map.async_account = sale.async_account)
            ORDER BY sale.async_account""",
        [list(sales)],
    )


def assign_customers(sales: Sequence[int]) -> None:
    """Assign each sale without a customer the one that HQ has under its GUID or account number."""
    statement = ASSIGN_CUSTOMERS.format(is_foreign=foreign_condition(sales))
    run_sql(statement, {"sales": list(sales)})


def foreign_condition(sales: Sequence[int]) -> sql.Composable:
    """Return the condition that the channel of one of these sales could not know `guid`.

    Mostly no GUID is doubtful, and then it need not be asked what HQ has given to channels. One
    that becomes doubtful just now was given to no other channel yet.
    """
    is_any_shared = fetch_value(
        """SELECT EXISTS (SELECT FROM retail_transaction sale
                            JOIN guid_map guid ON guid.async_account = sale.async_account
                           WHERE sale.id = ANY(%s) AND sale.customer_id IS NULL
                             AND guid.channel_id <> sale.channel_id)""",
        [list(sales)],
    )
    return IS_FOREIGN if is_any_shared else IS_DOUBTFUL


def assign_default_customer(sales: Sequence[int]) -> None:
    """Assign the channel's default customer to the sales that name no customer.

    A sale keeps the customer that it has if a statement has its prepayments.
    """
    run_sql(
        """UPDATE retail_transaction sale SET customer_id = channel.default_customer_id
             FROM channel
            WHERE sale.id = ANY(%s) AND channel.id = sale.channel_id
              AND sale.async_account IS NULL AND sale.account_number IS NULL
              AND sale.customer_id IS DISTINCT FROM channel.default_customer_id
              AND (sale.customer_id IS NULL OR sale.prepayment_statement_id IS NULL)""",
        [list(sales)],
    )


def blockers_of(sales: Sequence[int]) -> AbstractContextManager[WorkTable]:
    """Make a work table of the sales that cannot become orders yet, each with its first reason.

    Its columns are id, what, reason, field and waits.
    """
    statement = BLOCKERS.format(is_foreign=foreign_condition(sales))
    return query_table("blocker", statement, {"sales": list(sales)})


def resolve_addresses(step: RunStep, company: Company, sales: Sequence[int]) -> None:
    """Apply the pending events of delivery addresses, and of all addresses of the customers.

    No sale is posted while an address of its customer is pending. Effects: addresses and their
    events, in the caller's transaction.
    """
    with prefer_index_scans():
        if event_ids := pending_address_events(company, sales):
            applied = apply_events(company, {ADDRESS: event_ids}, run_key=step.run_key)
            step.add(**applied.counts)


def pending_address_events(company: Company, sales: Sequence[int]) -> list[UUID]:
    """Return the ids of the pending events of delivery addresses, and of the customers' others."""
    return fetch_values(
        """WITH sale AS MATERIALIZED (
             SELECT DISTINCT delivery_address_id, async_account, account_number
               FROM retail_transaction
              WHERE id = ANY(%(sales)s)
                AND (delivery_address_id IS NOT NULL OR async_account IS NOT NULL
                     OR account_number IS NOT NULL))
           -- Each branch uses its own index.
           SELECT event.event_id
             FROM sale JOIN staged_address event ON event.async_account = sale.async_account
            WHERE event.company_id = %(company)s AND event.status = 'pending'
            UNION
           SELECT event.event_id
             FROM sale JOIN staged_address event ON event.account_number = sale.account_number
            WHERE event.company_id = %(company)s AND event.status = 'pending'
            UNION
           SELECT event.event_id
             FROM sale JOIN pending_address event ON event.address_id = sale.delivery_address_id
            WHERE event.company_id = %(company)s""",
        {"company": company.pk, "sales": list(sales)},
    )
