-- Views, each behind an unmanaged model of the same name.

-- The balance of each day's arrivals: what became of the rows that a channel sent. What has arrived since the last
-- count waits.
CREATE VIEW day_balance AS
SELECT a.id, a.database_id, a."table", a.day, a.rows AS captured,
       coalesce(b.converted, 0) AS converted, coalesce(b.linked, 0) AS linked,
       coalesce(b.posted, 0) AS posted, coalesce(b.voided, 0) AS voided,
       coalesce(b.waiting, 0) + a.rows - coalesce(b.captured, 0) AS waiting,
       coalesce(b.failed, 0) AS failed, coalesce(b.quarantined, 0) AS quarantined,
       coalesce(b.erased, 0) AS erased, b.counted_at,
       coalesce(b.captured - b.converted - b.linked - b.posted - b.voided - b.waiting - b.failed
                - b.quarantined - b.erased, 0) AS difference
  FROM arrival a LEFT JOIN balance b USING (database_id, "table", day);

-- Everything that waits for a person: quarantined rows, failed events, and events that have waited for a day with a
-- reason. Nobody counts the attempts of events.
CREATE VIEW quarantine_case AS
SELECT id::text AS id, database_id, "table", row_key, event_id, async_account, account_number,
       reason, field, rule, status, attempts, first_seen_at AS since
  FROM quarantine
 UNION ALL
SELECT event_id::text, coalesce(database_id, for_database_id), 'async_customer',
       replication_counter::text, event_id, async_account, coalesce(account_number, ''),
       coalesce(reason, ''), coalesce(field, ''), '', 'failed', NULL::integer, staged_at
  FROM async_customer WHERE status = 'failed'
 UNION ALL
SELECT event_id::text, coalesce(database_id, for_database_id), 'async_customer',
       replication_counter::text, event_id, async_account, coalesce(account_number, ''),
       coalesce(reason, ''), coalesce(field, ''), '', 'waiting', NULL, staged_at
  FROM async_customer
 WHERE status = 'pending' AND reason IS NOT NULL AND staged_at < now() - interval '24 hours'
 UNION ALL
SELECT event_id::text, coalesce(database_id, for_database_id), 'async_address',
       replication_counter::text, event_id, async_account, coalesce(account_number, ''),
       coalesce(reason, ''), coalesce(field, ''), '', 'failed', NULL::integer, staged_at
  FROM async_address WHERE status = 'failed'
 UNION ALL
SELECT event_id::text, coalesce(database_id, for_database_id), 'async_address',
       replication_counter::text, event_id, async_account, coalesce(account_number, ''),
       coalesce(reason, ''), coalesce(field, ''), '', 'waiting', NULL, staged_at
  FROM async_address
 WHERE status = 'pending' AND reason IS NOT NULL AND staged_at < now() - interval '24 hours'
 UNION ALL
SELECT event_id::text, coalesce(database_id, for_database_id), 'async_contact',
       replication_counter::text, event_id, async_account, coalesce(account_number, ''),
       coalesce(reason, ''), coalesce(field, ''), '', 'failed', NULL::integer, staged_at
  FROM async_contact WHERE status = 'failed'
 UNION ALL
SELECT event_id::text, coalesce(database_id, for_database_id), 'async_contact',
       replication_counter::text, event_id, async_account, coalesce(account_number, ''),
       coalesce(reason, ''), coalesce(field, ''), '', 'waiting', NULL, staged_at
  FROM async_contact
 WHERE status = 'pending' AND reason IS NOT NULL AND staged_at < now() - interval '24 hours'
 UNION ALL
SELECT event_id::text, coalesce(database_id, for_database_id), 'async_affiliation',
       replication_counter::text, event_id, async_account, coalesce(account_number, ''),
       coalesce(reason, ''), coalesce(field, ''), '', 'failed', NULL::integer, staged_at
  FROM async_affiliation WHERE status = 'failed'
 UNION ALL
SELECT event_id::text, coalesce(database_id, for_database_id), 'async_affiliation',
       replication_counter::text, event_id, async_account, coalesce(account_number, ''),
       coalesce(reason, ''), coalesce(field, ''), '', 'waiting', NULL, staged_at
  FROM async_affiliation
 WHERE status = 'pending' AND reason IS NOT NULL AND staged_at < now() - interval '24 hours'
 UNION ALL
