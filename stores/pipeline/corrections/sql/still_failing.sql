-- Those of corrected sales that break the rule all the same, or now another in these fields.
--
-- A customer or address that waits in staging counts as known: the next run brings it. {part}: in
-- which part of a document error f is. {before}: the errors that the sales had.
WITH coming AS (
  SELECT t.id, EXISTS (SELECT FROM async_customer s
                        WHERE s.company_id = t.company_id AND s.status = 'pending'
                          AND s.async_account = t.async_account
                          AND t.account_number IS NULL) AS customer,
         EXISTS (SELECT FROM async_address s
                  WHERE s.company_id = t.company_id AND s.status = 'pending'
                    AND s.address_id = t.delivery_address_id) AS address
    FROM retail_transaction t WHERE t.id = ANY(%(sales)s))
SELECT f.transaction_id FROM {errors} f JOIN coming ON coming.id = f.transaction_id
 WHERE ((f.rule, f.field, {part}) = (%(reason)s, %(field)s, %(part)s)
        OR ({part} = %(part)s AND f.field = ANY(%(names)s) AND NOT EXISTS (
            SELECT FROM {before} b
             WHERE (b.transaction_id, b.rule, b.field)
                 = (f.transaction_id, f.rule, f.field)
               AND b.line_number IS NOT DISTINCT FROM f.line_number)))
   AND NOT (f.rule = 'customer_unknown' AND coming.customer)
 UNION
SELECT m.id FROM {blockers} m JOIN coming USING (id) JOIN retail_transaction t USING (id)
 WHERE t.transaction_type = 'customer_order'
   AND ((m.reason, m.field) = (%(reason)s, %(field)s)
        OR m.field = ANY(%(names)s))
   AND NOT (m.reason = 'customer_missing' AND coming.customer)
   AND NOT (m.reason = 'address_missing' AND coming.address)
 ORDER BY 1
