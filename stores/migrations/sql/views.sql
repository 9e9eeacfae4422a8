-- Views. Each has an unmanaged model, or is read by the pipeline alone.

-- What became of the rows that a channel sent on each day. Rows that have arrived since the last count are waiting.
CREATE VIEW day_balance AS
SELECT arrival.id, arrival.database_id, arrival."table", arrival.day, arrival.rows AS captured,
       coalesce(balance.converted, 0) AS converted, coalesce(balance.linked, 0) AS linked,
       coalesce(balance.posted, 0) AS posted, coalesce(balance.voided, 0) AS voided,
       coalesce(balance.waiting, 0) + arrival.rows - coalesce(balance.captured, 0) AS waiting,
       coalesce(balance.failed, 0) AS failed, coalesce(balance.quarantined, 0) AS quarantined,
       coalesce(balance.erased, 0) AS erased, balance.counted_at,
       coalesce(balance.captured - balance.converted - balance.linked - balance.posted - balance.voided
                - balance.waiting - balance.failed - balance.quarantined - balance.erased, 0) AS difference
  FROM arrival LEFT JOIN balance USING (database_id, "table", day);

-- The staged events that conversion is not done with: open ones, and those of batches that were not converted.
CREATE VIEW unfinished_event AS
SELECT open."table", open.event_id, batch.database_id
  FROM open_event open JOIN upload_batch batch ON batch.id = open.batch_id
 UNION ALL
SELECT 'async_customer', event.event_id, event.database_id
  FROM upload_batch batch JOIN async_customer event ON event.batch_id = batch.id
 WHERE batch.converted_at IS NULL AND event.erased_at IS NULL
   AND NOT EXISTS (SELECT FROM open_event o WHERE o."table" = 'async_customer' AND o.event_id = event.event_id)
   AND NOT EXISTS (SELECT FROM settled_event o WHERE o."table" = 'async_customer' AND o.event_id = event.event_id)
 UNION ALL
SELECT 'async_address', event.event_id, event.database_id
  FROM upload_batch batch JOIN async_address event ON event.batch_id = batch.id
 WHERE batch.converted_at IS NULL AND event.erased_at IS NULL
   AND NOT EXISTS (SELECT FROM open_event o WHERE o."table" = 'async_address' AND o.event_id = event.event_id)
   AND NOT EXISTS (SELECT FROM settled_event o WHERE o."table" = 'async_address' AND o.event_id = event.event_id)
 UNION ALL
SELECT 'async_contact', event.event_id, event.database_id
  FROM upload_batch batch JOIN async_contact event ON event.batch_id = batch.id
 WHERE batch.converted_at IS NULL AND event.erased_at IS NULL
   AND NOT EXISTS (SELECT FROM open_event o WHERE o."table" = 'async_contact' AND o.event_id = event.event_id)
   AND NOT EXISTS (SELECT FROM settled_event o WHERE o."table" = 'async_contact' AND o.event_id = event.event_id)
 UNION ALL
SELECT 'async_affiliation', event.event_id, event.database_id
  FROM upload_batch batch JOIN async_affiliation event ON event.batch_id = batch.id
 WHERE batch.converted_at IS NULL AND event.erased_at IS NULL
   AND NOT EXISTS (SELECT FROM open_event o WHERE o."table" = 'async_affiliation' AND o.event_id = event.event_id)
   AND NOT EXISTS (SELECT FROM settled_event o WHERE o."table" = 'async_affiliation' AND o.event_id = event.event_id)
 UNION ALL
SELECT 'async_attribute', event.event_id, event.database_id
  FROM upload_batch batch JOIN async_attribute event ON event.batch_id = batch.id
 WHERE batch.converted_at IS NULL AND event.erased_at IS NULL
   AND NOT EXISTS (SELECT FROM open_event o WHERE o."table" = 'async_attribute' AND o.event_id = event.event_id)
   AND NOT EXISTS (SELECT FROM settled_event o WHERE o."table" = 'async_attribute' AND o.event_id = event.event_id);

-- The addresses that conversion has not applied yet, as sales look for them.
CREATE VIEW pending_address AS
SELECT event.event_id, event.company_id, event.address_id
  FROM upload_batch batch JOIN staged_address event ON event.batch_id = batch.id
 WHERE batch.converted_at IS NULL AND event.status = 'pending'
 UNION
SELECT event.event_id, event.company_id, event.address_id
  FROM open_event open JOIN async_address event ON event.event_id = open.event_id
 WHERE open."table" = 'async_address' AND open.status = 'waiting';

-- The rows that a person has to deal with: quarantined rows, failed events, and events that have waited for more than
-- a day for a known reason.
CREATE VIEW quarantine_case AS
SELECT id::text AS id, database_id, "table", row_key, event_id, async_account, account_number,
       reason, field, rule, status, attempts, first_seen_at AS since
  FROM quarantine
 UNION ALL
SELECT open.event_id::text, coalesce(event.database_id, event.for_database_id), open."table",
       event.replication_counter::text, open.event_id, open.async_account, coalesce(open.account_number, ''),
       coalesce(open.reason, ''), coalesce(open.field, ''), '', open.status, open.attempts, event.staged_at
  FROM open_event open JOIN async_customer event ON event.event_id = open.event_id
 WHERE open."table" = 'async_customer'
   AND (open.status = 'failed'
        OR open.status = 'waiting' AND open.released_at IS NULL AND event.staged_at < now() - interval '24 hours')
 UNION ALL
