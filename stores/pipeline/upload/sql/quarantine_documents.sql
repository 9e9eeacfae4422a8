-- Gather the documents that cannot be used, each whole and with what is wrong with it.
--
-- {row}: name and text of each column of header i; {line} and {payment}: of row p.
INSERT INTO {to_quarantine}
SELECT i.replication_counter::text, i.event_id, i.async_account, i.account_number,
       b.reason, b.field, b.rule,
       convert_to((jsonb_build_object({row}) || jsonb_build_object(
           'retail_transaction_line', (
               SELECT jsonb_agg(jsonb_build_object({line}) ORDER BY p.line_number)
                 FROM {lines} p WHERE p.transaction_id = i.transaction_id),
           'retail_transaction_payment', (
               SELECT jsonb_agg(jsonb_build_object({payment}) ORDER BY p.line_number)
                 FROM {payments} p WHERE p.transaction_id = i.transaction_id)))::text, 'UTF8')
  FROM {rejected} b JOIN {headers} i USING (replication_counter)
