-- Lock those of the given sales that a person may correct now.
--
-- Run by bulk.lock_correctable(). Sales that a job has locked, or that another person is
-- correcting, are skipped. Unless `is_free`, sales whose prepayments are in a statement are skipped
-- too. {being_corrected}: that a person is correcting transaction sale.
SELECT sale.id FROM retail_transaction sale
 WHERE sale.id = ANY(%(ids)s) AND sale.statement_id IS NULL AND sale.sales_order_id IS NULL
   AND (sale.prepayment_statement_id IS NULL OR %(is_free)s)
   AND (NOT {being_corrected} OR sale.editing_by_id = %(by)s)
 ORDER BY sale.id LIMIT %(limit)s FOR UPDATE OF sale SKIP LOCKED
