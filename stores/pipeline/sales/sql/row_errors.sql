-- Every rule about lines or about payments that one of the sales breaks.
--
-- OFFSET 0 keeps them looked up sale by sale, however few rows the statistics expect in their
-- table: a chunk must not cost more the more sales there are. {rules}: code, field, whether it is
-- broken, what was expected and what was found, of row l of sale t. {any_broken}: that one is
-- broken.
INSERT INTO {errors}
SELECT t.id, rule.code, rule.field, l.line_number, coalesce(rule.expected, ''),
       coalesce(rule.found, '')
  FROM retail_transaction t
 CROSS JOIN LATERAL (SELECT * FROM {table}
                      WHERE transaction_id = t.id OFFSET 0) l
 CROSS JOIN LATERAL (VALUES {rules})
            rule (code, field, is_broken, expected, found)
 WHERE t.id = ANY(%(sales)s) AND ({any_broken}) AND rule.is_broken