SELECT event_id::text, coalesce(database_id, for_database_id), 'async_attribute',
       replication_counter::text, event_id, async_account, coalesce(account_number, ''),
       coalesce(reason, ''), coalesce(field, ''), '', 'failed', NULL::integer, staged_at
  FROM async_attribute WHERE status = 'failed'
 UNION ALL
SELECT event_id::text, coalesce(database_id, for_database_id), 'async_attribute',
       replication_counter::text, event_id, async_account, coalesce(account_number, ''),
       coalesce(reason, ''), coalesce(field, ''), '', 'waiting', NULL, staged_at
  FROM async_attribute
 WHERE status = 'pending' AND reason IS NOT NULL AND staged_at < now() - interval '24 hours';

-- Every sale, return and prepaid order that no posted statement holds, and why. An order counts with what was paid.
CREATE VIEW excluded_sale AS
SELECT t.id AS transaction_id, t.channel_id, t.business_date, t.currency,
       CASE t.transaction_type WHEN 'customer_order' THEN t.payment_amount
            ELSE t.gross_amount END AS gross_amount,
       CASE WHEN t.entry_status <> 'concluded' THEN t.entry_status::text
            WHEN s.id IS NOT NULL THEN 'statement_open'
            WHEN t.validation_status = 'error' THEN coalesce(broken.rule, '')::text
            -- A correction that ends later was begun by a clock that has been set back since: it is over.
            WHEN t.editing_until BETWEEN now() AND now() + interval '30 minutes' THEN 'being_corrected'
            WHEN t.validation_status = 'none' THEN 'not_validated'
            ELSE 'not_calculated' END AS reason,
       CASE WHEN t.entry_status = 'concluded' AND s.id IS NULL
            THEN coalesce(broken.field, '') ELSE '' END AS field
  FROM retail_transaction t
  LEFT JOIN statement s ON s.id = coalesce(t.statement_id, t.prepayment_statement_id)
  LEFT JOIN LATERAL (
       SELECT e.rule, e.field FROM transaction_error e
        WHERE t.validation_status = 'error' AND e.transaction_id = t.id
        ORDER BY e.id LIMIT 1) broken ON true
 WHERE s.state IS DISTINCT FROM 'posted'
   AND (t.transaction_type IN ('sale', 'return')
        OR EXISTS (SELECT FROM retail_transaction_payment p WHERE p.transaction_id = t.id));

-- What stands in the way of transactions, one row a cause, so that all of one cause can be corrected at once: the
-- rules they break, and why their order failed unless a rule says so already.
CREATE VIEW failed_sale AS
SELECT 'rule-' || e.id AS id, t.id AS transaction_id, t.channel_id, t.business_date,
       e.rule AS reason, e.field,
       CASE WHEN e.line_number IS NULL THEN 'header'
            WHEN e.field IN ('tender_type', 'amount', 'currency') THEN 'payment'
            ELSE 'line' END AS part,
       e.line_number, e.expected, e.found
  FROM retail_transaction t JOIN transaction_error e ON e.transaction_id = t.id
 WHERE t.sales_order_id IS NULL AND t.statement_id IS NULL
 UNION ALL
SELECT 'order-' || t.id, t.id, t.channel_id, t.business_date, t.order_reason,
       coalesce(t.order_field, ''), 'header', NULL, '', ''
  FROM retail_transaction t
 WHERE t.order_status = 'failed' AND t.order_reason IS NOT NULL
   AND t.sales_order_id IS NULL AND t.statement_id IS NULL
   AND NOT EXISTS (SELECT FROM transaction_error e
                    WHERE e.transaction_id = t.id AND e.rule = t.order_reason);

-- The last number of each company's orders and invoices, one row a series.
CREATE VIEW issued_document AS
SELECT company_id AS company, 'order' AS series, next_order - 1 AS number, order_format AS format
  FROM order_sequence
 UNION ALL
SELECT company_id, 'invoice', next_invoice - 1, invoice_format FROM order_sequence;
