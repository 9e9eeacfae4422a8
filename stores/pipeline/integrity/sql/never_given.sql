-- Foreign GUIDs: one row for each event or sale with a GUID that its channel neither made nor got.
--
-- For check I6. {name}, {event}: the staging table, as a text and as a table. {is_of_guid}: that
-- `event` was applied to the customer of `guid`. {map}: the GUIDs that channels have. {is_given}:
-- that HQ has delivered the customer of `guid` to the channel of `home`.
SELECT event.event_id::text, {name} AS "table", event.async_account::text,
       'never given to its channel' AS what
  FROM {event} event
  JOIN channel_database home ON home.id = event.database_id
  JOIN guid_map guid ON guid.async_account = event.async_account
   AND guid.company_id = event.company_id AND {is_of_guid}
 WHERE guid.channel_id <> home.channel_id AND event.account_number IS NULL AND NOT {is_given}
   AND NOT EXISTS (SELECT FROM {map} held
                     JOIN channel_database other ON other.id = held.database_id
                    WHERE other.channel_id = home.channel_id
                      AND held.async_account = event.async_account)
