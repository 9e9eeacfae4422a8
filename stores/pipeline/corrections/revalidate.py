"""What was corrected is judged again at once, as far as that needs nobody converted."""

from collections.abc import Sequence

from stores.hqdb.sql import fetch, run_sql
from stores.models.failed_sale import SaleCause
from stores.pipeline.sales.customers import assign_customers, find_blockers
from stores.pipeline.sales.rules import check_sales, find_errors


def revalidate(sales: Sequence[int]) -> int:
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
              SET is_mended = true, validation_status = 'none', validated_at = NULL,
                  order_field = NULL,
                  order_reason = CASE WHEN transaction_type <> 'customer_order' THEN NULL
                                      WHEN gross_amount = 0 AND payment_amount <> 0
                                      THEN 'nothing_ordered' ELSE 'not_ordered' END,
                  order_status = CASE WHEN order_status = 'failed' THEN 'none'
                                      ELSE order_status END,
                  -- For whom prepayments are posted is settled.
                  customer_id = CASE WHEN prepayment_statement_id IS NOT NULL THEN customer_id END
             FROM sale WHERE sale.id = t.id"""
    )
    assign_customers()
    run_sql(
        """DELETE FROM sale USING retail_transaction t
            WHERE t.id = sale.id AND t.customer_id IS NULL
              AND (t.async_account IS NOT NULL OR t.account_number IS NOT NULL)"""
    )
    _, broken = check_sales()
    run_sql("DROP TABLE sale")
    return broken


# In which part of a document a broken rule is; as view failed_sale says it.
PART_NAME = """CASE WHEN f.line_number IS NULL THEN 'header'
               WHEN f.field IN ('tender_type', 'amount', 'currency') THEN 'payment'
               ELSE 'line' END"""


def still_failing(cause: SaleCause, sales: Sequence[int], names: Sequence[str]) -> list[int]:
    """Those of corrected sales that break the rule all the same, or now another in these fields.

    A customer or address that waits in staging counts as known: the next run brings it. Needs table
    broken_before, the errors that the sales had.
    """
    run_sql(
        "CREATE TEMP TABLE sale ON COMMIT DROP AS SELECT unnest(%s::bigint[]) AS id", [list(sales)]
    )
    find_errors()
    find_blockers()
    rows = fetch(
        f"""WITH coming AS (
             SELECT t.id, EXISTS (SELECT FROM async_customer s
                                   WHERE s.company_id = t.company_id AND s.status = 'pending'
                                     AND s.async_account = t.async_account
                                     AND t.account_number IS NULL) AS customer,
                    EXISTS (SELECT FROM async_address s
                             WHERE s.company_id = t.company_id AND s.status = 'pending'
                               AND s.address_id = t.delivery_address_id) AS address
               FROM sale JOIN retail_transaction t USING (id))
           SELECT f.transaction_id FROM found_error f JOIN coming ON coming.id = f.transaction_id
            WHERE ((f.rule, f.field, {PART_NAME}) = (%(reason)s, %(field)s, %(part)s)
                   OR ({PART_NAME} = %(part)s AND f.field = ANY(%(names)s) AND NOT EXISTS (
                       SELECT FROM broken_before b
                        WHERE (b.transaction_id, b.rule, b.field)
                            = (f.transaction_id, f.rule, f.field)
                          AND b.line_number IS NOT DISTINCT FROM f.line_number)))
              AND NOT (f.rule = 'customer_unknown' AND coming.customer)
            UNION
           SELECT m.id FROM missing m JOIN coming USING (id) JOIN retail_transaction t USING (id)
            WHERE t.transaction_type = 'customer_order'
              AND ((m.reason, m.field) = (%(reason)s, %(field)s)
                   OR m.field = ANY(%(names)s))
              AND NOT (m.reason = 'customer_missing' AND coming.customer)
              AND NOT (m.reason = 'address_missing' AND coming.address)
            ORDER BY 1""",  # noqa: S608 - our own text
        {
            "reason": cause.reason,
            "field": cause.field,
            "part": cause.part,
            "names": list(names),
        },
    )
    run_sql("DROP TABLE found_error, missing, sale")
    return [sale for (sale,) in rows]
