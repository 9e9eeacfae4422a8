-- Runs that counted more or fewer rows in their steps than carry their id.
--
-- {word}: what they counted; {carried}: how many rows carry a run_id.
SELECT counted.id::text AS run, {word} AS word, counted, carried
  FROM (SELECT r.id, coalesce(sum((s.counts ->> {word})::bigint), 0) AS counted
          FROM job_run r JOIN run_step s ON s.run_id = r.id GROUP BY r.id) counted
  LEFT JOIN ({carried}) carrying ON carrying.run_id = counted.id
 WHERE counted <> coalesce(carried, 0)
