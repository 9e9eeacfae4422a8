-- Uploads of which other rows are there than they counted, or that do not add up.
--
-- For check I11. {staged}: a query for the session_id of every row that was staged.
WITH staged AS (
  SELECT session_id AS id, count(*) AS rows FROM ({staged}) staged_rows
   WHERE session_id IS NOT NULL GROUP BY session_id),
aside AS (
  SELECT session_id AS id, count(*) AS rows FROM quarantine GROUP BY session_id)
SELECT id::text AS session, upload.read, upload.staged, staged.rows AS staged_rows,
       upload.quarantined, aside.rows AS quarantined_rows
  FROM upload_session upload FULL JOIN staged USING (id) FULL JOIN aside USING (id)
 WHERE upload.id IS NULL
    OR upload.read <> upload.staged + upload.unchanged + upload.quarantined + upload.waiting
    OR upload.staged <> coalesce(staged.rows, 0)
    OR upload.quarantined <> coalesce(aside.rows, 0)
