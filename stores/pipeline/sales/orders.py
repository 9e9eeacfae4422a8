"""Synchronize orders: customer orders of tills -> sales orders of accounts.

Customer and address that an order names are converted in the chunk that makes the order. What is
not there yet is waited for and named; what is wrong fails alone. Source: domain 2.10.
"""

from collections.abc import Sequence
from functools import partial

from psycopg2 import sql

from stores.failpoints import failpoint
from stores.hqdb.files import load
from stores.hqdb.sql import fetch_one, reserve_numbers, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import Channel, OrderSequence, RunStep
from stores.models.run import StartedBy
from stores.models.transaction import BEING_CORRECTED
from stores.pipeline import number_journal
from stores.pipeline.chunk_sizes import SALES_PER_CHUNK
from stores.pipeline.convert.balance import count_sales
from stores.pipeline.issuing import require_posting
from stores.pipeline.sales.claims import lock_sales, process_one_by_one
from stores.pipeline.sales.customers import (
    assign_default_customer,
    blockers_of,
    resolve_addresses,
    resolve_customers,
)
from stores.pipeline.sales.refused import IS_REFUSED
from stores.pipeline.sales.rules import check_sales

LOCK_ORDERS = load(__file__, "lock_orders").format(
    is_refused=sql.SQL(IS_REFUSED), being_corrected=sql.SQL(BEING_CORRECTED)
)


def synchronize_orders(step: RunStep, channel: Channel) -> None:
    """Make a sales order of each customer order of the channel, or of one only, oldest first.

    What orders nothing and was paid, an instalment or a deposit given back, becomes none.

    Effects: accounts and addresses that orders name, sales orders with number, order status,
    retry count and reason; a chunk a transaction.
    """
    OrderSequence.objects.get_or_create(company=channel.company)
    beyond = 0
    if not step.is_dry:
        require_posting()
    while True:
        with step.chunk():
            sales = lock_sales(
                LOCK_ORDERS,
                {
                    "channel": channel.pk,
                    "last": beyond,
                    "order": step.run.order_number,
                    "limit": SALES_PER_CHUNK,
                },
            )
            if not sales:
                if step.counts.get("posted"):
                    count_sales(channel)
                return
            step.add(read=len(sales))
            posted = step.counts.get("posted", 0)
            converted = process_one_by_one(
                step, partial(create_orders_of_locked, step, channel), sales
            )
            beyond = sales[-1]
            failpoint("orders:before_commit")
        failpoint("orders:after_commit")
        if not step.is_dry and (converted or step.counts.get("posted", 0) > posted):
            number_journal.append_missing()


def create_orders_of_locked(step: RunStep, channel: Channel, sales: Sequence[int]) -> int:
    """Make orders of the documents, and say of the others what they wait for or lack.

    Returns how many customers were converted on the way.
    """
    converted = resolve_customers(step, channel.company, sales)
    resolve_addresses(step, channel.company, sales)
    assign_default_customer(sales)
    check_sales(sales)
    with blockers_of(sales) as blockers:
        write_reasons(sales, blockers, is_scheduled=step.run.started_by == StartedBy.SCHEDULE)
        posted = create_customer_orders(step, channel, sales, blockers)
    waiting, failed = fetch_one(
        """SELECT count(*) FILTER (WHERE t.order_status = 'none'),
                  count(*) FILTER (WHERE t.order_status = 'failed')
             FROM retail_transaction t WHERE t.id = ANY(%s)""",
        [list(sales)],
    )
    step.add(posted=posted, waiting=int(waiting), failed=int(failed))
    return converted


def write_reasons(sales: Sequence[int], blockers: WorkTable, *, is_scheduled: bool) -> None:
    """Status and reason of every order that cannot be made now.

    Waiting is not failing: what has not arrived leaves the status at none and draws no attempt. Nor
    does a scheduled run that finds what the last one found: nobody has tried anything since.
    """
    run_sql(
        sql.SQL(
            """UPDATE retail_transaction t
              SET order_status = why.status,
                  order_attempts = t.order_attempts + (why.status = 'failed')::integer,
                  order_reason = why.reason, order_field = why.field, order_tried_at = now()
             FROM (SELECT o.id, coalesce(m.reason, e.rule) AS reason,
                          coalesce(m.field, e.field) AS field,
                          CASE WHEN m.waits THEN 'none' ELSE 'failed' END AS status
                     FROM retail_transaction o LEFT JOIN {blockers} m USING (id)
                     LEFT JOIN LATERAL (
                          SELECT rule, field FROM transaction_error WHERE transaction_id = o.id
                           ORDER BY id LIMIT 1) e ON true
                    WHERE o.id = ANY(%(sales)s)) why
            WHERE t.id = why.id AND why.reason IS NOT NULL
              AND (NOT %(is_scheduled)s
                   OR (t.order_status, t.order_reason, t.order_field)
                      IS DISTINCT FROM (why.status, why.reason, why.field))"""
        ).format(blockers=blockers.identifier),
        {"is_scheduled": is_scheduled, "sales": list(sales)},
    )


def create_customer_orders(
    step: RunStep, channel: Channel, sales: Sequence[int], blockers: WorkTable
) -> int:
    """Give each order that lacks nothing its number, and link both. Returns how many.

    What had failed, or a person has mended, goes on hold until a person releases it.
    """
    with query_table(
        "ready",
        sql.SQL(
            """SELECT t.id, row_number() OVER (ORDER BY t.id) AS place FROM retail_transaction t
                WHERE t.id = ANY(%s) AND t.validation_status = 'successful'
                  AND t.customer_id IS NOT NULL
                  AND NOT EXISTS (SELECT FROM {blockers} m WHERE m.id = t.id)"""
        ).format(blockers=blockers.identifier),
        [list(sales)],
    ) as ready:
        if not ready.rows:
            return 0
        first = reserve_numbers("order_sequence", "next_order", channel.company_id, ready.rows)
        run_sql(
            sql.SQL(
                """WITH made AS (
                 INSERT INTO sales_order (company_id, channel_id, number, confirmation_number,
                        customer_id, delivery_address_id, delivery_mode, business_date, currency,
                        net_amount, tax_amount, gross_amount, discount_amount, state, hold_code,
                        run_id)
                 SELECT t.company_id, t.channel_id,
                        account_text(q.order_format, %(first)s + r.place - 1),
                        t.confirmation_number, t.customer_id, t.delivery_address_id,
                        t.delivery_mode, t.business_date, t.currency, t.net_amount, t.tax_amount,
                        t.gross_amount, t.discount_amount,
                        CASE WHEN was.is_held THEN 'on_hold' ELSE 'open' END,
                        CASE WHEN was.is_held THEN h.hold_code END, %(run)s
                   FROM {ready} r JOIN retail_transaction t USING (id)
                  CROSS JOIN LATERAL (SELECT t.is_mended OR t.order_attempts > 0 AS is_held) was
                   JOIN channel h ON h.id = t.channel_id
                   JOIN order_sequence q ON q.company_id = t.company_id
                  ORDER BY r.place
                 RETURNING id, confirmation_number)
               UPDATE retail_transaction t
                  SET sales_order_id = made.id, order_status = 'succeeded', order_reason = NULL,
                      order_field = NULL, order_tried_at = now(),
                      order_attempts = t.order_attempts + 1
                 FROM made, {ready} r
                WHERE r.id = t.id AND made.confirmation_number = t.confirmation_number"""
            ).format(ready=ready.identifier),
            {"first": first, "run": str(step.run_id)},
        )
    return ready.rows
