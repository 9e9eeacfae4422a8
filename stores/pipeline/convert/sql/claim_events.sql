-- Find the customer that each event of a chunk names, except for events of its new customers.
--
-- Run by known_customers.claimed_events(). One row is an event. `reason` is NULL if the event can
-- be applied, or else says why not: HQ does not know its customer, or its channel may not name the
-- customer. `by_guid`: it names an account unknown to HQ, and goes to the customer of its GUID.
-- `names_two`: GUID and account number identify different customers.
-- `hq_version` is filled in later, when the customers get their next version.
--
-- {other_events}: the query of _other_events.sql. {is_doubtful}: that the channel of `event`, which
-- is that of `channel_database`, can know GUID `guid` only if HQ has given it to the channel.
-- Whether it has, allow_given.sql asks.
WITH other_event AS MATERIALIZED (
{other_events})
SELECT event.event_id, event.batch_id, event.company_id, event.async_account, event.account_number,
       0::bigint AS hq_version,
       coalesce(guid.customer_id, customer.id) AS customer_id,
       event.account_number IS NOT NULL AND customer.id IS NULL AS by_guid,
       coalesce(guid.customer_id <> customer.id, false) AS names_two,
       CASE WHEN guid.company_id <> event.company_id THEN 'company_mismatch'
            WHEN {is_doubtful} THEN 'guid_conflict'
            WHEN guid.customer_id <> customer.id THEN 'identity_mismatch'
            -- HQ knows the customer: the event can be applied.
            WHEN coalesce(guid.customer_id, customer.id) IS NOT NULL THEN NULL
            WHEN event.account_number IS NOT NULL THEN 'account_unknown'
            ELSE 'parent_missing' END AS reason
  FROM other_event event
  LEFT JOIN channel_database ON channel_database.id = event.database_id
  LEFT JOIN guid_map guid ON guid.async_account = event.async_account
  LEFT JOIN customer ON customer.company_id = %(company)s
                    AND customer.account_number = event.account_number
