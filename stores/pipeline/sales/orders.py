"""Synchronize orders: make sales orders of the customer orders of tills.

Customer orders are processed in chunks, each in one transaction, in which their customers and
addresses are converted first. An order that cannot be made keeps the reason: the first rule that it
breaks, or its blocker, such as a customer that is quarantined. It has failed, unless it only waits
for a customer or an address that has not arrived.
"""

from collections.abc import Sequence
from functools import partial

from stores.failpoints import failpoint
from stores.hqdb.sql import fetch_one, fetch_values, reserve_numbers, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import Channel, OrderSequence, RunStep
from stores.models.run import StartedBy
from stores.pipeline import number_journal
from stores.pipeline.chunk_sizes import SALES_PER_CHUNK
from stores.pipeline.convert.balance import count_sales
from stores.pipeline.issuing import require_posting
from stores.pipeline.sales.customers import (
    assign_default_customer,
    blockers_of,
    resolve_addresses,
    resolve_customers,
)
from stores.pipeline.sales.refused import process_excluding_refused
from stores.pipeline.sales.rules import check_sales


def synchronize_orders(step: RunStep, channel: Channel) -> None:
    """Make a sales order of each open customer order of the channel, or of the one of the run.

    Effects: accounts, addresses, sales orders, and the status of the customer orders, in one
    transaction for each chunk.
    """
    OrderSequence.objects.get_or_create(company=channel.company)
    if not step.is_dry:
        require_posting()
    process = partial(process_locked, step, channel)
    last = 0
    while True:
        with step.chunk():
            orders = lock_open_orders(step, channel, after=last)
            if not orders:
                if step.counts.get("posted"):
                    count_sales(channel)
                return
            step.add(read=len(orders))
            posted = step.counts.get("posted", 0)
            converted = process_excluding_refused(step, process, orders)
            last = orders[-1]
            failpoint("orders:before_commit")
        failpoint("orders:after_commit")
        if not step.is_dry and (converted or step.counts.get("posted", 0) > posted):
            number_journal.append_missing()


def lock_open_orders(step: RunStep, channel: Channel, *, after: int) -> list[int]:
    """Lock the next customer orders without a sales order, or the one of the run. Return their ids.

    Orders that another job has locked or that a person is correcting are skipped. An order of
    nothing is only made if nothing was paid: else it is an instalment, or a returned deposit.
    """
    return fetch_values(
        """SELECT sale.id FROM retail_transaction sale
            WHERE sale.channel_id = %(channel)s AND sale.id > %(after)s
              AND sale.sales_order_id IS NULL AND sale.transaction_type = 'customer_order'
              AND sale.entry_status = 'concluded'
              AND (sale.gross_amount <> 0 OR sale.payment_amount = 0)
              AND CASE WHEN %(order)s <> '' THEN sale.confirmation_number = %(order)s
                  ELSE NOT EXISTS (SELECT FROM refused_sale refused
                                    WHERE refused.transaction_id = sale.id) END
              AND NOT is_being_corrected(sale.editing_until)
            ORDER BY sale.id LIMIT %(limit)s FOR UPDATE OF sale SKIP LOCKED""",
        {
            "channel": channel.pk,
            "after": after,
            "order": step.run.order_number,
            "limit": SALES_PER_CHUNK,
        },
    )


def process_locked(step: RunStep, channel: Channel, sales: Sequence[int]) -> int:
    """Make sales orders, or save why not. Return how many customers were converted for them."""
    converted = resolve_customers(step, channel.company, sales)
    resolve_addresses(step, channel.company, sales)
    assign_default_customer(sales)
    check_sales(sales)
    with blockers_of(sales) as blockers:
        write_reasons(sales, blockers, is_scheduled=step.run.started_by == StartedBy.SCHEDULE)
        posted = create_customer_orders(step, channel, sales, blockers)
    waiting, failed = fetch_one(
        """SELECT count(*) FILTER (WHERE sale.order_status = 'none'),
                  count(*) FILTER (WHERE sale.order_status = 'failed')
             FROM retail_transaction sale WHERE sale.id = ANY(%s)""",
        [list(sales)],
    )
    step.add(posted=posted, waiting=int(waiting), failed=int(failed))
    return converted


