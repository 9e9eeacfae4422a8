-- The rows of a channel's table in some of the 256 buckets, by the hash of their key.
--
-- Run by contents.write_rows(), in a PostgreSQL channel. {database}: HQ's id of the channel's
-- database. {buckets}: the numbers of the buckets. {hashed_rows}: a query for the rows, each with
-- the hash of its content; see _hashed_rows.sql.
SELECT {database}, hashed.*
  FROM ({hashed_rows}) hashed
 WHERE get_byte(sha256(convert_to(hashed.key, 'UTF8')), 0) = ANY({buckets})
