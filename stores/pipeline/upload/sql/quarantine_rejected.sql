-- Gather the incoming rows that cannot be used, each whole and with what is wrong with it.
--
-- As texts: no driver could read all values, dates beyond 9999 for one. What no column could hold
-- comes from the parameter. {row}: name and text of each column of row i.
INSERT INTO {to_quarantine}
SELECT i.replication_counter::text, i.event_id, i.async_account, i.account_number,
       b.reason, b.field, b.rule,
       convert_to((jsonb_build_object({row}) || coalesce(
           %(unread)s::jsonb -> replication_counter::text, '{{}}'))::text, 'UTF8')
  FROM {rejected} b JOIN {incoming} i USING (replication_counter)
