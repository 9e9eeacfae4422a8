-- Days of which other rows are there than arrived, also where the balance has not seen it.
--
-- Lines and payments are counted with the sale that they came with. {held}: what was taken over of
-- each table, as database_id, "table", at, rows.
WITH held AS (
  SELECT database_id, "table", (at AT TIME ZONE 'UTC')::date AS day, sum(rows) AS n
    FROM ({held}
          UNION ALL
          SELECT database_id, "table", first_seen_at, 1 FROM quarantine) r
   GROUP BY 1, 2, 3 HAVING sum(rows) > 0)
SELECT concat_ws('/', h.code, nullif(b.name, '')) AS channel, "table", day::text,
       a.rows AS arrived, held.n::bigint AS held
  FROM arrival a FULL JOIN held USING (database_id, "table", day)
  LEFT JOIN channel_database b ON b.id = coalesce(a.database_id, held.database_id)
  LEFT JOIN channel h ON h.id = b.channel_id
 WHERE a.rows IS DISTINCT FROM held.n
