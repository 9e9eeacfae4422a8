-- Rows with a GUID of another channel that their channel never received.
--
-- {name}, {event}: the staging table. {is_of_guid}: that a row was applied to the customer of GUID
-- m. {map}: the GUIDs that channels have. {is_given}: that HQ has delivered the customer of GUID m to
-- the channel of database b.
SELECT event.event_id::text, {name} AS "table", event.async_account::text,
       'never given to its channel' AS what
  FROM {event} event
  JOIN channel_database b ON b.id = event.database_id
  JOIN guid_map m ON m.async_account = event.async_account
   AND m.company_id = event.company_id AND {is_of_guid}
 WHERE m.channel_id <> b.channel_id AND event.account_number IS NULL AND NOT {is_given}
   AND NOT EXISTS (SELECT FROM {map} held
                     JOIN channel_database other ON other.id = held.database_id
                    WHERE other.channel_id = b.channel_id
                      AND held.async_account = event.async_account)
