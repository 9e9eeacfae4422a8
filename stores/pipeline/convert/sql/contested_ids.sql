-- Find the ids of addresses or contacts that several customers name in a chunk. One row is an id.
--
-- Run by apply.contested_ids(). {events}: the events of the chunk; {key}: their column of the id.
SELECT event.{key} FROM ({events}) event
 GROUP BY event.{key}
HAVING min(event.async_account::text) <> max(event.async_account::text)
    -- Some events have a GUID and some only an account, which may be of another customer.
    OR count(event.async_account) BETWEEN 1 AND count(*) - 1
