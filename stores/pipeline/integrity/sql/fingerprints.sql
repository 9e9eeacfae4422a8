-- 256 fingerprints of rows, by the hash of their key: how many, and the sum of their hashes.
SELECT get_byte(sha256(convert_to(key, 'UTF8')), 0), count(*),
       sum(('x' || left(content, 8))::bit(32)::bigint)
  FROM ({hashed_rows}) rows GROUP BY 1
