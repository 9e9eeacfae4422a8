-- Posted statements under which a row has changed since.
SELECT s.id AS statement, s.business_date::text FROM statement s
 WHERE s.state = 'posted' AND s.content_hash IS DISTINCT FROM ({content_hash})
