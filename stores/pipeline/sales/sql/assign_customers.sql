-- Give every sale the account that HQ knows under the GUID or number it names.
--
-- The sales first: the statistics do not know yet how many have no customer. {is_foreign}: that the
-- channel of sale n named GUID m, which it could not know.
WITH nameless AS MATERIALIZED (
  SELECT t.id, t.company_id, t.async_account, t.account_number, t.channel_id,
         t.database_id, t.staged_at
    FROM retail_transaction t
   WHERE t.id = ANY(%(sales)s) AND t.customer_id IS NULL
     AND (t.async_account IS NOT NULL OR t.account_number IS NOT NULL))
UPDATE retail_transaction t SET customer_id = found.customer_id
  FROM (SELECT n.id, coalesce(m.customer_id, k.id) AS customer_id
          FROM nameless n
          LEFT JOIN guid_map m ON m.async_account = n.async_account
          LEFT JOIN customer k
                 ON k.company_id = n.company_id AND k.account_number = n.account_number
         WHERE m.customer_id IS NULL
            OR (m.company_id = n.company_id AND NOT {is_foreign}
                AND (k.id IS NULL OR m.customer_id = k.id))) found
 WHERE t.id = found.id AND found.customer_id IS NOT NULL
