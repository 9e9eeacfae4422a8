-- What is compared of `event`: who, when, whether its clock was wrong, and the fields as texts.
--
-- A part of record_conflicts. {history}: what was applied of the customers. {columns}: the fields.
event.event_id, event.customer_id, event.database_id, event.generation, event.replication_counter,
least(event.occurred_at, event.staged_at) AS at, database_place(event.database_id) AS place,
event.operation <> 'deactivate' AS is_active,
-- A time that has not come yet shows that a clock was wrong,
(event.occurred_at > event.staged_at + interval '15 minutes'
 -- or one before the account was there that the event names, or before the customer was,
 OR event.operation <> 'create' AND event.occurred_at < interval '-15 minutes' + (
    SELECT CASE WHEN event.account_number IS NOT NULL THEN customer.created_at
                ELSE coalesce(min(least(creation.occurred_at, creation.staged_at)),
                              customer.created_at) END
      FROM customer LEFT JOIN guid_map guid ON guid.customer_id = customer.id
      LEFT JOIN async_customer creation
           ON creation.async_account = guid.async_account AND creation.operation = 'create'
          AND creation.account_number IS NULL
     WHERE customer.id = event.customer_id GROUP BY customer.id)
 -- or before what the same database wrote earlier.
 OR EXISTS (
    SELECT FROM {history} earlier
     WHERE earlier.customer_id = event.customer_id AND earlier.database_id = event.database_id
       AND (earlier.generation, earlier.replication_counter)
         < (event.generation, event.replication_counter)
       AND least(earlier.occurred_at, earlier.staged_at)
         > event.occurred_at + interval '15 minutes')) AS is_skewed, {columns}
