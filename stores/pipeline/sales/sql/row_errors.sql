-- Find the rules about lines, or about payments, that the sales break.
--
-- {errors}: the work table that gets them. {table}: the lines or the payments. {rules}: code, field,
-- is_broken, expected and found of each rule, for row l of transaction t. {any_broken}: that any rule
-- is broken.
--
-- OFFSET 0 makes PostgreSQL look up the rows sale by sale, even if its statistics expect few rows in
-- the table. Otherwise a chunk would take longer the more sales there are.
INSERT INTO {errors}
SELECT t.id, rule.code, rule.field, l.line_number, coalesce(rule.expected, ''),
       coalesce(rule.found, '')
  FROM retail_transaction t
 CROSS JOIN LATERAL (SELECT * FROM {table} WHERE transaction_id = t.id OFFSET 0) l
 CROSS JOIN LATERAL (VALUES {rules}) rule (code, field, is_broken, expected, found)
 WHERE t.id = ANY(%(sales)s) AND ({any_broken}) AND rule.is_broken
