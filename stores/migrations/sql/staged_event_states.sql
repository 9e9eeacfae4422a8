-- The staged events of one kind, with their state. What an event is follows from its batch, unless a row of open_event
-- or settled_event says otherwise. Its customer is the one of the account number that it names, or else of its GUID; so
-- it stays, should HQ come to know the account number after the event was applied by its GUID.
CREATE VIEW staged_{kind} AS
SELECT event.*, batch.session_id,
       CASE WHEN event.erased_at IS NOT NULL THEN 'erased' WHEN open.status = 'failed' THEN 'failed'
            WHEN open.status = 'waiting' THEN 'pending' WHEN settled.outcome IS NOT NULL THEN settled.outcome
            WHEN batch.converted_at IS NULL THEN 'pending' ELSE 'applied' END::text AS status,
       coalesce(open.reason, settled.reason) AS reason, open.field, open.attempts,
       CASE WHEN open.status IS NULL THEN coalesce(settled.applied_at, batch.converted_at) END AS applied_at,
       CASE WHEN open.status IS NOT NULL THEN NULL WHEN settled.outcome IS NOT NULL THEN settled.run_id
            ELSE batch.run_id END AS applied_run_id,
       event.account_number IS NULL OR coalesce(settled.by_guid, false) AS is_by_guid,
       coalesce(CASE WHEN settled.by_guid IS NOT TRUE
                     THEN (SELECT id FROM customer
                            WHERE company_id = event.company_id AND account_number = event.account_number) END,
                (SELECT customer_id FROM guid_map WHERE async_account = event.async_account)) AS customer_id
  FROM async_{kind} event
  JOIN upload_batch batch ON batch.id = event.batch_id
  LEFT JOIN open_event open ON open."table" = 'async_{kind}' AND open.event_id = event.event_id
  LEFT JOIN settled_event settled ON settled."table" = 'async_{kind}' AND settled.event_id = event.event_id;
