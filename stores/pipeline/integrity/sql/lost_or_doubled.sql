-- Lost or doubled rows: one row for each channel, table and day (UTC) of which HQ holds another
-- number of rows than arrived, even if the balance has not seen it.
--
-- For check I11. Lines and payments arrive on the day of their sale.
WITH held_part AS (
  SELECT database_id, "table", staged_at AS at, 1 AS rows
    FROM staged_row WHERE session_id IS NOT NULL
   UNION ALL
  -- What tills sent to the real-time service has no session.
  SELECT database_id, 'async_customer' AS "table", staged_at AS at, 1 AS rows
    FROM async_customer WHERE origin = 'rts'
   UNION ALL
  SELECT sale.database_id, 'retail_transaction_line' AS "table", sale.staged_at AS at, 1 AS rows
    FROM retail_transaction_line line JOIN retail_transaction sale ON sale.id = line.transaction_id
   WHERE sale.session_id IS NOT NULL
   UNION ALL
  SELECT sale.database_id, 'retail_transaction_payment' AS "table", sale.staged_at AS at, 1 AS rows
    FROM retail_transaction_payment payment
    JOIN retail_transaction sale ON sale.id = payment.transaction_id
   WHERE sale.session_id IS NOT NULL
   UNION ALL
  SELECT database_id, "table", first_seen_at AS at, 1 AS rows
    FROM quarantine
   UNION ALL
  -- A quarantined sale contains its lines and payments.
  SELECT database_id, part AS "table", first_seen_at AS at, rows_aside(raw, part) AS rows
    FROM quarantine
   CROSS JOIN unnest(ARRAY['retail_transaction_line', 'retail_transaction_payment']) AS part
   WHERE "table" = 'retail_transaction'),
held AS (
  SELECT database_id, "table", (at AT TIME ZONE 'UTC')::date AS day, sum(rows) AS rows
    FROM held_part
   GROUP BY database_id, "table", day HAVING sum(rows) > 0)
SELECT concat_ws('/', channel.code, nullif(channel_database.name, '')) AS channel, "table",
       day::text, arrival.rows AS arrived, held.rows::bigint AS held
  FROM arrival FULL JOIN held USING (database_id, "table", day)
  LEFT JOIN channel_database
         ON channel_database.id = coalesce(arrival.database_id, held.database_id)
  LEFT JOIN channel ON channel.id = channel_database.channel_id
 WHERE arrival.rows IS DISTINCT FROM held.rows
