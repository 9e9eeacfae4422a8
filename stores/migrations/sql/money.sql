-- Amounts of money: the places of a currency, and how exactly a sale must be paid.

-- The number of decimal places of a currency's smallest unit (ISO 4217). A code that is not listed has two.
CREATE FUNCTION currency_places(currency text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
    WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX',
                      'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
    WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
    WHEN currency IN ('CLF', 'UYW') THEN 4
    ELSE 2 END;

-- How much the payments of a sale may differ from its total: through rounding to the smallest coin, and by tolerance.
--
-- A tender's row of payment_rounding sets both; the row with an empty tender type is for all tenders without one. Of
-- several tenders, the largest difference counts. A tender with an amount of zero counts only if nothing was paid.
CREATE FUNCTION allowed_difference(sale bigint, OUT rounding numeric, OUT tolerance numeric)
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    WITH document AS (
      SELECT company_id, currency, payment_amount FROM retail_transaction WHERE id = sale),
    payment AS (
      SELECT lower(tender_type) AS tender_type, sum(amount) AS amount
        FROM retail_transaction_payment
       WHERE transaction_id = sale
         AND (amount <> 0 OR (SELECT payment_amount FROM document) = 0)
       GROUP BY lower(tender_type)),
    tender AS (
      SELECT tender_type, amount FROM payment
       UNION ALL
      -- A sale without payments is judged by the row for all other tenders.
      SELECT '', 0 WHERE NOT EXISTS (SELECT FROM payment)),
    rule AS (
      SELECT tender.amount, own.rounding_unit, own.tolerance
        FROM tender CROSS JOIN document
        LEFT JOIN LATERAL (
             SELECT rounding_unit, tolerance FROM payment_rounding
              WHERE company_id = document.company_id AND currency = document.currency
                AND lower(tender_type) IN (tender.tender_type, '')
              ORDER BY tender_type = ''  -- the tender's own row before the row for all others
              LIMIT 1) own ON true),
    company_rule AS (
      -- The company states its tolerance for a currency of two places; it is as many smallest units of any other.
      SELECT company.payment_tolerance * power(10::numeric, 2 - currency_places(document.currency)) AS tolerance
        FROM document JOIN company ON company.code = document.company_id)
    SELECT -- A sum of whole coins was rounded by half a coin at most; any other amount was not rounded.
           coalesce(max(rule.rounding_unit / 2) FILTER (
                    WHERE rule.rounding_unit > 0 AND mod(rule.amount, rule.rounding_unit) = 0), 0),
           coalesce(max(coalesce(rule.tolerance, company_rule.tolerance)), 0)
      FROM rule CROSS JOIN company_rule
$$;
