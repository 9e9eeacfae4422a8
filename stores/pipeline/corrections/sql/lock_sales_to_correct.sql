-- Lock those of the given sales that a person may correct now.
--
-- Sales that a job has locked, or that another person is correcting, are skipped. Unless `is_free`,
-- sales whose prepayments are in a statement are skipped too. {being_corrected}: that a person is
-- correcting transaction t.
SELECT t.id FROM retail_transaction t
 WHERE t.id = ANY(%(ids)s) AND t.statement_id IS NULL AND t.sales_order_id IS NULL
   AND (t.prepayment_statement_id IS NULL OR %(is_free)s)
   AND (NOT {being_corrected} OR t.editing_by_id = %(by)s)
 ORDER BY t.id LIMIT %(limit)s FOR UPDATE OF t SKIP LOCKED
