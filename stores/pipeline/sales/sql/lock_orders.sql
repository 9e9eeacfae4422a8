-- Lock the next customer orders of a channel that are to become sales orders, or one by number.
--
-- Run by orders.synchronize_orders(). Orders that another job has locked, or that a person is
-- correcting, are skipped. {is_refused}: that the database has refused order sale.
-- {being_corrected}: that a person is correcting it.
SELECT sale.id FROM retail_transaction sale
 WHERE sale.channel_id = %(channel)s AND sale.id > %(last)s AND sale.sales_order_id IS NULL
   AND sale.transaction_type = 'customer_order' AND sale.entry_status = 'concluded'
   AND (sale.gross_amount <> 0 OR sale.payment_amount = 0)
   AND CASE %(order)s WHEN '' THEN NOT {is_refused} ELSE sale.confirmation_number = %(order)s END
   AND NOT {being_corrected}
 ORDER BY sale.id LIMIT %(limit)s FOR UPDATE OF sale SKIP LOCKED
