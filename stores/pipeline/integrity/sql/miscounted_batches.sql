-- Batches with other events than they count, and batches of events that are not there.
--
-- {staged}: the batch_id of every event that was staged.
WITH staged AS (SELECT batch_id AS id, count(*) AS n FROM ({staged}) r GROUP BY 1)
SELECT id AS batch, b.rows, s.n AS staged_rows
  FROM upload_batch b FULL JOIN staged s USING (id)
 WHERE b.rows IS DISTINCT FROM s.n
