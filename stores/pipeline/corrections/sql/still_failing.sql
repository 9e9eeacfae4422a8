-- Find the corrected sales that still fail: one row for each.
--
-- Run by revalidate.still_failing(). A sale fails if it breaks the same rule as before, or now
-- breaks another one in a corrected field. A customer or an address with a pending event counts as
-- known, because the next run converts it. {errors}, {blockers}: the rules that the sales break
-- now, and what keeps them from becoming orders. {errors_before}: the rules that they broke before.
WITH pending AS (
  SELECT sale.id,
         EXISTS (SELECT FROM staged_customer event
                  WHERE event.company_id = sale.company_id AND event.status = 'pending'
                    AND event.async_account = sale.async_account
                    AND sale.account_number IS NULL) AS has_customer,
         EXISTS (SELECT FROM pending_address event
                  WHERE event.company_id = sale.company_id
                    AND event.address_id = sale.delivery_address_id) AS has_address
    FROM retail_transaction sale WHERE sale.id = ANY(%(sales)s))
-- Broken rules: the one of the cause, or a new one in a corrected field.
SELECT error.transaction_id AS id
  FROM {errors} error JOIN pending ON pending.id = error.transaction_id
 WHERE sale_part(error.line_number, error.field) = %(part)s
   AND ((error.rule, error.field) = (%(reason)s, %(field)s)
        OR (error.field = ANY(%(names)s)
            AND NOT EXISTS (
                SELECT FROM {errors_before} old
                 WHERE (old.transaction_id, old.rule, old.field)
                     = (error.transaction_id, error.rule, error.field)
                   AND old.line_number IS NOT DISTINCT FROM error.line_number)))
   AND NOT (error.rule = 'customer_unknown' AND pending.has_customer)
 UNION
-- Reasons that keep a customer order from becoming a sales order.
SELECT blocker.id
  FROM {blockers} blocker
  JOIN pending ON pending.id = blocker.id
  JOIN retail_transaction sale ON sale.id = blocker.id
 WHERE sale.transaction_type = 'customer_order'
   AND ((blocker.reason, blocker.field) = (%(reason)s, %(field)s)
        OR blocker.field = ANY(%(names)s))
   AND NOT (blocker.reason = 'customer_missing' AND pending.has_customer)
   AND NOT (blocker.reason = 'address_missing' AND pending.has_address)
 ORDER BY id
