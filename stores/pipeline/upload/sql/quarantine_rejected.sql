-- Gather the rejected rows, each with all its values and with the reason.
--
-- Run by quarantine.quarantine_rejected(). {incoming}: the rows; {rejected}: the work table of
-- rejected rows; {to_quarantine}: the work table to fill. {row}: name and text of each column of
-- `incoming`; texts, because Python cannot read every value, such as dates after 9999. Values that
-- no column of HQ can hold are in `unread`.
INSERT INTO {to_quarantine}
SELECT incoming.replication_counter::text, incoming.event_id, incoming.async_account,
       incoming.account_number, rejected.reason, rejected.field, rejected.rule,
       convert_to((jsonb_build_object({row}) || coalesce(
           %(unread)s::jsonb -> replication_counter::text, '{{}}'))::text, 'UTF8')
  FROM {rejected} rejected JOIN {incoming} incoming USING (replication_counter)
