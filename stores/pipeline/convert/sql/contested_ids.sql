-- Ids of addresses or contacts that several customers name in the events of a chunk.
--
-- {key}: the id.
SELECT s.{key} FROM ({events}) s
 GROUP BY s.{key}
HAVING min(s.async_account::text) <> max(s.async_account::text)
    OR count(s.async_account) BETWEEN 1 AND count(*) - 1
