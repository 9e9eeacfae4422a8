-- Lock the next open sales of a channel that have not passed validation.
--
-- Sales that another job has locked, or that a person is correcting, are skipped. {is_refused}: that
-- the database has refused sale t. {being_corrected}: that a person is correcting it.
SELECT t.id FROM retail_transaction t
 WHERE t.channel_id = %(channel)s AND t.id > %(last)s
   AND t.statement_id IS NULL AND t.sales_order_id IS NULL
   AND t.entry_status = 'concluded' AND t.validation_status <> 'successful'
   AND t.business_date = coalesce(%(day)s, t.business_date)
   AND NOT {is_refused} AND NOT {being_corrected}
 ORDER BY t.id LIMIT %(limit)s FOR UPDATE OF t SKIP LOCKED
