-- Sales that wait to be posted, and the sales of statements. The pipeline alone reads these views.

-- Whether a person has a lease on a sale, so that jobs and other people leave it alone. A lease that ends in more than
-- 30 minutes was taken before the clock was set back, and does not count.
CREATE FUNCTION is_being_corrected(editing_until timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(editing_until BETWEEN now() AND now() + interval '30 minutes', false);

-- The sales that the database has refused. Jobs do not try them again until a person corrects or retries them.
CREATE VIEW refused_sale AS
SELECT transaction_id FROM transaction_error WHERE rule IN ('sum_too_large', 'sale_refused');

-- The sales and returns that are in no statement and no order.
CREATE VIEW open_sale AS
SELECT id, company_id, channel_id, business_date, customer_id, async_account, account_number, validation_status,
       editing_until, statement_id
  FROM retail_transaction
 WHERE statement_id IS NULL AND sales_order_id IS NULL AND entry_status = 'concluded'
   AND transaction_type IN ('sale', 'return');

-- The customer orders with payments that are in no statement.
CREATE VIEW open_prepayment AS
SELECT id, company_id, channel_id, business_date, customer_id, async_account, account_number, validation_status,
       editing_until, prepayment_statement_id
  FROM retail_transaction
 WHERE prepayment_statement_id IS NULL AND payment_amount <> 0 AND entry_status = 'concluded'
   AND transaction_type = 'customer_order';

-- All that statements still have to post. Each branch uses its own index.
CREATE VIEW open_document AS
SELECT id, company_id, channel_id, business_date, customer_id, async_account, account_number, validation_status
  FROM open_sale
 UNION ALL
SELECT id, company_id, channel_id, business_date, customer_id, async_account, account_number, validation_status
  FROM open_prepayment;

-- The open sales that a statement may take. A sale that was removed from one has an error.
CREATE VIEW ready_sale AS
SELECT id, channel_id, business_date, statement_id
  FROM open_sale sale
 WHERE validation_status = 'successful' AND NOT is_being_corrected(editing_until)
   AND NOT EXISTS (SELECT FROM transaction_error error WHERE error.transaction_id = sale.id);

-- The open prepayments that a statement may take.
CREATE VIEW ready_prepayment AS
SELECT id, channel_id, business_date, prepayment_statement_id
  FROM open_prepayment document
 WHERE validation_status = 'successful' AND NOT is_being_corrected(editing_until)
   AND NOT EXISTS (SELECT FROM transaction_error error WHERE error.transaction_id = document.id);

-- All that statements may take.
CREATE VIEW ready_document AS
SELECT id, channel_id, business_date FROM ready_sale
 UNION ALL
SELECT id, channel_id, business_date FROM ready_prepayment;

-- The transactions in each statement. Of a prepaid order, the statement has only the payments.
CREATE VIEW statement_document AS
SELECT statement_id, id, customer_id, false AS is_prepaid
  FROM retail_transaction WHERE statement_id IS NOT NULL
 UNION ALL
SELECT prepayment_statement_id AS statement_id, id, customer_id, true AS is_prepaid
  FROM retail_transaction WHERE prepayment_statement_id IS NOT NULL;

-- The sales, returns and prepaid orders that are in no posted statement, voided ones included. `statement_id` is the open
-- statement that has them, `amount` is what was paid for an order. Each branch uses an index of its own.
CREATE VIEW unposted_sale AS
SELECT id, channel_id, business_date, currency, gross_amount AS amount, entry_status, validation_status, editing_until,
       statement_id
  FROM retail_transaction
 WHERE statement_id IS NULL AND sales_order_id IS NULL AND transaction_type IN ('sale', 'return')
 UNION ALL
SELECT id, channel_id, business_date, currency, payment_amount AS amount, entry_status, validation_status, editing_until,
       prepayment_statement_id AS statement_id
  FROM retail_transaction document
 WHERE transaction_type = 'customer_order' AND prepayment_statement_id IS NULL AND payment_amount <> 0
   AND EXISTS (SELECT FROM retail_transaction_payment payment WHERE payment.transaction_id = document.id)
 UNION ALL
-- Payments that add up to nothing, such as a deposit that was given back at once.
SELECT id, channel_id, business_date, currency, payment_amount AS amount, entry_status, validation_status, editing_until,
       prepayment_statement_id AS statement_id
  FROM retail_transaction document
 WHERE transaction_type = 'customer_order' AND prepayment_statement_id IS NULL AND payment_amount = 0
   AND EXISTS (SELECT FROM retail_transaction_payment payment WHERE payment.transaction_id = document.id)
 UNION ALL
SELECT sale.id, sale.channel_id, sale.business_date, sale.currency, sale.gross_amount AS amount, sale.entry_status,
       sale.validation_status, sale.editing_until, sale.statement_id
  FROM statement JOIN retail_transaction sale ON sale.statement_id = statement.id
 WHERE statement.state <> 'posted'
 UNION ALL
SELECT document.id, document.channel_id, document.business_date, document.currency, document.payment_amount AS amount,
       document.entry_status, document.validation_status, document.editing_until,
       document.prepayment_statement_id AS statement_id
  FROM statement JOIN retail_transaction document ON document.prepayment_statement_id = statement.id
 WHERE statement.state <> 'posted';
