-- Find the broken rules of lines or payments: insert one row for each rule that one of them breaks.
--
-- Run by rules.errors_of(). {errors}: the work table of the errors. {table}: the lines or the
-- payments. {rules}: code, field, is_broken, expected and found of each rule, for `row` of `sale`.
-- {any_broken}: that any rule is broken.
INSERT INTO {errors} (transaction_id, rule, field, line_number, expected, found)
SELECT sale.id, rule.code, rule.field, row.line_number, coalesce(rule.expected, ''),
       coalesce(rule.found, '')
  FROM retail_transaction sale
 -- OFFSET 0 makes PostgreSQL look up the rows sale by sale, even if its statistics expect few rows
 -- in the table. Otherwise a chunk would take longer the more sales there are.
 CROSS JOIN LATERAL (SELECT * FROM {table} WHERE transaction_id = sale.id OFFSET 0) row
 CROSS JOIN LATERAL (VALUES {rules}) rule (code, field, is_broken, expected, found)
 WHERE sale.id = ANY(%(sales)s) AND ({any_broken}) AND rule.is_broken
