-- Lock those of some sales that may be corrected.
--
-- Rows that another job holds are left to it, and so are those that another person is correcting.
-- Where `is_free`, it does not matter whether a prepayment is in a statement.
SELECT t.id FROM retail_transaction t
 WHERE t.id = ANY(%(ids)s) AND t.statement_id IS NULL AND t.sales_order_id IS NULL
   AND (t.prepayment_statement_id IS NULL OR %(is_free)s)
   AND (NOT {being_corrected} OR t.editing_by_id = %(by)s)
 ORDER BY t.id LIMIT %(limit)s FOR UPDATE OF t SKIP LOCKED
