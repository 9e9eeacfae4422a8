-- Gather the incoming rows that cannot be used, each whole and with what is wrong with it.
--
-- Run by quarantine.quarantine_rejected(). {incoming}: the rows; {rejected}: what is wrong;
-- {to_quarantine}: the work table that gets them. {row}: name and text of each column of
-- `incoming`. As texts: no driver could read all values, dates beyond 9999 for one. What no column
-- could hold comes from the parameter `unread`.
INSERT INTO {to_quarantine}
SELECT incoming.replication_counter::text, incoming.event_id, incoming.async_account,
       incoming.account_number, rejected.reason, rejected.field, rejected.rule,
       convert_to((jsonb_build_object({row}) || coalesce(
           %(unread)s::jsonb -> replication_counter::text, '{{}}'))::text, 'UTF8')
  FROM {rejected} rejected JOIN {incoming} incoming USING (replication_counter)
