-- Allow the doubtful events whose channel HQ has given the GUID: they have no reason any more,
-- unless their account number identifies another customer.
--
-- Run by known_customers.claimed_events(). {claimed}: the events, as claim_events.sql found them.
-- {event}: their staging table. {is_given}: that HQ has given `guid` to the channel of
-- `channel_database`.
UPDATE {claimed} claimed SET reason = CASE WHEN claimed.names_two THEN 'identity_mismatch' END
  FROM {event} event
  JOIN channel_database ON channel_database.id = event.database_id
  JOIN guid_map guid ON guid.async_account = event.async_account
 WHERE claimed.reason = 'guid_conflict' AND event.event_id = claimed.event_id AND {is_given}
