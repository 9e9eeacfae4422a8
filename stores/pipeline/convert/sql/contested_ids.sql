-- Ids of addresses or contacts that several customers name in the events of a chunk.
--
-- Run by apply.contested_ids(). {events}: those of the chunk, of one kind. {key}: the id.
SELECT event.{key} FROM ({events}) event
 GROUP BY event.{key}
HAVING min(event.async_account::text) <> max(event.async_account::text)
    -- Some name a GUID and some only an account: it may be another customer's.
    OR count(event.async_account) BETWEEN 1 AND count(*) - 1
