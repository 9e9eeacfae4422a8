"""Sales of which the database refuses what comes of them: set aside with a reason, one by one.

No rule had foreseen them, so they are found by trying. They stay out of every run until a person
has corrected them or given them back, for the next run would be refused the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stores.hqdb.retry import bisect_rows
from stores.hqdb.sql import fetch, run_sql
from stores.models.transaction import DIGITS, PLACES

SUM_TOO_LARGE, SALE_REFUSED = "sum_too_large", "sale_refused"
REFUSAL_REASONS = (SUM_TOO_LARGE, SALE_REFUSED)
# True of a sale that no run may take.
IS_REFUSED = f"""EXISTS (SELECT FROM transaction_error e WHERE e.transaction_id = t.id
                          AND e.rule IN ('{SUM_TOO_LARGE}', '{SALE_REFUSED}'))"""
# What an amount of money holds, before its point.
AMOUNT_LIMIT = 10 ** (DIGITS - PLACES)


@dataclass(frozen=True)
class Refusal:
    """One thing that keeps a sale out; the same as a broken rule."""

    sale: int
    rule: str
    field: str
    line_number: int | None = None
    found: str = ""


def process_together(
    work: Callable[[Sequence[int]], None], sales: Sequence[int]
) -> tuple[list[int], list[Refusal]]:
    """Try work for many sales. Returns those for which it can be done together, and the others.

    First it is found which are refused by themselves; if the others are refused together, one
    after the other is left out. What work does must be undone by it.
    """

    def work_on(ids: Sequence[int] | None) -> None:
        work(sales if ids is None else ids)

    done, refused = bisect_rows(work_on, lambda: sales)
    remaining = [sale for sale in sales if sale not in refused]
    # Done in parts, and not yet all at once.
    if remaining and (refused or len(done) > 1):
        accepted: list[int] = []

        def with_taken(ids: Sequence[int] | None) -> None:
            more = remaining if ids is None else list(ids)
            work([*accepted, *more])
            accepted.extend(more)

        refused |= bisect_rows(with_taken, lambda: remaining)[1]
        remaining = accepted
    return remaining, refusals_of(refused)


def refusals_of(refused: Mapping[int, str]) -> list[Refusal]:
    return [
        Refusal(sale, SALE_REFUSED, "transaction_id", found=message)
        for sale, message in refused.items()
    ]


def too_large(sales: Sequence[int]) -> list[Refusal]:
    """The amounts that do not fit into a sum with all others of their size, however they come."""
    return [
        Refusal(sale, SUM_TOO_LARGE, field, line, value)
        for sale, field, line, value in fetch(
            """WITH these AS MATERIALIZED (
                 SELECT * FROM retail_transaction WHERE id = ANY(%(sales)s)),
               amounts AS MATERIALIZED (
                 SELECT t.id, a.field, NULL::integer AS line_number, a.amount
                   FROM these t CROSS JOIN LATERAL (VALUES
                        ('net_amount', t.net_amount), ('tax_amount', t.tax_amount),
                        ('gross_amount', t.gross_amount), ('discount_amount', t.discount_amount))
                        a (field, amount)
                 UNION ALL
                 SELECT t.id, 'amount', p.line_number, p.amount
                   FROM these t JOIN retail_transaction_payment p ON p.transaction_id = t.id),
               large AS MATERIALIZED (
                 SELECT * FROM amounts
                  WHERE abs(amount) * (SELECT count(*) FROM amounts) >= %(limit)s)
               SELECT id, field, line_number, amount::text FROM large a
                WHERE abs(amount) * (SELECT count(*) FROM large b
                                      WHERE b.field = a.field
                                        AND abs(b.amount) >= abs(a.amount) / 2) >= %(limit)s
                ORDER BY id, field, line_number""",
            {"sales": list(sales), "limit": AMOUNT_LIMIT},
        )
    ]


def record_refusals(refusals: Sequence[Refusal]) -> None:
    """Put the sales in error with what was found; orders have failed.

    A sale that cannot even be marked has the error all the same, by which every run passes it.
    Effects: transaction_error, validation and order status, in the caller's transaction.
    """
    for refusal in refusals:
        run_sql(
            """INSERT INTO transaction_error (transaction_id, rule, field, line_number, expected,
                                              found)
               VALUES (%s, %s, %s, %s, '', %s) ON CONFLICT DO NOTHING""",
            [refusal.sale, refusal.rule, refusal.field, refusal.line_number, refusal.found[:60]],
        )
    sales = sorted({refusal.sale for refusal in refusals})
    bisect_rows(lambda ids: mark_in_error(sales if ids is None else ids), lambda: sales)


def mark_in_error(sales: Sequence[int]) -> None:
    """Validation, and of an order its status, of sales that have an error."""
    run_sql(
        """UPDATE retail_transaction t
              SET validation_status = 'error', validated_at = now(),
                  order_status = CASE WHEN is_order THEN 'failed' ELSE order_status END,
                  order_reason = CASE WHEN is_order THEN e.rule ELSE order_reason END,
                  order_field = CASE WHEN is_order THEN e.field ELSE order_field END,
                  order_attempts = order_attempts + is_order::integer,
                  order_tried_at = CASE WHEN is_order THEN now() ELSE order_tried_at END
             FROM (SELECT DISTINCT ON (e.transaction_id) e.transaction_id, e.rule, e.field,
                          o.transaction_type = 'customer_order'
                          AND o.sales_order_id IS NULL AS is_order
                     FROM transaction_error e JOIN retail_transaction o ON o.id = e.transaction_id
                    WHERE e.transaction_id = ANY(%s) ORDER BY e.transaction_id, e.id) e
            WHERE t.id = e.transaction_id""",
        [list(sales)],
    )
