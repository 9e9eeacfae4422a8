-- Posted statements that have changed: their present hash is not the one saved when they were
-- posted.
--
-- For check I26. {content_hash}: a query for the present hash; see _statement_hash.sql.
SELECT statement.id AS statement, statement.business_date::text
  FROM statement
 WHERE statement.state = 'posted' AND statement.content_hash IS DISTINCT FROM ({content_hash})
