-- Count the open sales that cannot be posted: one row for each channel, business date and reason.
--
-- Run by readiness.readiness(). Of several reasons of a sale, the one with the lowest rank counts,
-- as in validation and posting. A sale that has not been validated yet is not blocked for that
-- alone. A customer that HQ does not have is customer_missing until validation has found it
-- missing, and customer_unknown after that. A test compares the result with that of validation.
WITH sale AS (
  SELECT document.id, document.channel_id, document.business_date, document.company_id,
         document.async_account, document.account_number,
         document.async_account IS NULL AND document.account_number IS NULL AS is_anonymous,
         coalesce(document.customer_id, guid_map.customer_id, named.id) AS customer_id,
         document.customer_id IS NULL AND guid_map.customer_id <> named.id AS names_two_customers,
         channel.default_customer_id,
         CASE WHEN EXISTS (SELECT FROM transaction_error error
                            WHERE error.transaction_id = document.id
                              AND error.rule = 'customer_unknown')
              THEN 'customer_unknown' ELSE 'customer_missing' END AS missing_reason
    FROM open_document document
    JOIN channel ON channel.id = document.channel_id
    LEFT JOIN guid_map ON guid_map.async_account = document.async_account
                      AND guid_map.company_id = document.company_id
    LEFT JOIN customer named ON named.account_number = document.account_number
                            AND named.company_id = document.company_id)
SELECT sale.channel_id, sale.business_date, blocker.reason, blocker.field, count(*) AS sales
  FROM sale
 CROSS JOIN LATERAL (
   -- GUID and account number identify different customers.
   SELECT 'identity_mismatch' AS reason, 'account_number' AS field, 1 AS rank, 0 AS age
    WHERE sale.names_two_customers
   UNION ALL
   -- The customer is quarantined.
   SELECT quarantine.reason, quarantine.field, 2 AS rank, quarantine.id AS age
     FROM quarantine
    WHERE sale.customer_id IS NULL AND quarantine.async_account = sale.async_account
      AND quarantine."table" = 'async_customer' AND quarantine.status = 'open'
   UNION ALL
   -- The conversion of the customer failed.
   SELECT event.reason, event.field, 3 AS rank, event.replication_counter AS age
     FROM staged_customer event
    WHERE sale.customer_id IS NULL AND event.company_id = sale.company_id
      AND event.async_account = sale.async_account AND event.status = 'failed'
   UNION ALL
   -- HQ does not have the account number.
   SELECT sale.missing_reason AS reason, 'account_number' AS field, 4 AS rank, 0 AS age
    WHERE sale.customer_id IS NULL AND sale.account_number IS NOT NULL
   UNION ALL
   -- HQ does not have the GUID, and no event is pending that creates its customer.
   SELECT sale.missing_reason AS reason, 'async_account' AS field, 5 AS rank, 0 AS age
    WHERE sale.customer_id IS NULL AND sale.async_account IS NOT NULL
      AND NOT EXISTS (SELECT FROM staged_customer event
                       WHERE event.company_id = sale.company_id
                         AND event.async_account = sale.async_account
                         AND event.status = 'pending' AND event.account_number IS NULL)
   UNION ALL
   -- The customer, or the default customer of an anonymous sale, is erased or void.
   SELECT 'customer_not_active' AS reason, 'customer' AS field, 6 AS rank, 0 AS age
     FROM customer
    WHERE customer.state <> 'active'
      AND customer.id = CASE WHEN sale.customer_id IS NOT NULL THEN sale.customer_id
                             WHEN sale.is_anonymous THEN sale.default_customer_id END
   UNION ALL
   -- The sale is anonymous, and the channel has no default customer.
   SELECT 'default_customer_missing' AS reason, 'customer' AS field, 7 AS rank, 0 AS age
    WHERE sale.customer_id IS NULL AND sale.is_anonymous AND sale.default_customer_id IS NULL
   UNION ALL
   -- The sale breaks another rule.
   SELECT error.rule AS reason, error.field, 8 AS rank, error.id AS age
     FROM transaction_error error
    WHERE error.transaction_id = sale.id AND error.rule <> 'customer_unknown'
   ORDER BY rank, age LIMIT 1) blocker
 GROUP BY sale.channel_id, sale.business_date, blocker.reason, blocker.field
 ORDER BY sales DESC, blocker.reason, blocker.field
