-- Uploads of which other rows are there than they counted, or that do not add up.
--
-- {staged}: the session_id of every row that was staged.
WITH staged AS (
  SELECT session_id AS id, count(*) AS n FROM ({staged}) r
   WHERE session_id IS NOT NULL GROUP BY 1),
aside AS (SELECT session_id AS id, count(*) AS n FROM quarantine GROUP BY 1)
SELECT id::text AS session, u.read, u.staged, s.n AS staged_rows, u.quarantined,
       q.n AS quarantined_rows
  FROM upload_session u FULL JOIN staged s USING (id) FULL JOIN aside q USING (id)
 WHERE u.id IS NULL
    OR u.read <> u.staged + u.unchanged + u.quarantined + u.waiting
    OR u.staged <> coalesce(s.n, 0) OR u.quarantined <> coalesce(q.n, 0)
