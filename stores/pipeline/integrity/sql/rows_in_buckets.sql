-- The rows of a channel's table in some of the 256 buckets, by the hash of their key.
SELECT {database}, hashed.*
  FROM ({hashed_rows}) hashed
 WHERE get_byte(sha256(convert_to(hashed.key, 'UTF8')), 0) = ANY({buckets})
