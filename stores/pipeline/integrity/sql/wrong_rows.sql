-- The wrong rows of a channel: one row for each that differs from HQ's, or that HQ never sent.
--
-- Run by contents.find_wrong_rows(). A row that only the channel has is wrong if it is active, and
-- if its customer has no pending delivery or no account at HQ. {hashed_row}: a CTE of the rows that
-- the channel should have, with hashes; see _hashed_rows.sql. {held_rows}: the channel's rows in
-- the buckets of {held_buckets}, where the fingerprints differ. {sent}: the customers without a
-- pending delivery.
WITH {hashed_row},
compared AS (
  SELECT hashed_row.*
    FROM hashed_row
    JOIN {held_buckets} bucket
      ON bucket.bucket = get_byte(sha256(convert_to(hashed_row.key, 'UTF8')), 0)
   WHERE bucket.database_id = %(database)s AND bucket."table" = %(table)s),
held AS (
  SELECT * FROM {held_rows} WHERE database_id = %(database)s AND "table" = %(table)s)
SELECT coalesce(compared.account_number, held.account_number) AS account_number,
       coalesce(compared.part, held.part) AS part, customer.id AS customer_id,
       compared.key IS NULL AS is_extra, held.hq_version
  FROM compared
  FULL JOIN held ON held.key = compared.key
  LEFT JOIN customer
         ON customer.company_id = coalesce(compared.company, held.company)
        AND customer.account_number = coalesce(compared.account_number, held.account_number)
 WHERE compared.content IS DISTINCT FROM held.content
   -- A pending delivery may still remove a row that only the channel has.
   AND (compared.key IS NOT NULL
        OR (held.is_active IS DISTINCT FROM false
            AND (customer.id IS NULL
                 OR EXISTS (SELECT FROM {sent} sent WHERE sent.customer_id = customer.id))))
 ORDER BY account_number, part
