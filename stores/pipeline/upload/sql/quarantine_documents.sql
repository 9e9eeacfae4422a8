-- Gather the rejected documents, each with its lines and payments and with the reason.
--
-- Run by documents.quarantine_documents(). {headers}, {lines}, {payments}: the incoming rows;
-- {rejected}: the work table of rejected documents; {to_quarantine}: the work table to fill.
-- {header_row}: name and text of each column of `header`; {line_row} and {payment_row}: of `row`.
INSERT INTO {to_quarantine}
SELECT header.replication_counter::text, header.event_id, header.async_account,
       header.account_number, rejected.reason, rejected.field, rejected.rule,
       convert_to((jsonb_build_object({header_row}) || jsonb_build_object(
           'retail_transaction_line', (
               SELECT jsonb_agg(jsonb_build_object({line_row}) ORDER BY row.line_number)
                 FROM {lines} row WHERE row.transaction_id = header.transaction_id),
           'retail_transaction_payment', (
               SELECT jsonb_agg(jsonb_build_object({payment_row}) ORDER BY row.line_number)
                 FROM {payments} row WHERE row.transaction_id = header.transaction_id)))::text,
           'UTF8')
  FROM {rejected} rejected JOIN {headers} header USING (replication_counter)
