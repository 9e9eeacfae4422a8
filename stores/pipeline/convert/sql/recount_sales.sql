-- Count where sales and orders are now, or their lines or payments, for each database and day on
-- which some arrived.
--
-- Run by balance.count_table(). {name}: the table of the sales, lines or payments, as a text.
-- {rows}: how many rows of it `sale` has; {quarantined_rows}: how many the document in `quarantine`
-- has.
WITH counted_day AS (
  SELECT * FROM days_to_count({name}, %(databases)s, %(is_moved)s, %(days)s::text[])),
period AS (SELECT DISTINCT since, until FROM counted_day),
arrived AS (
  SELECT sale.database_id, sale.staged_at AS at, {rows} AS rows, false AS is_quarantined,
         sale.sales_order_id, sale.entry_status, sale.validation_status, sale.order_status
    FROM period
    JOIN retail_transaction sale
      ON sale.staged_at >= period.since AND sale.staged_at < period.until
   -- Sales without a session were made by HQ, or were in quarantine first.
   WHERE sale.session_id IS NOT NULL
  UNION ALL
  -- A quarantined document and, once it is released, its sale.
  SELECT quarantine.database_id, quarantine.first_seen_at AS at,
         CASE WHEN sale.id IS NULL THEN {quarantined_rows} ELSE {rows} END AS rows,
         sale.id IS NULL AS is_quarantined,
         sale.sales_order_id, sale.entry_status, sale.validation_status, sale.order_status
    FROM quarantine
    LEFT JOIN retail_transaction sale
           ON quarantine.status = 'released' AND sale.event_id = quarantine.event_id
          AND sale.database_id = quarantine.database_id AND sale.session_id IS NULL
   WHERE quarantine."table" = 'retail_transaction'),
placed AS (
  SELECT database_id, (at AT TIME ZONE 'UTC')::date AS day, rows,
         CASE WHEN is_quarantined THEN 'quarantined'
              WHEN sales_order_id IS NOT NULL THEN 'posted'
              WHEN entry_status = 'voided' THEN 'voided'
              WHEN validation_status = 'error' OR order_status = 'failed' THEN 'failed'
              ELSE 'waiting' END AS place
    FROM arrived),
counts AS (
  SELECT database_id, day,
         sum(rows) FILTER (WHERE place = 'posted') AS posted,
         sum(rows) FILTER (WHERE place = 'voided') AS voided,
         sum(rows) FILTER (WHERE place = 'waiting') AS waiting,
         sum(rows) FILTER (WHERE place = 'failed') AS failed,
         sum(rows) FILTER (WHERE place = 'quarantined') AS quarantined
    FROM placed GROUP BY database_id, day)
INSERT INTO balance (database_id, "table", day, captured, posted, voided, waiting, failed,
                     quarantined, counted_at)
SELECT database_id, {name}, day, counted_day.rows, coalesce(posted, 0), coalesce(voided, 0),
       coalesce(waiting, 0), coalesce(failed, 0), coalesce(quarantined, 0), now()
  FROM counted_day LEFT JOIN counts USING (database_id, day)
 ORDER BY database_id, day
    ON CONFLICT (database_id, "table", day) DO UPDATE SET
       captured = excluded.captured, posted = excluded.posted, voided = excluded.voided,
       waiting = excluded.waiting, failed = excluded.failed, quarantined = excluded.quarantined,
       counted_at = excluded.counted_at
