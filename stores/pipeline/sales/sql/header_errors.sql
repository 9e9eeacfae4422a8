-- Every rule about the header that one of the sales breaks, also against its lines and payments.
--
-- {rules}: code, field, whether it is broken, what was expected and what was found, of sale t, its
-- company c, its lines l and its payments p. {any_broken}: that one is broken; most sales break
-- none, and need not be told which.
INSERT INTO {errors}
SELECT t.id, rule.code, rule.field, NULL, coalesce(rule.expected, ''),
       coalesce(rule.found, '')
  FROM retail_transaction t JOIN company c ON c.code = t.company_id
  LEFT JOIN LATERAL (
       SELECT count(*) AS lines, count(*) FILTER (WHERE NOT v.is_voided) AS sold,
              max(v.quantity) FILTER (WHERE NOT v.is_voided) AS most,
              sum(v.net_amount) FILTER (WHERE NOT v.is_voided) AS net_amount,
              sum(v.tax_amount) FILTER (WHERE NOT v.is_voided) AS tax_amount,
              sum(v.discount_amount) FILTER (WHERE NOT v.is_voided) AS discount_amount
         FROM (SELECT coalesce(is_voided, false) AS is_voided, quantity, net_amount,
                      tax_amount, discount_amount
                 FROM retail_transaction_line WHERE transaction_id = t.id) v) l ON true
  LEFT JOIN LATERAL (SELECT sum(amount) AS amount,
                            count(*) FILTER (WHERE amount <> 0) AS paid
                       FROM retail_transaction_payment
                      WHERE transaction_id = t.id) p ON true
 CROSS JOIN LATERAL (VALUES {rules})
            rule (code, field, is_broken, expected, found)
 WHERE t.id = ANY(%(sales)s) AND ({any_broken}) AND rule.is_broken
