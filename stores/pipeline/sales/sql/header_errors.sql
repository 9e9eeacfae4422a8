-- Find the rules about the header that the sales break, also in relation to lines and payments.
--
-- {errors}: the work table that gets them. {rules}: code, field, is_broken, expected and found of
-- each rule, for transaction t, its company c, and the sums of its lines l and payments p.
-- {any_broken}: that any rule is broken. Most sales break none, and are left out before the rules are
-- looked at one by one.
INSERT INTO {errors}
SELECT t.id, rule.code, rule.field, NULL, coalesce(rule.expected, ''), coalesce(rule.found, '')
  FROM retail_transaction t JOIN company c ON c.code = t.company_id
  LEFT JOIN LATERAL (
       SELECT count(*) AS lines, count(*) FILTER (WHERE NOT line.is_voided) AS sold,
              max(line.quantity) FILTER (WHERE NOT line.is_voided) AS most,
              sum(line.net_amount) FILTER (WHERE NOT line.is_voided) AS net_amount,
              sum(line.tax_amount) FILTER (WHERE NOT line.is_voided) AS tax_amount,
              sum(line.discount_amount) FILTER (WHERE NOT line.is_voided) AS discount_amount
         FROM (SELECT coalesce(is_voided, false) AS is_voided, quantity, net_amount, tax_amount,
                      discount_amount
                 FROM retail_transaction_line WHERE transaction_id = t.id) line) l ON true
  LEFT JOIN LATERAL (
       SELECT sum(amount) AS amount, count(*) FILTER (WHERE amount <> 0) AS paid
         FROM retail_transaction_payment WHERE transaction_id = t.id) p ON true
 CROSS JOIN LATERAL (VALUES {rules}) rule (code, field, is_broken, expected, found)
 WHERE t.id = ANY(%(sales)s) AND ({any_broken}) AND rule.is_broken
