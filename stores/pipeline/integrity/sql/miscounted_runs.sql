-- Miscounted runs: one row for each run of which a count differs from the number of its rows.
--
-- For check I29. Runs whose steps were removed have no counts any more. {word}: the count, by its
-- name in the steps. {carried}: a query for run_id and `carried`, the number of rows of each run.
WITH counted AS (
  SELECT run.id, coalesce(sum((step.counts ->> {word})::bigint), 0) AS counted
    FROM job_run run JOIN run_step step ON step.run_id = run.id
   WHERE run.steps_removed_at IS NULL
     -- 1070 and 1110 distribute settings, which are no rows of HQ.
     AND step.step NOT IN ('1070', '1110')
   GROUP BY run.id),
carried AS ({carried})
SELECT counted.id::text AS run, {word} AS word, counted.counted, carried.carried
  FROM counted LEFT JOIN carried ON carried.run_id = counted.id
 WHERE counted.counted <> coalesce(carried.carried, 0)
