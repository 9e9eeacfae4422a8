-- What each sale lacks, and whether that may still come by itself.
--
-- A customer or address that is quarantined or failed is told with that row's own reason; one that
-- has not arrived is waited for. An address that was removed meanwhile is there: an order goes
-- where it was to go when it was written. {is_foreign}: that the channel of sale t named GUID m,
-- which it could not know.
SELECT t.id, why.what, why.reason, why.field, why.waits
  FROM retail_transaction t
 CROSS JOIN LATERAL (
   SELECT 'customer' AS what,
          CASE WHEN m.company_id <> t.company_id THEN 'company_mismatch'
               ELSE 'guid_conflict' END AS reason,
          'async_account' AS field, false AS waits, 0 AS place
     FROM guid_map m
    WHERE t.customer_id IS NULL AND m.async_account = t.async_account
      AND (m.company_id <> t.company_id OR {is_foreign})
   UNION ALL
   SELECT 'customer', 'identity_mismatch', 'account_number', false, 1
     FROM guid_map m JOIN customer k ON k.account_number = t.account_number
                                    AND k.company_id = m.company_id
    WHERE m.company_id = t.company_id AND t.account_number IS NOT NULL
      AND m.async_account = t.async_account AND m.customer_id <> k.id
   UNION ALL
   SELECT 'customer', q.reason, q.field, false, 2 FROM quarantine q
    WHERE t.customer_id IS NULL AND q.async_account = t.async_account
      AND q.table = 'async_customer' AND q.status = 'open'
   UNION ALL
   SELECT 'customer', s.reason, s.field, false, 3 FROM async_customer s
    WHERE t.customer_id IS NULL AND s.company_id = t.company_id
      AND s.async_account = t.async_account AND s.status = 'failed'
   UNION ALL
   SELECT 'customer', 'customer_missing',
          CASE WHEN t.async_account IS NULL THEN 'account_number'
               ELSE 'async_account' END, true, 4
    WHERE t.customer_id IS NULL
      AND (t.async_account IS NOT NULL OR t.account_number IS NOT NULL)
   UNION ALL
   SELECT 'customer', 'default_customer_missing', 'customer', true, 4
    WHERE t.customer_id IS NULL
   UNION ALL
   SELECT 'address', 'address_of_another', 'delivery_address_id', false, 5
     FROM customer_address a
    WHERE a.address_id = t.delivery_address_id AND a.customer_id <> t.customer_id
   UNION ALL
   SELECT 'address', q.reason, q.field, false, 6 FROM quarantine q
    WHERE t.delivery_address_id IS NOT NULL AND q.async_account = t.async_account
      AND q.table = 'async_address' AND q.status = 'open'
      AND NOT EXISTS (SELECT FROM customer_address a
                       WHERE a.address_id = t.delivery_address_id)
   UNION ALL
   SELECT 'address', s.reason, s.field, false, 7 FROM async_address s
    WHERE t.delivery_address_id IS NOT NULL AND s.address_id = t.delivery_address_id
      AND s.status = 'failed' AND s.company_id = t.company_id
   UNION ALL
   SELECT 'address', 'address_missing', 'delivery_address_id', true, 8
    WHERE t.delivery_address_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM customer_address a
                       WHERE a.address_id = t.delivery_address_id)
   ORDER BY place LIMIT 1) why
 WHERE t.id = ANY(%(sales)s)
