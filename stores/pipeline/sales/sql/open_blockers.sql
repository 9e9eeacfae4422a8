-- What keeps open sales from being posted, by channel and business date.
--
-- The same questions in the same order as the jobs ask them; what is only not validated yet and has
-- a customer is no blocker. A customer who is not here is missing until validation has looked, then
-- unknown, as the transaction's page and what failed alike call it.
--
-- {open_documents}: what a business date still has to post.
SELECT open.channel_id, open.business_date, why.reason, why.field, count(*) AS sales
  FROM (SELECT t.*, coalesce(t.customer_id, m.customer_id, k.id) AS buyer,
               t.customer_id IS NULL AND m.customer_id <> k.id AS names_two,
               h.default_customer_id
          FROM {open_documents} t
          JOIN channel h ON h.id = t.channel_id
          LEFT JOIN guid_map m
                 ON m.async_account = t.async_account AND m.company_id = t.company_id
          LEFT JOIN customer k
                 ON k.account_number = t.account_number AND k.company_id = t.company_id) open
 CROSS JOIN LATERAL (
       SELECT CASE WHEN EXISTS (SELECT FROM transaction_error e
                                 WHERE e.transaction_id = open.id AND e.rule = 'customer_unknown')
                   THEN 'customer_unknown' ELSE 'customer_missing' END AS reason) missing
 CROSS JOIN LATERAL (
       SELECT 'identity_mismatch' AS reason, 'account_number' AS field, 1 AS place
        WHERE open.names_two
       UNION ALL
       SELECT q.reason, q.field, 2 FROM quarantine q
        WHERE open.buyer IS NULL AND q.async_account = open.async_account
          AND q.table = 'async_customer' AND q.status = 'open'
       UNION ALL
       SELECT s.reason, s.field, 3 FROM async_customer s
        WHERE open.buyer IS NULL AND s.company_id = open.company_id
          AND s.async_account = open.async_account AND s.status = 'failed'
       UNION ALL
       SELECT missing.reason, 'account_number', 4
        WHERE open.buyer IS NULL AND open.account_number IS NOT NULL
       UNION ALL
       SELECT missing.reason, 'async_account', 5
        WHERE open.buyer IS NULL AND open.async_account IS NOT NULL
          AND NOT EXISTS (SELECT FROM async_customer s
                           WHERE s.company_id = open.company_id AND s.status = 'pending'
                             AND s.async_account = open.async_account
                             AND s.account_number IS NULL)
       UNION ALL
       SELECT 'customer_not_active', 'customer', 6 FROM customer k
        WHERE k.id = coalesce(open.buyer, open.default_customer_id) AND k.state <> 'active'
          AND (open.buyer IS NOT NULL
               OR open.async_account IS NULL AND open.account_number IS NULL)
       UNION ALL
       SELECT 'default_customer_missing', 'customer', 7
        WHERE open.default_customer_id IS NULL AND open.buyer IS NULL
          AND open.async_account IS NULL AND open.account_number IS NULL
       UNION ALL
       (SELECT e.rule, e.field, 8 FROM transaction_error e
         WHERE e.transaction_id = open.id AND e.rule <> 'customer_unknown' ORDER BY e.id LIMIT 1)
       ORDER BY place LIMIT 1) why
 GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 3, 4
