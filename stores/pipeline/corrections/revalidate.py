"""What was corrected is judged again at once, as far as that needs nobody converted."""

from collections.abc import Sequence

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch, run_sql
from stores.hqdb.work_table import WorkTable
from stores.models.failed_sale import SaleCause
from stores.pipeline.sales.customers import assign_customers, blockers_of
from stores.pipeline.sales.rules import check_sales, errors_of

STILL_FAILING = load(__file__, "still_failing")


def revalidate(sales: Sequence[int]) -> int:
    """Forget what was found about sales before they were corrected, and hold the rules anew.

    A sale whose customer HQ does not know is left to the next run, which converts on the way.
    Returns how many still break a rule. Effects: the sales' customers, validation, errors and order
    status, in the caller's transaction, which holds the sales.
    """
    run_sql("DELETE FROM transaction_error WHERE transaction_id = ANY(%s)", [list(sales)])
    run_sql(
        """UPDATE retail_transaction t
              SET is_mended = true, validation_status = 'none', validated_at = NULL,
                  order_field = NULL,
                  order_reason = CASE WHEN transaction_type <> 'customer_order' THEN NULL
                                      WHEN gross_amount = 0 AND payment_amount <> 0
                                      THEN 'nothing_ordered' ELSE 'not_ordered' END,
                  order_status = CASE WHEN order_status = 'failed' THEN 'none'
                                      ELSE order_status END,
                  -- For whom prepayments are posted is settled.
                  customer_id = CASE WHEN prepayment_statement_id IS NOT NULL THEN customer_id END
            WHERE id = ANY(%s)""",
        [list(sales)],
    )
    assign_customers(sales)
    checkable = fetch(
        """SELECT id FROM retail_transaction
            WHERE id = ANY(%s) AND (customer_id IS NOT NULL
                  OR async_account IS NULL AND account_number IS NULL)""",
        [list(sales)],
    )
    _, broken = check_sales([sale for (sale,) in checkable])
    return broken


# In which part of a document a broken rule is; as view failed_sale says it.
PART_NAME = sql.SQL(
    """CASE WHEN f.line_number IS NULL THEN 'header'
            WHEN f.field IN ('tender_type', 'amount', 'currency') THEN 'payment'
            ELSE 'line' END"""
)


def still_failing(
    cause: SaleCause, sales: Sequence[int], names: Sequence[str], before: WorkTable
) -> list[int]:
    """Those of corrected sales that break the rule all the same, or now another in these fields.

    A customer or address that waits in staging counts as known: the next run brings it. `before`
    are the errors that the sales had: transaction_id, rule, field, line_number.
    """
    with errors_of(sales) as errors, blockers_of(sales) as blockers:
        rows = fetch(
            failing_statement(errors, blockers, before),
            {
                "sales": list(sales),
                "reason": cause.reason,
                "field": cause.field,
                "part": cause.part,
                "names": list(names),
            },
        )
    return [sale for (sale,) in rows]


def failing_statement(errors: WorkTable, blockers: WorkTable, before: WorkTable) -> sql.Composed:
    return STILL_FAILING.format(
        part=PART_NAME,
        errors=errors.identifier,
        blockers=blockers.identifier,
        before=before.identifier,
    )
