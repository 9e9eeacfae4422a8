-- Posted statements that have changed: their present hash is not the one saved when they were posted.
--
-- {content_hash}: the present hash of statement s.
SELECT s.id AS statement, s.business_date::text
  FROM statement s
 WHERE s.state = 'posted' AND s.content_hash IS DISTINCT FROM ({content_hash})
