-- Close the marks of fields that are right by now, or were said anew by a later event.
--
-- {is_right}: by the name of field f, that the customer has a right value in it.
WITH marked AS (
  SELECT f.id, f.customer_id, f.field, f.value, s.event_id, s.applied_at, k.is_right, k.is_empty,
         least(s.occurred_at, s.staged_at) AS at
    FROM field_to_correct f JOIN async_customer s USING (event_id)
   CROSS JOIN LATERAL (
         SELECT {is_right} AS is_right, birth_date IS NULL AS is_empty
           FROM customer WHERE id = f.customer_id) k
   WHERE f.settled_at IS NULL AND f.company_id = %(company)s
     AND f.customer_id = coalesce(%(customer)s, f.customer_id))
UPDATE field_to_correct f SET settled_at = now()
  FROM marked m
 WHERE m.id = f.id
   AND ((m.value = '' OR NOT m.is_empty) AND m.is_right
        OR EXISTS (SELECT FROM marked later
                    WHERE later.customer_id = m.customer_id AND later.field = m.field
                      AND later.id > m.id)
        OR m.value <> '' AND EXISTS (
           SELECT FROM async_customer later
            WHERE later.customer_id = m.customer_id AND later.status = 'applied'
              AND later.operation <> 'deactivate' AND later.event_id <> m.event_id
              AND later.applied_at >= m.applied_at
              AND least(later.occurred_at, later.staged_at) > m.at))
