-- Rows that named a GUID of another channel which theirs was never given.
--
-- {is_given}: that HQ has given the customer of map m to the channel.
SELECT s.event_id::text, {name} AS "table", s.async_account::text,
       'never given to its channel' AS what
  FROM {event} s JOIN channel_database b ON b.id = s.database_id
  JOIN guid_map m ON m.async_account = s.async_account
   AND m.company_id = s.company_id AND m.customer_id = s.customer_id
 WHERE m.channel_id <> b.channel_id AND s.account_number IS NULL AND NOT {is_given}
   AND NOT EXISTS (SELECT FROM {map} v JOIN channel_database o ON o.id = v.database_id
                    WHERE o.channel_id = b.channel_id AND v.async_account = s.async_account)
