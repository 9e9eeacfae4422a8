-- Count where the rows of one table are that the databases handed over, day by day.
--
-- One statement, so that arrivals and rows are seen as of one moment. Only days are counted on
-- which something arrived since they were, or some rows were not settled; of those a run has moved
-- nothing on, only the ones that nobody has counted for a while.
--
-- {held}: the rows of table days, or set aside then: database_id, at, place, rows. {places}: where
-- a row can be, {sums} of the rows there, {counted} in what was found, {replaced} in the balance.
WITH open AS (
  SELECT a.database_id, a.day, a.rows, a.day::timestamp AT TIME ZONE 'UTC' AS since,
         (a.day + 1)::timestamp AT TIME ZONE 'UTC' AS until
    FROM arrival a LEFT JOIN balance b USING (database_id, "table", day)
   WHERE a."table" = {name} AND a.database_id IN ({databases})
     AND (%(days)s::text[] IS NULL OR {day} = ANY(%(days)s::text[]))
     AND (b.captured IS DISTINCT FROM a.rows
          OR (b.waiting + b.failed + b.quarantined > 0
              AND (%(is_moved)s OR b.counted_at < now() - {settling})))),
days AS (SELECT DISTINCT since, until FROM open),
held AS ({held}),
found AS (
  SELECT database_id, (at AT TIME ZONE 'UTC')::date AS day, {sums} FROM held GROUP BY 1, 2)
INSERT INTO balance (database_id, "table", day, captured, {places}, counted_at)
SELECT o.database_id, {name}, o.day, o.rows, {counted}, now()
  FROM open o LEFT JOIN found f USING (database_id, day)
 ORDER BY 1, 3
    ON CONFLICT (database_id, "table", day) DO UPDATE SET
       captured = excluded.captured, {replaced}, counted_at = excluded.counted_at
