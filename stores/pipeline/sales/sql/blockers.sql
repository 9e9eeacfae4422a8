-- The blockers of sales: one row for each sale that cannot become an order yet, with the reason.
--
-- Run by customers.blockers_of(). `what` says whether the customer or the address is the problem,
-- `waits` whether it may still arrive. A quarantined or failed row gives its own reason. An address
-- that was removed after the order still counts, because the order names it.
--
-- Of several reasons, the one with the lowest rank counts. Of several rows of that rank, the one
-- with the lowest tiebreak counts: the oldest quarantined row or event. Quarantined rows have no
-- company, so they are found by their GUID alone.
--
-- {is_foreign} is a condition: the channel of `sale` could not know `guid`.
SELECT sale.id, blocker.what, blocker.reason, blocker.field, blocker.waits
  FROM retail_transaction sale
 CROSS JOIN LATERAL (
   -- Every branch gives rank, tiebreak, what, reason, field and waits, in this order.
   --
   -- The GUID is of another company, or of a channel that has not shared it.
   SELECT 1 AS rank, 0 AS tiebreak, 'customer' AS what,
          CASE WHEN guid.company_id <> sale.company_id THEN 'company_mismatch'
               ELSE 'guid_conflict' END AS reason,
          'async_account' AS field, false AS waits
     FROM guid_map guid
    WHERE sale.customer_id IS NULL AND guid.async_account = sale.async_account
      AND (guid.company_id <> sale.company_id OR {is_foreign})
   UNION ALL
   -- GUID and account number identify different customers. HQ may have learned the GUID after the
   -- sale got the customer of its account number, so a sale with a customer is checked, too.
   SELECT 2, 0, 'customer', 'identity_mismatch', 'account_number', false
     FROM guid_map guid
     JOIN customer ON customer.company_id = guid.company_id
                  AND customer.account_number = sale.account_number
    WHERE guid.async_account = sale.async_account AND guid.company_id = sale.company_id
      AND guid.customer_id <> customer.id
   UNION ALL
   -- The customer is quarantined.
   SELECT 3, quarantine.id, 'customer', quarantine.reason, quarantine.field, false
     FROM quarantine
    WHERE sale.customer_id IS NULL AND quarantine.async_account = sale.async_account
      AND quarantine."table" = 'async_customer' AND quarantine.status = 'open'
   UNION ALL
   -- The conversion of the customer failed.
   SELECT 4, event.replication_counter, 'customer', event.reason, event.field, false
     FROM staged_customer event
    WHERE sale.customer_id IS NULL AND event.company_id = sale.company_id
      AND event.async_account = sale.async_account AND event.status = 'failed'
   UNION ALL
   -- The customer has not arrived yet.
   SELECT 5, 0, 'customer', 'customer_missing',
          CASE WHEN sale.async_account IS NULL THEN 'account_number' ELSE 'async_account' END, true
    WHERE sale.customer_id IS NULL
      AND (sale.async_account IS NOT NULL OR sale.account_number IS NOT NULL)
   UNION ALL
   -- The sale names no customer, and its channel has no default customer.
   SELECT 6, 0, 'customer', 'default_customer_missing', 'customer', true
    WHERE sale.customer_id IS NULL AND sale.async_account IS NULL AND sale.account_number IS NULL
   UNION ALL
   -- The address belongs to another customer.
   SELECT 7, 0, 'address', 'address_of_another', 'delivery_address_id', false
     FROM customer_address address
    WHERE address.address_id = sale.delivery_address_id AND address.customer_id <> sale.customer_id
   UNION ALL
   -- An address of the customer is quarantined. It may be this one: its id may be unreadable.
   SELECT 8, quarantine.id, 'address', quarantine.reason, quarantine.field, false
     FROM quarantine
    WHERE sale.delivery_address_id IS NOT NULL AND quarantine.async_account = sale.async_account
      AND quarantine."table" = 'async_address' AND quarantine.status = 'open'
      AND NOT EXISTS (SELECT FROM customer_address address
                       WHERE address.address_id = sale.delivery_address_id)
   UNION ALL
   -- Converting the address, or a change to it, failed: the order would go to the old address.
   SELECT 9, event.replication_counter, 'address', tried.reason, tried.field, false
     FROM open_event tried JOIN async_address event ON event.event_id = tried.event_id
    WHERE tried."table" = 'async_address' AND tried.status = 'failed'
      AND tried.company_id = sale.company_id AND event.address_id = sale.delivery_address_id
   UNION ALL
   -- The address has not arrived yet.
   SELECT 10, 0, 'address', 'address_missing', 'delivery_address_id', true
    WHERE sale.delivery_address_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM customer_address address
                       WHERE address.address_id = sale.delivery_address_id)
   ORDER BY rank, tiebreak LIMIT 1) blocker
 WHERE sale.id = ANY(%(sales)s)
