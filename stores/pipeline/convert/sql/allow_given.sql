-- Allow the doubtful events whose channel HQ has given the GUID: they have no reason any more,
-- unless their account number is another customer's.
--
-- Run by known_customers.claimed_events(). {claimed}: the events, as claim_events.sql found them, with
-- the customers of their GUIDs. {event}: their staging table. {is_given}: that HQ has given `guid`
-- to the channel of `channel_database`.
UPDATE {claimed} claimed
   SET reason = (SELECT 'identity_mismatch' FROM customer
                  WHERE customer.company_id = claimed.company_id
                    AND customer.account_number = claimed.account_number
                    AND customer.id <> claimed.customer_id)
  FROM {event} event
  JOIN channel_database ON channel_database.id = event.database_id
  JOIN guid_map guid ON guid.async_account = event.async_account
 WHERE claimed.reason = 'guid_conflict' AND event.event_id = claimed.event_id AND {is_given}
