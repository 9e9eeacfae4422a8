-- Close the marks of fields that are right by now, or were said anew by a later event.
--
-- Run by fields_to_correct.settle_fields(). {is_right}: by the field of `mark`, that the customer
-- has a right value in it. {is_later}: that `later` says it anew.
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
   AND ((marked.value = '' OR NOT marked.is_empty) AND marked.is_right
        OR EXISTS (SELECT FROM marked later
                    WHERE later.customer_id = marked.customer_id AND later.field = marked.field
                      AND later.id > marked.id)
        OR marked.value <> '' AND EXISTS (
           SELECT FROM guid_map guid
             JOIN staged_customer later
               ON later.async_account = guid.async_account AND later.is_by_guid
            WHERE guid.customer_id = marked.customer_id AND {is_later})
        OR marked.value <> '' AND EXISTS (
           SELECT FROM customer
             JOIN staged_customer later
               ON later.company_id = customer.company_id
              AND later.account_number = customer.account_number AND NOT later.is_by_guid
            WHERE customer.id = marked.customer_id AND {is_later}))
