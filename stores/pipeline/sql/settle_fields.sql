-- Settle the marks of fields that are right by now, or that a later event states again.
--
-- Run by fields_to_correct.settle_fields(). {is_right}: by the field of `mark`, that the customer
-- has a right value in it.
WITH marked AS (
  SELECT mark.id, mark.customer_id, mark.field, mark.value, event.event_id, event.applied_at,
         present.is_right, present.is_empty, least(event.occurred_at, event.staged_at) AS at
    FROM field_to_correct mark JOIN staged_customer event USING (event_id)
   CROSS JOIN LATERAL (
         SELECT {is_right} AS is_right, birth_date IS NULL AS is_empty
           FROM customer WHERE id = mark.customer_id) present
   WHERE mark.settled_at IS NULL AND mark.company_id = %(company)s
     AND mark.customer_id = coalesce(%(customer)s, mark.customer_id))
UPDATE field_to_correct mark SET settled_at = now()
  FROM marked
 WHERE marked.id = mark.id
   AND (
     -- The customer has a right value. One that staging could not hold must have been replaced.
     (marked.is_right AND (marked.value = '' OR NOT marked.is_empty))
     -- A later event has been marked for the same field.
     OR EXISTS (SELECT FROM marked later
                 WHERE later.customer_id = marked.customer_id AND later.field = marked.field
                   AND later.id > marked.id)
     -- A later event has replaced a value that staging could not hold. It names the customer by
     -- GUID or by account number; each branch uses its own index.
     OR (marked.value <> '' AND EXISTS (
         SELECT FROM (
           SELECT event.event_id, event.status, event.operation, event.applied_at,
                  event.occurred_at, event.staged_at
             FROM guid_map guid
             JOIN staged_customer event
               ON event.async_account = guid.async_account AND event.is_by_guid
            WHERE guid.customer_id = marked.customer_id
            UNION ALL
           SELECT event.event_id, event.status, event.operation, event.applied_at,
                  event.occurred_at, event.staged_at
             FROM customer
             JOIN staged_customer event
               ON event.company_id = customer.company_id
              AND event.account_number = customer.account_number AND NOT event.is_by_guid
            WHERE customer.id = marked.customer_id) later
          WHERE later.status = 'applied' AND later.operation <> 'deactivate'
            AND later.event_id <> marked.event_id AND later.applied_at >= marked.applied_at
            AND least(later.occurred_at, later.staged_at) > marked.at)))
