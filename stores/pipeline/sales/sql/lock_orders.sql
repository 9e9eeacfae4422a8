-- Lock the next customer orders of a channel that are to become sales orders, or one by number.
--
-- Orders that another job has locked, or that a person is correcting, are skipped. {is_refused}: that
-- the database has refused order t. {being_corrected}: that a person is correcting it.
SELECT t.id FROM retail_transaction t
 WHERE t.channel_id = %(channel)s AND t.id > %(last)s AND t.sales_order_id IS NULL
   AND t.transaction_type = 'customer_order' AND t.entry_status = 'concluded'
   AND (t.gross_amount <> 0 OR t.payment_amount = 0)
   AND CASE %(order)s WHEN '' THEN NOT {is_refused} ELSE t.confirmation_number = %(order)s END
   AND NOT {being_corrected}
 ORDER BY t.id LIMIT %(limit)s FOR UPDATE OF t SKIP LOCKED
