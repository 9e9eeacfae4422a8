-- The addresses that conversion has not applied yet, as sales look for them.
CREATE VIEW pending_address AS
SELECT event.event_id, event.company_id, event.address_id
  FROM upload_batch batch JOIN staged_address event ON event.batch_id = batch.id
 WHERE batch.converted_at IS NULL AND event.status = 'pending'
 UNION
SELECT event.event_id, event.company_id, event.address_id
  FROM open_event open JOIN async_address event ON event.event_id = open.event_id
 WHERE open."table" = 'async_address' AND open.status = 'waiting';
