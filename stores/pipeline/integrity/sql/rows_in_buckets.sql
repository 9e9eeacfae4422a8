-- The rows of a channel's table in some of the 256 buckets, each with the hash of its content.
--
-- Run by contents.write_rows(), in a PostgreSQL channel. {hashed_row}: a CTE of the rows with
-- hashes; see _hashed_rows.sql. {database}: HQ's id of the channel's database. {buckets}: the
-- numbers of the buckets.
WITH {hashed_row}
SELECT {database}, hashed_row.*
  FROM hashed_row
 WHERE get_byte(sha256(convert_to(key, 'UTF8')), 0) = ANY({buckets})
