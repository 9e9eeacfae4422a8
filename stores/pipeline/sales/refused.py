"""Sales that the database refuses to process: find them, and record an error of each.

No rule of validation covers the cause, so these sales are found by trying. The error keeps a sale
out of all runs, which would be refused again, until a person corrects or retries the sale.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stores.hqdb.retry import bisect_keys
from stores.hqdb.sql import fetch, run_sql
from stores.models import RunStep
from stores.models.transaction import DIGITS, PLACES

SUM_TOO_LARGE = "sum_too_large"
SALE_REFUSED = "sale_refused"
# The view refused_sale has the same.
REFUSAL_REASONS = (SUM_TOO_LARGE, SALE_REFUSED)
# The smallest amount of money that no column can hold.
AMOUNT_LIMIT = 10 ** (DIGITS - PLACES)


@dataclass(frozen=True)
class Refusal:
    """An error of a sale that the database refuses, in the form of a broken rule."""

    sale: int
    rule: str
    field: str
    line_number: int | None = None
    found: str = ""


def process_excluding_refused(
    step: RunStep, work: Callable[[Sequence[int]], int], sales: Sequence[int]
) -> int:
    """Call `work` with all sales, or with fewer at a time to isolate those the database refuses.

    A refused sale is recorded as an error, and the counts of its call are undone. Return the sum of
    the results of `work`.
    """

    def work_on(ids: Sequence[int]) -> int:
        with step.counts_restored():
            return work(ids)

    done, refused = bisect_keys(work_on, sales)
    if refused:
        record_refusals(refusals_of(refused))
        step.add(failed=len(refused))
    return sum(done)


def process_together(
    work: Callable[[Sequence[int]], None], sales: Sequence[int]
) -> tuple[list[int], list[Refusal]]:
    """Find the sales that `work` can process together. Return these, and an error of each other.

    `work` tries the sales that it is called with, and undoes what it did. Some sales are refused
    alone, others only together with the rest, for example because a sum becomes too large.
    """
    accepted_parts, refused_alone = bisect_keys(work, sales)
    rest = [sale for sale in sales if sale not in refused_alone]
    # One part and nothing refused: `work` was called once, with all of them.
    was_tried_together = not refused_alone and len(accepted_parts) == 1
    if not rest or was_tried_together:
        return rest, refusals_of(refused_alone)

    accepted: list[int] = []

    def try_with_accepted(ids: Sequence[int]) -> None:
        work([*accepted, *ids])
        accepted.extend(ids)

    _, refused_together = bisect_keys(try_with_accepted, rest)
    return accepted, refusals_of(refused_alone | refused_together)


def refusals_of(refused: Mapping[int, str]) -> list[Refusal]:
    """Return an error of each refused sale, with the database's message."""
    return [
        Refusal(sale, SALE_REFUSED, "transaction_id", found=error)
        for sale, error in refused.items()
    ]


def too_large(sales: Sequence[int]) -> list[Refusal]:
    """Return errors of the sales whose amounts may add up to more than a column can hold.

    An amount is too large if the limit is reached by this product: the amount, times the number of
    amounts in the same field that are at least half as large.
    """
    return [
        Refusal(sale, SUM_TOO_LARGE, field, line, value)
        for sale, field, line, value in fetch(
            """WITH sale AS MATERIALIZED (
                 SELECT * FROM retail_transaction WHERE id = ANY(%(sales)s)),
               amounts AS MATERIALIZED (
                 SELECT sale.id, header.field, NULL::integer AS line_number, header.amount
                   FROM sale CROSS JOIN LATERAL (VALUES
                        ('net_amount', sale.net_amount), ('tax_amount', sale.tax_amount),
                        ('gross_amount', sale.gross_amount),
                        ('discount_amount', sale.discount_amount)) header (field, amount)
                 UNION ALL
                 SELECT sale.id, 'amount' AS field, payment.line_number, payment.amount
                   FROM sale
                   JOIN retail_transaction_payment payment ON payment.transaction_id = sale.id),
               -- Only these can be too large; comparing all amounts with each other would be slow.
               large AS MATERIALIZED (
                 SELECT * FROM amounts
                  WHERE abs(amount) * (SELECT count(*) FROM amounts) >= %(limit)s)
               SELECT id, field, line_number, amount::text FROM large
                WHERE abs(amount) * (
                      SELECT count(*) FROM large other
                       WHERE other.field = large.field
                         AND abs(other.amount) >= abs(large.amount) / 2) >= %(limit)s
                ORDER BY id, field, line_number""",
            {"sales": list(sales), "limit": AMOUNT_LIMIT},
        )
    ]


def record_refusals(refusals: Sequence[Refusal]) -> None:
    """Insert the errors of the sales, and mark the sales as failed, in the caller's transaction.

    If the database refuses even the mark, the error alone keeps the sale out of all runs.
    """
    for refusal in refusals:
        run_sql(
            """INSERT INTO transaction_error (transaction_id, rule, field, line_number, expected,
                                              found)
               VALUES (%s, %s, %s, %s, '', %s) ON CONFLICT DO NOTHING""",
            [refusal.sale, refusal.rule, refusal.field, refusal.line_number, refusal.found[:60]],
        )
    sales = sorted({refusal.sale for refusal in refusals})
    bisect_keys(mark_in_error, sales)


def mark_in_error(sales: Sequence[int]) -> None:
    """Set the validation status, and the order status of customer orders, by their errors."""
    run_sql(
        """UPDATE retail_transaction SET validation_status = 'error', validated_at = now()
            WHERE id = ANY(%s)
              AND EXISTS (SELECT FROM transaction_error
                           WHERE transaction_id = retail_transaction.id)""",
        [list(sales)],
    )
    run_sql(
        """UPDATE retail_transaction sale
              SET order_status = 'failed', order_reason = error.rule, order_field = error.field,
                  order_attempts = sale.order_attempts + 1, order_tried_at = now()
             FROM (SELECT DISTINCT ON (transaction_id) transaction_id, rule, field
                     FROM transaction_error
                    WHERE transaction_id = ANY(%s) ORDER BY transaction_id, id) error
            WHERE sale.id = error.transaction_id
              AND sale.transaction_type = 'customer_order' AND sale.sales_order_id IS NULL""",
        [list(sales)],
    )
