-- Rows of a channel that are not as HQ has them, or that HQ never sent.
--
-- Active rows of a customer with nothing pending for the database, and that HQ does not have, are
-- extra; so are those of an account that HQ does not know. {hashed_rows}: HQ's rows.
WITH ours AS (
  SELECT ours.*, get_byte(sha256(convert_to(key, 'UTF8')), 0) AS bucket
    FROM ({hashed_rows}) ours),
compared AS (
  SELECT * FROM ours JOIN (SELECT bucket FROM {held_buckets}
                            WHERE database_id = %(database)s AND "table" = %(table)s) b
                    USING (bucket)),
theirs AS (
  SELECT * FROM {held_rows} WHERE database_id = %(database)s AND "table" = %(table)s)
SELECT coalesce(o.account_number, h.account_number), coalesce(o.part, h.part), k.id,
       o.key IS NULL, h.hq_version
  FROM compared o FULL JOIN theirs h ON h.key = o.key
  LEFT JOIN customer k ON k.company_id = coalesce(o.company, h.company)
                      AND k.account_number = coalesce(o.account_number, h.account_number)
 WHERE o.content IS DISTINCT FROM h.content
   AND (o.key IS NOT NULL
        OR h.is_active IS DISTINCT FROM false
           AND (k.id IS NULL OR EXISTS (SELECT FROM {sent} s WHERE s.customer_id = k.id)))
 ORDER BY 1, 2