SELECT open.event_id::text, coalesce(event.database_id, event.for_database_id), open."table",
       event.replication_counter::text, open.event_id, open.async_account, coalesce(open.account_number, ''),
       coalesce(open.reason, ''), coalesce(open.field, ''), '', open.status, open.attempts, event.staged_at
  FROM open_event open JOIN async_address event ON event.event_id = open.event_id
 WHERE open."table" = 'async_address'
   AND (open.status = 'failed'
        OR open.status = 'waiting' AND open.released_at IS NULL AND event.staged_at < now() - interval '24 hours')
 UNION ALL
SELECT open.event_id::text, coalesce(event.database_id, event.for_database_id), open."table",
       event.replication_counter::text, open.event_id, open.async_account, coalesce(open.account_number, ''),
       coalesce(open.reason, ''), coalesce(open.field, ''), '', open.status, open.attempts, event.staged_at
  FROM open_event open JOIN async_contact event ON event.event_id = open.event_id
 WHERE open."table" = 'async_contact'
   AND (open.status = 'failed'
        OR open.status = 'waiting' AND open.released_at IS NULL AND event.staged_at < now() - interval '24 hours')
 UNION ALL
SELECT open.event_id::text, coalesce(event.database_id, event.for_database_id), open."table",
       event.replication_counter::text, open.event_id, open.async_account, coalesce(open.account_number, ''),
       coalesce(open.reason, ''), coalesce(open.field, ''), '', open.status, open.attempts, event.staged_at
  FROM open_event open JOIN async_affiliation event ON event.event_id = open.event_id
 WHERE open."table" = 'async_affiliation'
   AND (open.status = 'failed'
        OR open.status = 'waiting' AND open.released_at IS NULL AND event.staged_at < now() - interval '24 hours')
 UNION ALL
SELECT open.event_id::text, coalesce(event.database_id, event.for_database_id), open."table",
       event.replication_counter::text, open.event_id, open.async_account, coalesce(open.account_number, ''),
       coalesce(open.reason, ''), coalesce(open.field, ''), '', open.status, open.attempts, event.staged_at
  FROM open_event open JOIN async_attribute event ON event.event_id = open.event_id
 WHERE open."table" = 'async_attribute'
   AND (open.status = 'failed'
        OR open.status = 'waiting' AND open.released_at IS NULL AND event.staged_at < now() - interval '24 hours');

-- The sales, returns and prepaid orders that no posted statement contains, and why. The amount of an order is what was
-- paid for it.
CREATE VIEW excluded_sale AS
SELECT sale.id AS transaction_id, sale.channel_id, sale.business_date, sale.currency, sale.amount AS gross_amount,
       CASE WHEN sale.entry_status <> 'concluded' THEN sale.entry_status::text
            WHEN sale.statement_id IS NOT NULL THEN 'statement_open'
            WHEN sale.validation_status = 'error' THEN coalesce(first_error.rule, '')::text
            WHEN is_being_corrected(sale.editing_until) THEN 'being_corrected'
            WHEN sale.validation_status = 'none' THEN 'not_validated'
            ELSE 'not_calculated' END AS reason,
       CASE WHEN sale.entry_status = 'concluded' AND sale.statement_id IS NULL
            THEN coalesce(first_error.field, '') ELSE '' END AS field
  FROM unposted_sale sale
  LEFT JOIN LATERAL (
       SELECT rule, field FROM transaction_error
        WHERE transaction_id = sale.id AND sale.validation_status = 'error'
        ORDER BY id LIMIT 1) first_error ON true;

-- The causes for which transactions cannot be posted or ordered, one row for each cause of a transaction: the rules
-- it breaks, and the reason for which its order failed if that is not one of these rules.
CREATE VIEW failed_sale AS
SELECT 'rule-' || error.id AS id, sale.id AS transaction_id, sale.channel_id, sale.business_date,
       error.rule AS reason, error.field,
       sale_part(error.line_number, error.field) AS part, error.line_number, error.expected, error.found
  FROM retail_transaction sale JOIN transaction_error error ON error.transaction_id = sale.id
 WHERE sale.sales_order_id IS NULL AND sale.statement_id IS NULL
 UNION ALL
SELECT 'order-' || sale.id AS id, sale.id AS transaction_id, sale.channel_id, sale.business_date,
       sale.order_reason AS reason, coalesce(sale.order_field, '') AS field, 'header' AS part,
       NULL AS line_number, '' AS expected, '' AS found
  FROM retail_transaction sale
 WHERE sale.order_status = 'failed' AND sale.order_reason IS NOT NULL
   AND sale.sales_order_id IS NULL AND sale.statement_id IS NULL
   AND NOT EXISTS (SELECT FROM transaction_error
                    WHERE transaction_id = sale.id AND rule = sale.order_reason);

-- The highest order and invoice number of each company.
CREATE VIEW issued_document AS
SELECT company_id AS company, 'order' AS series, next_order - 1 AS number, order_format AS format
  FROM order_sequence
 UNION ALL
SELECT company_id AS company, 'invoice' AS series, next_invoice - 1 AS number, invoice_format AS format
  FROM order_sequence;
