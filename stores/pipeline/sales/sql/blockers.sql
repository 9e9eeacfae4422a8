-- The blockers of sales: one row for each sale that cannot become an order, with the first reason.
--
-- Run by customers.blockers_of(). `what` says whether the customer or the address is the problem,
-- `waits` whether it may still arrive. A quarantined or failed row gives its own reason. An address
-- that was removed after the order still counts, because the order names it. Of several reasons,
-- the one with the lowest rank counts, and of several rows of that rank, the oldest.
--
-- {is_foreign}: that the channel of `sale` could not know `guid`.
SELECT sale.id, blocker.what, blocker.reason, blocker.field, blocker.waits
  FROM retail_transaction sale
 CROSS JOIN LATERAL (
   -- The GUID is of another company, or of a channel that has not shared it.
   SELECT 'customer' AS what,
          CASE WHEN guid.company_id <> sale.company_id THEN 'company_mismatch'
               ELSE 'guid_conflict' END AS reason,
          'async_account' AS field, false AS waits, 1 AS rank, 0 AS age
     FROM guid_map guid
    WHERE sale.customer_id IS NULL AND guid.async_account = sale.async_account
      AND (guid.company_id <> sale.company_id OR {is_foreign})
   UNION ALL
   -- GUID and account number identify different customers.
   SELECT 'customer' AS what, 'identity_mismatch' AS reason, 'account_number' AS field,
          false AS waits, 2 AS rank, 0 AS age
     FROM guid_map guid
     JOIN customer ON customer.company_id = guid.company_id
                  AND customer.account_number = sale.account_number
    WHERE guid.async_account = sale.async_account AND guid.company_id = sale.company_id
      AND guid.customer_id <> customer.id
   UNION ALL
   -- The customer is quarantined.
   SELECT 'customer' AS what, quarantine.reason, quarantine.field, false AS waits, 3 AS rank,
          quarantine.id AS age
     FROM quarantine
    WHERE sale.customer_id IS NULL AND quarantine.async_account = sale.async_account
      AND quarantine."table" = 'async_customer' AND quarantine.status = 'open'
   UNION ALL
   -- The conversion of the customer failed.
   SELECT 'customer' AS what, event.reason, event.field, false AS waits, 4 AS rank,
          event.replication_counter AS age
     FROM staged_customer event
    WHERE sale.customer_id IS NULL AND event.company_id = sale.company_id
      AND event.async_account = sale.async_account AND event.status = 'failed'
   UNION ALL
   -- The customer has not arrived yet.
   SELECT 'customer' AS what, 'customer_missing' AS reason,
          CASE WHEN sale.async_account IS NULL THEN 'account_number'
               ELSE 'async_account' END AS field,
          true AS waits, 5 AS rank, 0 AS age
    WHERE sale.customer_id IS NULL
      AND (sale.async_account IS NOT NULL OR sale.account_number IS NOT NULL)
   UNION ALL
   -- The sale is without a customer, and so is its channel.
   SELECT 'customer' AS what, 'default_customer_missing' AS reason, 'customer' AS field,
          true AS waits, 6 AS rank, 0 AS age
    WHERE sale.customer_id IS NULL AND sale.async_account IS NULL AND sale.account_number IS NULL
   UNION ALL
   -- The address belongs to another customer.
   SELECT 'address' AS what, 'address_of_another' AS reason, 'delivery_address_id' AS field,
          false AS waits, 7 AS rank, 0 AS age
     FROM customer_address address
    WHERE address.address_id = sale.delivery_address_id AND address.customer_id <> sale.customer_id
   UNION ALL
   -- An address of the customer is quarantined. It may be this one: its id may be unreadable.
   SELECT 'address' AS what, quarantine.reason, quarantine.field, false AS waits, 8 AS rank,
          quarantine.id AS age
     FROM quarantine
    WHERE sale.delivery_address_id IS NOT NULL AND quarantine.async_account = sale.async_account
      AND quarantine."table" = 'async_address' AND quarantine.status = 'open'
      AND NOT EXISTS (SELECT FROM customer_address address
                       WHERE address.address_id = sale.delivery_address_id)
   UNION ALL
   -- The conversion of the address failed, or of a change: the order would go to the old address.
   SELECT 'address' AS what, open.reason, open.field, false AS waits, 9 AS rank,
          event.replication_counter AS age
     FROM open_event open JOIN async_address event ON event.event_id = open.event_id
    WHERE open."table" = 'async_address' AND open.status = 'failed'
      AND open.company_id = sale.company_id AND event.address_id = sale.delivery_address_id
   UNION ALL
   -- The address has not arrived yet.
   SELECT 'address' AS what, 'address_missing' AS reason, 'delivery_address_id' AS field,
          true AS waits, 10 AS rank, 0 AS age
    WHERE sale.delivery_address_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM customer_address address
                       WHERE address.address_id = sale.delivery_address_id)
   ORDER BY rank, age LIMIT 1) blocker
 WHERE sale.id = ANY(%(sales)s)
