-- Lock the next open sales of a channel that have not passed validation.
--
-- Run by validate.validate_transactions(). Sales that another job has locked, or that a person is
-- correcting, are skipped. {is_refused}: that the database has refused sale sale.
-- {being_corrected}: that a person is correcting it.
SELECT sale.id FROM retail_transaction sale
 WHERE sale.channel_id = %(channel)s AND sale.id > %(last)s
   AND sale.statement_id IS NULL AND sale.sales_order_id IS NULL
   AND sale.entry_status = 'concluded' AND sale.validation_status <> 'successful'
   AND sale.business_date = coalesce(%(day)s, sale.business_date)
   AND NOT {is_refused} AND NOT {being_corrected}
 ORDER BY sale.id LIMIT %(limit)s FOR UPDATE OF sale SKIP LOCKED
