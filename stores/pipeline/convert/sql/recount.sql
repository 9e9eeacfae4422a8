-- Count where the rows of one table are that the databases handed over, day by day.
--
-- Run by balance.count_table(). One statement, so that arrivals and rows are seen as of one moment.
-- Only days are counted on which something arrived since they were, or some rows were not settled;
-- of those a run has moved nothing on, only the ones that nobody has counted for five minutes:
-- people settle rows without a run.
--
-- {name}: the table, as a text. {held}: a query for the rows that arrived on `days`, or were
-- quarantined then: database_id, at, place, rows. {places}: the columns for where a row can be;
-- {sums}: of the rows there; {counted}: the same in `counts`; {replaced}: in the balance.
WITH open AS (
  SELECT arrival.database_id, arrival.day, arrival.rows,
         arrival.day::timestamp AT TIME ZONE 'UTC' AS since,
         (arrival.day + 1)::timestamp AT TIME ZONE 'UTC' AS until
    FROM arrival LEFT JOIN balance USING (database_id, "table", day)
   WHERE arrival."table" = {name} AND arrival.database_id = ANY(%(databases)s)
     AND (%(days)s::text[] IS NULL
          OR concat(arrival.database_id, ' ', arrival.day) = ANY(%(days)s::text[]))
     AND (balance.captured IS DISTINCT FROM arrival.rows
          OR (balance.waiting + balance.failed + balance.quarantined > 0
              AND (%(is_moved)s OR balance.counted_at < now() - interval '5 minutes')))),
days AS (SELECT DISTINCT since, until FROM open),
held AS ({held}),
counts AS (
  SELECT database_id, (at AT TIME ZONE 'UTC')::date AS day, {sums} FROM held GROUP BY 1, 2)
INSERT INTO balance (database_id, "table", day, captured, {places}, counted_at)
SELECT open.database_id, {name}, open.day, open.rows, {counted}, now()
  FROM open LEFT JOIN counts USING (database_id, day)
 ORDER BY open.database_id, open.day
    ON CONFLICT (database_id, "table", day) DO UPDATE SET
       captured = excluded.captured, {replaced}, counted_at = excluded.counted_at
