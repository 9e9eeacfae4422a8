-- Batches with other events than they count, and batches of events that are not there.
--
-- For check I11. {staged}: the batch_id of every event that was staged.
WITH staged AS (
  SELECT batch_id AS id, count(*) AS rows FROM ({staged}) staged_rows GROUP BY batch_id)
SELECT id AS batch, batch.rows, staged.rows AS staged_rows
  FROM upload_batch batch FULL JOIN staged USING (id)
 WHERE batch.rows IS DISTINCT FROM staged.rows
