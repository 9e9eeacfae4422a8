-- The rows of a channel's table in some of the 256 buckets, by the hash of their key.
SELECT {database}, found.*
  FROM ({hashed_rows}) found
 WHERE get_byte(sha256(convert_to(found.key, 'UTF8')), 0) = ANY({buckets})