def write_reasons(sales: Sequence[int], blockers: WorkTable, *, is_scheduled: bool) -> None:
    """Save status and reason of each order that has a blocker or breaks a rule.

    A scheduled run does not count an attempt with the same result as the last.
    """
    run_sql(
        """WITH failure AS (
             SELECT sale.id, coalesce(blocker.reason, error.rule) AS reason,
                    coalesce(blocker.field, error.field) AS field,
                    CASE WHEN blocker.waits THEN 'none' ELSE 'failed' END AS status
               FROM retail_transaction sale
               LEFT JOIN {blockers} blocker ON blocker.id = sale.id
               LEFT JOIN LATERAL (
                    SELECT rule, field FROM transaction_error
                     WHERE transaction_id = sale.id ORDER BY id LIMIT 1) error ON true
              WHERE sale.id = ANY(%(sales)s)
                AND (blocker.reason IS NOT NULL OR error.rule IS NOT NULL))
           UPDATE retail_transaction sale
              SET order_status = failure.status, order_reason = failure.reason,
                  order_field = failure.field, order_tried_at = now(),
                  order_attempts = sale.order_attempts + (failure.status = 'failed')::integer
             FROM failure
            WHERE failure.id = sale.id
              AND (NOT %(is_scheduled)s
                   OR (sale.order_status, sale.order_reason, sale.order_field)
                      IS DISTINCT FROM (failure.status, failure.reason, failure.field))""",
        {"is_scheduled": is_scheduled, "sales": list(sales)},
        blockers=blockers,
    )


def create_customer_orders(
    step: RunStep, channel: Channel, sales: Sequence[int], blockers: WorkTable
) -> int:
    """Make a sales order of each customer order without blocker or error. Return how many.

    An order that failed before, or that a person corrected, is on hold until a person releases it.
    """
    with query_table(
        "ready",
        """SELECT sale.id, row_number() OVER (ORDER BY sale.id) AS position
             FROM retail_transaction sale
            WHERE sale.id = ANY(%s) AND sale.validation_status = 'successful'
              AND sale.customer_id IS NOT NULL
              AND NOT EXISTS (SELECT FROM {blockers} blocker WHERE blocker.id = sale.id)""",
        [list(sales)],
        blockers=blockers,
    ) as ready:
        if ready.rows:
            first = reserve_numbers("order_sequence", "next_order", channel.company_id, ready.rows)
            insert_sales_orders(ready, first, step)
        return ready.rows


def insert_sales_orders(ready: WorkTable, first: int, step: RunStep) -> None:
    """Insert the sales orders, numbered from `first`, and link the customer orders to them."""
    run_sql(
        """WITH new_order AS (
             INSERT INTO sales_order (company_id, channel_id, number, confirmation_number,
                    customer_id, delivery_address_id, delivery_mode, business_date, currency,
                    net_amount, tax_amount, gross_amount, discount_amount, state, hold_code,
                    run_id)
             SELECT sale.company_id, sale.channel_id,
                    format_number(sequence.order_format, %(first)s + ready.position - 1),
                    sale.confirmation_number, sale.customer_id, sale.delivery_address_id,
                    sale.delivery_mode, sale.business_date, sale.currency, sale.net_amount,
                    sale.tax_amount, sale.gross_amount, sale.discount_amount,
                    CASE WHEN hold.is_needed THEN 'on_hold' ELSE 'open' END,
                    CASE WHEN hold.is_needed THEN channel.hold_code END, %(run)s
               FROM {ready} ready
               JOIN retail_transaction sale ON sale.id = ready.id
               JOIN channel ON channel.id = sale.channel_id
               JOIN order_sequence sequence ON sequence.company_id = sale.company_id
              CROSS JOIN LATERAL (
                    SELECT sale.is_mended OR sale.order_attempts > 0 AS is_needed) hold
              ORDER BY ready.position
             RETURNING id, confirmation_number)
           UPDATE retail_transaction sale
              SET sales_order_id = new_order.id, order_status = 'succeeded',
                  order_reason = NULL, order_field = NULL, order_tried_at = now(),
                  order_attempts = sale.order_attempts + 1
             FROM new_order, {ready} ready
            WHERE ready.id = sale.id
              AND new_order.confirmation_number = sale.confirmation_number""",
        {"first": first, "run": str(step.run_id)},
        ready=ready,
    )
