-- Days of which other rows are there than arrived, also where the balance has not seen it.
--
-- For check I11. Lines and payments are counted with the sale that they came with. {held}: a query
-- for what was taken over of each table, as database_id, "table", at, rows.
WITH held AS (
  SELECT database_id, "table", (at AT TIME ZONE 'UTC')::date AS day, sum(rows) AS rows
    FROM ({held}
          UNION ALL
          SELECT database_id, "table", first_seen_at, 1 FROM quarantine) parts
   GROUP BY 1, 2, 3 HAVING sum(rows) > 0)
SELECT concat_ws('/', channel.code, nullif(channel_database.name, '')) AS channel, "table",
       day::text, arrival.rows AS arrived, held.rows::bigint AS held
  FROM arrival FULL JOIN held USING (database_id, "table", day)
  LEFT JOIN channel_database
         ON channel_database.id = coalesce(arrival.database_id, held.database_id)
  LEFT JOIN channel ON channel.id = channel_database.channel_id
 WHERE arrival.rows IS DISTINCT FROM held.rows
