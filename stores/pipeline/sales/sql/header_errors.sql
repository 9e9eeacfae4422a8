-- Find the broken rules of headers: insert one row for each rule that a sale breaks.
--
-- Run by rules.errors_of(). {errors}: the work table of the errors. {rules}: code, field, is_broken,
-- expected and found of each rule, for `sale`, its `company`, and the sums of its `lines` and
-- `payments`. {any_broken}: that any rule is broken. Most sales break none, and are left out before
-- the rules are evaluated one by one.
INSERT INTO {errors} (transaction_id, rule, field, line_number, expected, found)
SELECT sale.id, rule.code, rule.field, NULL, coalesce(rule.expected, ''), coalesce(rule.found, '')
  FROM retail_transaction sale JOIN company ON company.code = sale.company_id
  LEFT JOIN LATERAL (
       SELECT count(*) AS count, count(*) FILTER (WHERE NOT line.is_voided) AS sold,
              max(line.quantity) FILTER (WHERE NOT line.is_voided) AS most,
              sum(line.net_amount) FILTER (WHERE NOT line.is_voided) AS net_amount,
              sum(line.tax_amount) FILTER (WHERE NOT line.is_voided) AS tax_amount,
              sum(line.discount_amount) FILTER (WHERE NOT line.is_voided) AS discount_amount
         FROM (SELECT coalesce(is_voided, false) AS is_voided, quantity, net_amount, tax_amount,
                      discount_amount
                 FROM retail_transaction_line WHERE transaction_id = sale.id) line) lines ON true
  LEFT JOIN LATERAL (
       SELECT sum(amount) AS amount, count(*) FILTER (WHERE amount <> 0) AS paid
         FROM retail_transaction_payment WHERE transaction_id = sale.id) payments ON true
 CROSS JOIN LATERAL (VALUES {rules}) rule (code, field, is_broken, expected, found)
 WHERE sale.id = ANY(%(sales)s) AND ({any_broken}) AND rule.is_broken
