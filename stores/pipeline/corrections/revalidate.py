"""Validate sales again after a correction, as far as no customer has to be converted."""

from collections.abc import Sequence

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_values, run_sql
from stores.hqdb.work_table import WorkTable
from stores.models.failed_sale import SaleCause
from stores.pipeline.sales.customers import assign_customers, blockers_of
from stores.pipeline.sales.rules import check_sales, errors_of

STILL_FAILING = load(__file__, "still_failing")


def revalidate(sales: Sequence[int]) -> int:
    """Delete the errors of corrected sales, and check the rules again.

    A sale whose customer HQ does not have is left to the next run, which converts the customer.
    Return how many sales still break a rule. Effects: customers, validation, errors and order
    status of the sales, which the caller has locked.
    """
    run_sql("DELETE FROM transaction_error WHERE transaction_id = ANY(%s)", [list(sales)])
    run_sql(
        """UPDATE retail_transaction
              SET is_mended = true, validation_status = 'none', validated_at = NULL,
                  order_field = NULL,
                  order_reason = CASE WHEN transaction_type <> 'customer_order' THEN NULL
                                      WHEN gross_amount = 0 AND payment_amount <> 0
                                      THEN 'nothing_ordered' ELSE 'not_ordered' END,
                  order_status = CASE WHEN order_status = 'failed' THEN 'none'
                                      ELSE order_status END,
                  -- Prepayments are posted for the customer that they have.
                  customer_id = CASE WHEN prepayment_statement_id IS NOT NULL THEN customer_id END
            WHERE id = ANY(%s)""",
        [list(sales)],
    )
    assign_customers(sales)
    checkable = fetch_values(
        """SELECT id FROM retail_transaction
            WHERE id = ANY(%s)
              AND (customer_id IS NOT NULL
                   OR (async_account IS NULL AND account_number IS NULL))""",
        [list(sales)],
    )
    _, broken = check_sales(checkable)
    return broken


def still_failing(
    cause: SaleCause, sales: Sequence[int], fields: Sequence[str], errors_before: WorkTable
) -> list[int]:
    """Return those of corrected sales that break the rule, or now another one in these fields."""
    if not sales:
        return []
    with errors_of(sales) as errors, blockers_of(sales) as blockers:
        return fetch_values(
            STILL_FAILING,
            {
                "sales": list(sales),
                "reason": cause.reason,
                "field": cause.field,
                "part": cause.part,
                "names": list(fields),
            },
            errors=errors,
            blockers=blockers,
            errors_before=errors_before,
        )
