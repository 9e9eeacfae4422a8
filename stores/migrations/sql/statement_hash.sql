-- The hash of a statement over all rows that belong to it, each written as a text. It is saved when the statement is
-- posted, and the check I26 computes it again. A text begins with what its row is, and the texts are sorted, so that
-- neither the order nor the kind of rows can change unnoticed.
CREATE FUNCTION statement_hash(of_statement bigint) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
    SELECT sha256(convert_to(string_agg(row, E'\n' ORDER BY row COLLATE "C"), 'UTF8'))
      FROM (
        -- Its sales, with their lines and payments.
        SELECT concat_ws('|', 'transaction', sale.transaction_id, sale.customer_id,
                         sale.sales_order_id, sale.currency, sale.net_amount, sale.tax_amount,
                         sale.gross_amount, sale.discount_amount, sale.payment_amount,
                         encode(sale.content_hash, 'hex')) AS row
          FROM retail_transaction sale WHERE sale.statement_id = of_statement
        UNION ALL
        SELECT concat_ws('|', 'line', line::text) AS row
          FROM retail_transaction sale
          JOIN retail_transaction_line line ON line.transaction_id = sale.id
         WHERE sale.statement_id = of_statement
        UNION ALL
        SELECT concat_ws('|', 'paid', payment::text) AS row
          FROM retail_transaction sale
          JOIN retail_transaction_payment payment ON payment.transaction_id = sale.id
         WHERE sale.statement_id = of_statement
        UNION ALL
        -- Its totals and tenders.
        SELECT concat_ws('|', 'total', currency, transactions, net_amount, tax_amount, gross_amount,
                         discount_amount) AS row
          FROM statement_total WHERE statement_id = of_statement
        UNION ALL
        SELECT concat_ws('|', 'tender', tender_type, currency, count, amount) AS row
          FROM statement_tender WHERE statement_id = of_statement
        UNION ALL
        -- Its orders and posted payments.
        SELECT concat_ws('|', 'order', number, invoice_number, customer_id, currency, net_amount,
                         tax_amount, gross_amount, discount_amount) AS row
          FROM sales_order WHERE statement_id = of_statement
        UNION ALL
        SELECT concat_ws('|', 'payment', sales_order_id, tender_type, currency, count, amount) AS row
          FROM posted_payment WHERE statement_id = of_statement AND kind = 'payment'
        UNION ALL
        SELECT concat_ws('|', kind, sales_order_id, transaction_id, customer_id, tender_type, currency,
                         count, amount) AS row
          FROM posted_payment WHERE statement_id = of_statement AND kind <> 'payment'
        UNION ALL
        -- Its prepaid customer orders, with their payments and tenders.
        SELECT concat_ws('|', 'prepaid', document.transaction_id, document.customer_id,
                         document.currency, document.payment_amount) AS row
          FROM retail_transaction document WHERE document.prepayment_statement_id = of_statement
        UNION ALL
        SELECT concat_ws('|', 'prepaid in', payment::text) AS row
          FROM retail_transaction document
          JOIN retail_transaction_payment payment ON payment.transaction_id = document.id
         WHERE document.prepayment_statement_id = of_statement
        UNION ALL
        SELECT concat_ws('|', 'prepaid tender', tender_type, currency, prepaid_amount) AS row
          FROM statement_tender WHERE statement_id = of_statement AND prepaid_amount <> 0) statement_rows);
