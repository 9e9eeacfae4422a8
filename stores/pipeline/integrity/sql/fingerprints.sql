-- The fingerprints of a table: one row for each of the 256 buckets that has rows.
--
-- Run by contents.read_table(), in the channel and in HQ. A bucket has the rows of whose key the
-- hash begins with its number. {hashed_row}: a CTE of the rows with hashes; see _hashed_rows.sql.
WITH {hashed_row}
SELECT get_byte(sha256(convert_to(key, 'UTF8')), 0) AS bucket, count(*) AS rows,
       sum(('x' || left(content, 8))::bit(32)::bigint) AS hash
  FROM hashed_row
 GROUP BY bucket
