-- The fingerprints of the rows of a table, in 256 buckets by the hash of the key.
--
-- Run by contents.read_table(), in the channel and in HQ. A fingerprint is the number of rows in
-- the bucket and the sum of their hashes. {hashed_rows}: a query for the rows, each with its key
-- and the hash of its content; see _hashed_rows.sql.
SELECT get_byte(sha256(convert_to(key, 'UTF8')), 0) AS bucket, count(*) AS rows,
       sum(('x' || left(content, 8))::bit(32)::bigint) AS hash
  FROM ({hashed_rows}) hashed
 GROUP BY bucket
