-- Runs whose counts differ from the number of rows that have the id of the run, unless of both some were removed.
--
-- For check I29. {word}: the count in the steps of a run. {carried}: a query for run_id and the
-- number of rows.
SELECT counted.id::text AS run, {word} AS word, counted.counted, rows_of_run.carried
  FROM (SELECT run.id, coalesce(sum((step.counts ->> {word})::bigint), 0) AS counted
          FROM job_run run JOIN run_step step ON step.run_id = run.id
         WHERE run.steps_removed_at IS NULL GROUP BY run.id) counted
  LEFT JOIN ({carried}) rows_of_run ON rows_of_run.run_id = counted.id
 WHERE counted.counted <> coalesce(rows_of_run.carried, 0)
