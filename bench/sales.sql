-- Fills HQ as years of tills would: transactions of four channels over a thousand days, all posted. Of twenty, nineteen
-- are sales, four of them to a sales order; one is a customer order that was prepaid. Triggers and secondary indexes are
-- off. Holes: `each`, the transactions of a statement; `last`, the last business date; `customers`, who buy.
CREATE TEMP TABLE buyer AS
SELECT n, n + (SELECT coalesce(max(id), 0) FROM customer) AS id, 500000000 + n AS number
  FROM generate_series(1::bigint, %(customers)s) n;
INSERT INTO customer (id, company_id, account_number, number, change_no, customer_type, first_name, last_name, name,
                      currency, language)
SELECT id, code, 'C-' || number, number, change_no + n, 'person', 'Ann', 'Customer ' || n, 'Ann Customer ' || n, 'USD',
       'en-us'
  FROM buyer, company WHERE code = 'USRT';
INSERT INTO customer_change (customer_id, change_no, version)
SELECT id, change_no + n, 1 FROM buyer, company WHERE code = 'USRT';
UPDATE company SET change_no = change_no + %(customers)s WHERE code = 'USRT';

-- A thousand statements of each channel, the oldest first.
CREATE TEMP TABLE day_of_shop AS
SELECT statement.n, statement.n + (SELECT coalesce(max(id), 0) + 1 FROM statement) AS id,
       gen_random_uuid() AS session_id, shop.channel_id, shop.database_id,
       %(last)s::date - 999 + (statement.n / 4)::int AS day, (%(last)s::date - 999 + (statement.n / 4)::int)::timestamptz
       + interval '20 hours' AS at
  FROM generate_series(0::bigint, 3999) statement (n)
  JOIN (SELECT row_number() OVER (ORDER BY channel_id) - 1 AS n, channel_id, min(id) AS database_id
          FROM channel_database GROUP BY channel_id) shop
    ON shop.n = statement.n %% 4;
INSERT INTO statement (id, company_id, channel_id, business_date, sequence, state, reason, message, created_at,
                       calculated_at, posted_at, content_hash)
SELECT id, 'USRT', channel_id, day, 1, 'posted', '', '[]', at, at, at, sha256(''::bytea) FROM day_of_shop;
INSERT INTO upload_session (id, run_id, database_id, parts, size_bytes, message, started_at, applied_at, status, read,
                            staged, unchanged, quarantined, waiting)
SELECT session_id, NULL, database_id, 1, 4000, '[]', at, at, 'applied', %(each)s, %(each)s, 0, 0, 0 FROM day_of_shop;
INSERT INTO statement_event (statement_id, at, state, text)
SELECT id, at, state,
       jsonb_build_array(jsonb_build_object('code', 'quoted', 'params', jsonb_build_object('text', 'By the benchmark.')))
  FROM day_of_shop, unnest(ARRAY['started', 'calculated', 'posted']) state;

-- One row for each transaction; `place` is its place in its statement.
CREATE TEMP TABLE sold AS
SELECT shop.n * %(each)s + place AS n, shop.id AS statement_id, shop.session_id, shop.channel_id, shop.database_id,
       shop.day, shop.at,
       place %% 20 = 19 AS is_order, 1 + (shop.n * 7919 + place / 4) %% %(customers)s AS buyer,
       -- The sales order: four sales share one.
       CASE WHEN place %% 20 = 19 THEN shop.n * %(each)s + place ELSE shop.n * %(each)s + place / 4 * 4 END AS order_n,
       5 + (place * 31 %% 9000) / 100.0 AS net
  FROM day_of_shop shop, generate_series(0::bigint, %(each)s - 1) place;
ANALYZE sold;
ANALYZE buyer;

CREATE TEMP TABLE first AS
SELECT (SELECT coalesce(max(id), 0) + 1 FROM retail_transaction) AS transaction_id,
       (SELECT coalesce(max(id), 0) + 1 FROM sales_order) AS order_id;
INSERT INTO sales_order (id, company_id, channel_id, number, invoice_number, confirmation_number, statement_id,
                         customer_id, business_date, currency, net_amount, tax_amount, gross_amount, discount_amount,
                         state, created_at, invoiced_at)
