-- Lock the next open sales of a channel that are to be validated.
--
-- Rows that another job holds are left to it, and so are those that a person is correcting.
-- {is_refused}: that no run may take sale t.
SELECT t.id FROM retail_transaction t
 WHERE t.channel_id = %(channel)s AND t.id > %(last)s
   AND t.statement_id IS NULL AND t.sales_order_id IS NULL
   AND t.entry_status = 'concluded' AND t.validation_status <> 'successful'
   AND t.business_date = coalesce(%(day)s, t.business_date)
   AND NOT {is_refused} AND NOT {being_corrected}
 ORDER BY t.id LIMIT %(limit)s FOR UPDATE OF t SKIP LOCKED
