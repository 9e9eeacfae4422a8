"""What was corrected is judged again at once, as far as that needs nobody converted."""

from collections.abc import Sequence

from stores.pipeline.bulk import run_sql
from stores.pipeline.buyers import write_buyers
from stores.pipeline.validate import check_sales


def judge_again(sales: Sequence[int]) -> int:
    """Forget what was found about sales before they were corrected, and hold the rules anew.

    A sale whose customer HQ does not know is left to the next run, which converts on the way.
    Returns how many still break a rule. Effects: the sales' customers, validation, errors and order
    status, in the caller's transaction, which holds the sales.
    """
    run_sql("DROP TABLE IF EXISTS pg_temp.sale")
    run_sql(
        "CREATE TEMP TABLE sale ON COMMIT DROP AS SELECT unnest(%s::bigint[]) AS id", [list(sales)]
    )
    run_sql("DELETE FROM transaction_error e USING sale WHERE sale.id = e.transaction_id")
    run_sql(
        """UPDATE retail_transaction t
              SET is_mended = true, customer_id = NULL, validation_status = 'none',
                  validated_at = NULL, order_field = NULL,
                  order_reason = CASE WHEN transaction_type = 'customer_order'
                                      THEN 'not_ordered' END,
                  order_status = CASE WHEN order_status = 'failed' THEN 'none'
                                      ELSE order_status END
             FROM sale WHERE sale.id = t.id"""
    )
    write_buyers()
    run_sql(
        """DELETE FROM sale USING retail_transaction t
            WHERE t.id = sale.id AND t.customer_id IS NULL
              AND (t.async_account IS NOT NULL OR t.account_number IS NOT NULL)"""
    )
    _, broken = check_sales()
    run_sql("DROP TABLE sale")
    return broken
