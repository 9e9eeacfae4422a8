-- Assign each sale the customer that HQ has under its GUID or its account number.
--
-- Run by customers.assign_customers(). HQ's GUID counts if it is of the sale's company, if the
-- channel could know it, and if the sale names no other customer by its account number. If HQ does
-- not have the GUID, the account number decides.
--
-- {is_foreign}: that the channel of the sale could not know `guid`.
-- Selected first, because the statistics do not know yet how many sales have no customer.
WITH sale AS MATERIALIZED (
  SELECT id, company_id, channel_id, database_id, staged_at, async_account, account_number
    FROM retail_transaction
   WHERE id = ANY(%(sales)s) AND customer_id IS NULL
     AND (async_account IS NOT NULL OR account_number IS NOT NULL))
UPDATE retail_transaction SET customer_id = assigned.customer_id
  FROM (SELECT sale.id, coalesce(guid.customer_id, customer.id) AS customer_id
          FROM sale
          LEFT JOIN guid_map guid ON guid.async_account = sale.async_account
          LEFT JOIN customer ON customer.company_id = sale.company_id
                            AND customer.account_number = sale.account_number
         WHERE guid.customer_id IS NULL
            OR (guid.company_id = sale.company_id AND NOT {is_foreign}
                AND (customer.id IS NULL OR customer.id = guid.customer_id))) assigned
 WHERE retail_transaction.id = assigned.id AND assigned.customer_id IS NOT NULL