SELECT order_id + order_n, 'USRT', channel_id, 'B' || order_n, CASE WHEN NOT is_order THEN 'B' || order_n END,
       CASE WHEN is_order THEN 'B' || order_n END, CASE WHEN NOT is_order THEN statement_id END, buyer.id, day, 'USD',
       sum(net), 0, sum(net), 0, CASE WHEN is_order THEN 'open' ELSE 'invoiced' END, at,
       CASE WHEN NOT is_order THEN at END
  FROM first, sold JOIN buyer ON buyer.n = sold.buyer
 GROUP BY order_id, order_n, channel_id, is_order, statement_id, buyer.id, day, at
 ORDER BY order_n;
INSERT INTO statement_aggregate (statement_id, customer_id, currency, transactions, net_amount, tax_amount, gross_amount,
                                 discount_amount, state, sales_order_id)
SELECT statement_id, customer_id, currency, 4, net_amount, 0, net_amount, 0, 'ordered', id
  FROM sales_order WHERE statement_id IN (SELECT id FROM day_of_shop);
INSERT INTO statement_total (statement_id, currency, transactions, net_amount, tax_amount, gross_amount, discount_amount)
SELECT statement_id, 'USD', count(*), sum(net), 0, sum(net), 0 FROM sold WHERE NOT is_order GROUP BY statement_id;
INSERT INTO statement_tender (statement_id, tender_type, currency, count, amount, prepaid_amount)
SELECT statement_id, 'cash', 'USD', count(*), sum(net), coalesce(sum(net) FILTER (WHERE is_order), 0)
  FROM sold GROUP BY statement_id;

INSERT INTO retail_transaction (id, event_id, database_id, session_id, channel_id, company_id, replication_counter,
                                occurred_at, account_number, staged_at, content_hash, transaction_id, transaction_type, entry_status,
                                confirmation_number, business_date, store_number, currency, net_amount, tax_amount,
                                gross_amount, discount_amount, payment_amount, line_count, receipt_number, customer_id,
                                validation_status, validated_at, order_status, sales_order_id, statement_id,
                                prepayment_statement_id)
SELECT transaction_id + sold.n, gen_random_uuid(), database_id, session_id, channel_id, 'USRT', 1000000000 + sold.n, at,
       'C-' || buyer.number, at, sha256(sold.n::text::bytea), 'B' || sold.n,
       CASE WHEN is_order THEN 'customer_order' ELSE 'sale' END, 'concluded', CASE WHEN is_order THEN 'B' || order_n END,
       day, 'B' || channel_id, 'USD', net, 0, net, 0, net, 2, 'R' || sold.n, buyer.id, 'successful', at,
       CASE WHEN is_order THEN 'succeeded' ELSE 'none' END, order_id + order_n,
       CASE WHEN NOT is_order THEN statement_id END, CASE WHEN is_order THEN statement_id END
  FROM first, sold JOIN buyer ON buyer.n = sold.buyer
 ORDER BY sold.n;
INSERT INTO retail_transaction_line (transaction_id, line_number, item_id, description, quantity, unit, price,
                                     discount_amount, tax_amount, net_amount, is_voided)
SELECT transaction_id + n, line, 'ITEM-' || n %% 5000, 'Item', 1, 'ea', price, 0, 0, price, false
  FROM first, sold, generate_series(1, 2) line, LATERAL (SELECT CASE line WHEN 1 THEN 1 ELSE net - 1 END AS price) of_line;
INSERT INTO retail_transaction_payment (transaction_id, line_number, tender_type, amount, currency)
SELECT transaction_id + n, 1, 'cash', net, 'USD' FROM first, sold;
INSERT INTO posted_payment (statement_id, kind, customer_id, sales_order_id, transaction_id, tender_type, currency,
                            amount, count)
SELECT statement_id, 'payment', customer_id, id, NULL, 'cash', 'USD', gross_amount, 4
  FROM sales_order WHERE statement_id IN (SELECT id FROM day_of_shop)
 UNION ALL
SELECT statement_id, 'prepayment', buyer.id, NULL, transaction_id + sold.n, 'cash', 'USD', net, 1
  FROM first, sold JOIN buyer ON buyer.n = sold.buyer WHERE is_order;

INSERT INTO arrival (database_id, "table", day, rows)
SELECT database_id, 'retail_transaction', day, %(each)s FROM day_of_shop;
INSERT INTO balance (database_id, "table", day, captured, posted, counted_at)
SELECT database_id, 'retail_transaction', day, %(each)s, %(each)s, at FROM day_of_shop;

SELECT setval('customer_id_seq', (SELECT max(id) FROM customer)),
       setval('statement_id_seq', (SELECT max(id) FROM statement)),
       setval('sales_order_id_seq', (SELECT max(id) FROM sales_order)),
       setval('retail_transaction_id_seq', (SELECT max(id) FROM retail_transaction));
