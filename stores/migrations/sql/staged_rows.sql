-- The rows that HQ has staged, of every table, with the batch and the upload session that brought them. A sale has no
-- batch; what was made or released at HQ has no session.
CREATE VIEW staged_row AS
SELECT 'async_customer' AS "table", event.database_id, event.batch_id, batch.session_id, event.staged_at
  FROM async_customer event LEFT JOIN upload_batch batch ON batch.id = event.batch_id
 UNION ALL
SELECT 'async_address' AS "table", event.database_id, event.batch_id, batch.session_id, event.staged_at
  FROM async_address event LEFT JOIN upload_batch batch ON batch.id = event.batch_id
 UNION ALL
SELECT 'async_contact' AS "table", event.database_id, event.batch_id, batch.session_id, event.staged_at
  FROM async_contact event LEFT JOIN upload_batch batch ON batch.id = event.batch_id
 UNION ALL
SELECT 'async_affiliation' AS "table", event.database_id, event.batch_id, batch.session_id, event.staged_at
  FROM async_affiliation event LEFT JOIN upload_batch batch ON batch.id = event.batch_id
 UNION ALL
SELECT 'async_attribute' AS "table", event.database_id, event.batch_id, batch.session_id, event.staged_at
  FROM async_attribute event LEFT JOIN upload_batch batch ON batch.id = event.batch_id
 UNION ALL
SELECT 'retail_transaction' AS "table", database_id, NULL AS batch_id, session_id, staged_at
  FROM retail_transaction;
