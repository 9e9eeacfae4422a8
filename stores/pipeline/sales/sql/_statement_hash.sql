-- The hash over all rows of a posted statement, each as a text; {statement} is its id.
SELECT sha256(convert_to(
         string_agg(row, E'\n' ORDER BY row COLLATE "C"), 'UTF8'))
  FROM (SELECT concat_ws('|', 'transaction', t.transaction_id, t.customer_id, t.sales_order_id,
                         t.currency, t.net_amount, t.tax_amount, t.gross_amount,
                         t.discount_amount, t.payment_amount, encode(t.content_hash, 'hex')) AS row
          FROM retail_transaction t WHERE t.statement_id = {statement}
        UNION ALL
        SELECT concat_ws('|', 'line', l::text)
          FROM retail_transaction t JOIN retail_transaction_line l ON l.transaction_id = t.id
         WHERE t.statement_id = {statement}
        UNION ALL
        SELECT concat_ws('|', 'paid', p::text)
          FROM retail_transaction t JOIN retail_transaction_payment p ON p.transaction_id = t.id
         WHERE t.statement_id = {statement}
        UNION ALL
        SELECT concat_ws('|', 'total', currency, transactions, net_amount, tax_amount, gross_amount,
                         discount_amount)
          FROM statement_total WHERE statement_id = {statement}
        UNION ALL
        SELECT concat_ws('|', 'tender', tender_type, currency, count, amount)
          FROM statement_tender WHERE statement_id = {statement}
        UNION ALL
        SELECT concat_ws('|', 'order', number, invoice_number, customer_id, currency, net_amount,
                         tax_amount, gross_amount, discount_amount)
          FROM sales_order WHERE statement_id = {statement}
        UNION ALL
        SELECT concat_ws('|', 'payment', p.sales_order_id, p.tender_type, p.currency, p.count,
                         p.amount)
          FROM posted_payment p WHERE p.statement_id = {statement} AND p.kind = 'payment'
        UNION ALL
        SELECT concat_ws('|', p.kind, p.sales_order_id, p.transaction_id, p.customer_id,
                         p.tender_type, p.currency, p.count, p.amount)
          FROM posted_payment p WHERE p.statement_id = {statement} AND p.kind <> 'payment'
        UNION ALL
        SELECT concat_ws('|', 'prepaid', t.transaction_id, t.customer_id, t.currency,
                         t.payment_amount)
          FROM retail_transaction t WHERE t.prepayment_statement_id = {statement}
        UNION ALL
        SELECT concat_ws('|', 'prepaid in', p::text)
          FROM retail_transaction t JOIN retail_transaction_payment p ON p.transaction_id = t.id
         WHERE t.prepayment_statement_id = {statement}
        UNION ALL
        SELECT concat_ws('|', 'prepaid tender', tender_type, currency, prepaid_amount)
          FROM statement_tender WHERE statement_id = {statement} AND prepaid_amount <> 0) held
