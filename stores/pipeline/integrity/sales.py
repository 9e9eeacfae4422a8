"""The promises about sales and orders, I21 to I27."""

from stores.hqdb.files import load
from stores.pipeline.integrity.checks import (
    Check,
    DatabaseRule,
    check_result,
    count_rows,
    missing_rules,
    offending_rows,
)
from stores.pipeline.integrity.evidence import Evidence
from stores.pipeline.sales.statement_hash import statement_hash

CHANGED_STATEMENTS = load(__file__, "changed_statements").format(
    content_hash=statement_hash("s.id")
)


def a_sale_is_kept_once(evidence: Evidence) -> Check:
    return check_result(
        "I21",
        "Every sale written at a till is kept exactly once, or is in quarantine.",
        count_rows("retail_transaction"),
        missing_rules(
            DatabaseRule("unique index", "retail_transaction", "a_transaction_is_kept_once"),
            DatabaseRule(
                "unique index", "retail_transaction", "a_number_of_a_store_is_one_transaction"
            ),
            DatabaseRule(
                "unique index", "retail_transaction", "a_storeless_transaction_is_kept_once"
            ),
            DatabaseRule("trigger", "retail_transaction", "a_transaction_is_never_deleted"),
        ),
        offending_rows(
            """SELECT channel_id, transaction_id, count(*) AS times FROM retail_transaction
                GROUP BY 1, 2 HAVING count(*) > 1"""
        ),
        offending_rows(
            """SELECT transaction_id, store_number, count(*) AS channels FROM retail_transaction
                WHERE NOT shares_number
                GROUP BY company_id, transaction_id, store_number,
                         CASE WHEN store_number IS NULL THEN content_hash END
               HAVING count(*) > 1"""
        ),
        offending_rows(
            """SELECT t.transaction_id, 'lines missing' AS what FROM retail_transaction t
                WHERE t.line_count > (SELECT count(*) FROM retail_transaction_line l
                                       WHERE l.transaction_id = t.id)"""
        ),
    )


def what_is_accepted_adds_up(evidence: Evidence) -> Check:
    return check_result(
        "I22",
        "Every accepted sale adds up exactly: lines, payments and total. A posted order equals its"
        " payments and the recorded differences.",
        count_rows("retail_transaction", "validation_status = 'successful'"),
        missing_rules(
            DatabaseRule("constraint", "retail_transaction", "amounts_are_numbers"),
            DatabaseRule("constraint", "retail_transaction_line", "line_amounts_are_numbers"),
            DatabaseRule("constraint", "retail_transaction_payment", "payment_amounts_are_numbers"),
        ),
        offending_rows(
            """SELECT t.transaction_id, t.gross_amount::text AS total, l.total::text AS lines,
                      p.amount::text AS payments
                 FROM retail_transaction t
                CROSS JOIN LATERAL (
                      SELECT coalesce(sum(net_amount + tax_amount), 0) AS total
                        FROM retail_transaction_line l
                       WHERE l.transaction_id = t.id AND NOT coalesce(is_voided, false)) l
                CROSS JOIN LATERAL (
                      SELECT coalesce(sum(amount), 0) AS amount
                        FROM retail_transaction_payment p WHERE p.transaction_id = t.id) p
                WHERE t.validation_status = 'successful'
                  AND (t.gross_amount <> l.total OR t.payment_amount <> p.amount)"""
        ),
        offending_rows(
            """SELECT t.transaction_id, t.transaction_type, t.gross_amount::text AS total,
                      t.payment_amount::text AS payments
                 FROM retail_transaction t
                WHERE t.validation_status = 'successful'
                  AND (t.transaction_type = 'return'
                       AND greatest(t.gross_amount, t.payment_amount) > 0
                       OR t.transaction_type = 'customer_order' AND (
                          t.gross_amount < 0 OR t.gross_amount > 0 AND t.payment_amount < 0))"""
        ),
        offending_rows(
            """SELECT o.number, o.gross_amount::text AS total, p.posted::text AS posted
                 FROM sales_order o
                 JOIN statement s ON s.id = o.statement_id AND s.state = 'posted'
                 LEFT JOIN (SELECT sales_order_id, sum(amount) AS posted FROM posted_payment
                             GROUP BY 1) p ON p.sales_order_id = o.id
                WHERE o.gross_amount <> coalesce(p.posted, 0)"""
        ),
    )


def no_sale_is_posted_under_a_temporary_identity(evidence: Evidence) -> Check:
    return check_result(
        "I23",
        "No sale, order or payment is posted under a temporary identity: each has an account.",
        count_rows("sales_order") + count_rows("posted_payment"),
        missing_rules(
            DatabaseRule("constraint", "retail_transaction", "what_is_ordered_has_an_account"),
            DatabaseRule("trigger", "retail_transaction", "channel_and_customer_share_the_company"),
            DatabaseRule("trigger", "sales_order", "channel_and_customer_share_the_company"),
        ),
        offending_rows(
            """SELECT t.transaction_id, 'posted without account' AS what FROM retail_transaction t
                 LEFT JOIN statement s ON s.id = coalesce(t.statement_id, t.prepayment_statement_id)
                WHERE t.customer_id IS NULL
                  AND (t.sales_order_id IS NOT NULL OR s.state = 'posted')"""
        ),
        offending_rows(
            """SELECT t.transaction_id, 'posted for another account' AS what
                 FROM retail_transaction t JOIN sales_order o ON o.id = t.sales_order_id
                WHERE o.customer_id <> t.customer_id"""
        ),
        offending_rows(
            """SELECT p.id AS payment, p.kind, 'posted for another account' AS what
                 FROM posted_payment p
                 LEFT JOIN sales_order o ON o.id = p.sales_order_id
                 LEFT JOIN retail_transaction t ON t.id = p.transaction_id
                WHERE p.customer_id IS DISTINCT FROM coalesce(o.customer_id, t.customer_id)"""
        ),
    )


def a_sale_is_posted_once(evidence: Evidence) -> Check:
    return check_result(
        "I24",
        "Every sale is in exactly one posted statement and one order, and every prepayment in"
        " exactly one posted statement, or it is listed as excluded with the reason.",
        count_rows("retail_transaction"),
        missing_rules(
            DatabaseRule("trigger", "retail_transaction", "settled_for_ever"),
            DatabaseRule("trigger", "retail_transaction", "a_posted_prepayment_is_kept"),
            DatabaseRule("unique index", "posted_payment", "a_prepayment_is_posted_once"),
            DatabaseRule("unique index", "posted_payment", "a_tender_is_posted_once_an_order"),
        ),
        offending_rows(
            """SELECT t.transaction_id, 'posted statement, no order' AS what
                 FROM retail_transaction t JOIN statement s ON s.id = t.statement_id
                WHERE s.state = 'posted' AND t.sales_order_id IS NULL"""
        ),
        offending_rows(
            """SELECT t.transaction_id, 'order of another statement' AS what
                 FROM retail_transaction t JOIN sales_order o ON o.id = t.sales_order_id
                WHERE o.statement_id IS DISTINCT FROM t.statement_id"""
        ),
        offending_rows(
            """SELECT t.transaction_id, CASE WHEN s.state = 'posted' THEN 'posted, and excluded'
                      ELSE 'not posted, and nothing says why' END AS what
                 FROM retail_transaction t
                 LEFT JOIN statement s ON s.id = coalesce(t.statement_id, t.prepayment_statement_id)
                 LEFT JOIN excluded_sale e ON e.transaction_id = t.id
                WHERE (t.transaction_type IN ('sale', 'return')
                       OR EXISTS (SELECT FROM retail_transaction_payment p
                                   WHERE p.transaction_id = t.id AND p.amount <> 0))
                  AND (s.state = 'posted') IS TRUE = (coalesce(e.reason, '') <> '')"""
        ),
        offending_rows(
            """SELECT t.transaction_id, 'prepayments in a posted statement, not posted' AS what
                 FROM retail_transaction t JOIN statement s ON s.id = t.prepayment_statement_id
                WHERE s.state = 'posted'
                  AND NOT EXISTS (SELECT FROM posted_payment p
                                   WHERE p.transaction_id = t.id AND p.statement_id = s.id)"""
        ),
        offending_rows(
            """SELECT t.transaction_id, 'prepayment posted by another statement' AS what
                 FROM posted_payment p JOIN retail_transaction t ON t.id = p.transaction_id
                WHERE p.statement_id IS DISTINCT FROM t.prepayment_statement_id"""
        ),
        offending_rows(
            """SELECT t.transaction_id, 'voided, and posted' AS what FROM retail_transaction t
                WHERE t.entry_status = 'voided'
                  AND (t.sales_order_id IS NOT NULL OR t.statement_id IS NOT NULL
                       OR t.prepayment_statement_id IS NOT NULL)"""
        ),
    )


def totals_are_those_of_the_sales(evidence: Evidence) -> Check:
    return check_result(
        "I25",
        "A statement posts exactly what was paid for its sales and orders, per tender and"
        " currency. With the exclusions, that is everything paid on the business date.",
        count_rows("statement", "state = 'posted'"),
        offending_rows(
            """SELECT s.id AS statement, x.tender_type, x.currency, sum(x.sold)::text AS sold,
                      sum(x.summed)::text AS summed, sum(x.posted)::text AS posted
                 FROM statement s
                 JOIN (SELECT coalesce(t.statement_id, t.prepayment_statement_id) AS statement_id,
                              p.tender_type, p.currency, p.amount AS sold, 0 AS summed,
                              0 AS posted, 0 AS prepaid, 0 AS as_prepaid
                         FROM retail_transaction t
                         JOIN retail_transaction_payment p ON p.transaction_id = t.id
                        WHERE t.statement_id IS NOT NULL OR t.prepayment_statement_id IS NOT NULL
                       UNION ALL
                       SELECT statement_id, tender_type, currency, 0, amount, 0, prepaid_amount, 0
                         FROM statement_tender
                       UNION ALL
                       SELECT statement_id, tender_type, currency, 0, 0, amount, 0,
                              CASE kind WHEN 'prepayment' THEN amount ELSE 0 END
                         FROM posted_payment WHERE kind IN ('payment', 'prepayment')) x
                   ON x.statement_id = s.id
                WHERE s.state = 'posted' GROUP BY 1, 2, 3
               HAVING sum(x.sold) <> sum(x.summed) OR sum(x.sold) <> sum(x.posted)
                   OR sum(x.prepaid) <> sum(x.as_prepaid)"""
        ),
        offending_rows(
            """SELECT s.id AS statement, x.currency, sum(x.sold)::text AS sold,
                      sum(x.summed)::text AS summed, sum(x.ordered)::text AS ordered
                 FROM statement s
                 JOIN (SELECT statement_id, currency, gross_amount AS sold, 0 AS summed,
                              0 AS ordered
                         FROM retail_transaction WHERE statement_id IS NOT NULL
                       UNION ALL
                       SELECT statement_id, currency, 0, gross_amount, 0 FROM statement_total
                       UNION ALL
                       SELECT statement_id, currency, 0, 0, gross_amount FROM sales_order
                        WHERE statement_id IS NOT NULL) x ON x.statement_id = s.id
                WHERE s.state = 'posted' GROUP BY 1, 2
               HAVING sum(x.sold) <> sum(x.summed) OR sum(x.sold) <> sum(x.ordered)"""
        ),
        offending_rows(
            """SELECT h.code AS channel, x.business_date::text, x.tender_type, x.currency,
                      sum(x.sold)::text AS sold, sum(x.posted)::text AS posted,
                      sum(x.excluded)::text AS excluded
                 FROM (SELECT t.channel_id, t.business_date, p.tender_type, p.currency,
                              p.amount AS sold, 0 AS posted, 0 AS excluded
                         FROM retail_transaction t
                         JOIN retail_transaction_payment p ON p.transaction_id = t.id
                       UNION ALL
                       SELECT s.channel_id, s.business_date, d.tender_type, d.currency, 0,
                              d.amount, 0
                         FROM statement_tender d JOIN statement s ON s.id = d.statement_id
                        WHERE s.state = 'posted'
                       UNION ALL
                       SELECT e.channel_id, e.business_date, p.tender_type, p.currency, 0, 0,
                              p.amount
                         FROM excluded_sale e
                         JOIN retail_transaction_payment p ON p.transaction_id = e.transaction_id
                        WHERE e.reason <> '') x
                 JOIN channel h ON h.id = x.channel_id
                GROUP BY 1, 2, 3, 4 HAVING sum(x.sold) <> sum(x.posted) + sum(x.excluded)"""
        ),
    )


def posted_is_frozen(evidence: Evidence) -> Check:
    return check_result(
        "I26",
        "A posted statement never changes: the hash of its rows is the one taken when it was"
        " posted.",
        count_rows("statement", "state = 'posted'"),
        missing_rules(
            DatabaseRule("trigger", "statement", "a_posted_statement_is_frozen"),
            DatabaseRule("trigger", "statement_tender", "frozen_once_posted"),
            DatabaseRule("trigger", "statement_total", "frozen_once_posted"),
            DatabaseRule("trigger", "statement_aggregate", "frozen_once_posted"),
            DatabaseRule("trigger", "retail_transaction", "frozen_once_settled"),
            DatabaseRule("trigger", "retail_transaction_line", "frozen_once_settled"),
            DatabaseRule("trigger", "retail_transaction_payment", "frozen_once_settled"),
            DatabaseRule("trigger", "posted_payment", "posted_payments_are_kept"),
            DatabaseRule("unique index", "statement", "one_statement_per_sequence"),
        ),
        offending_rows(CHANGED_STATEMENTS),
    )


def one_order_per_confirmation(evidence: Evidence) -> Check:
    return check_result(
        "I27",
        "Every customer order becomes at most one sales order, whose state only moves forward.",
        count_rows("sales_order", "confirmation_number IS NOT NULL"),
        missing_rules(
            DatabaseRule("unique index", "sales_order", "one_order_per_confirmation_number"),
            DatabaseRule("trigger", "sales_order", "a_sales_order_moves_forward"),
            DatabaseRule("trigger", "sales_order", "a_sales_order_is_never_deleted"),
        ),
        offending_rows(
            """SELECT o.number, count(t.id) AS documents FROM sales_order o
                 LEFT JOIN retail_transaction t ON t.sales_order_id = o.id
                WHERE o.confirmation_number IS NOT NULL
                GROUP BY o.id, o.number HAVING count(t.id) <> 1"""
        ),
    )


SALES_CHECKS = (
    a_sale_is_kept_once,
    what_is_accepted_adds_up,
    no_sale_is_posted_under_a_temporary_identity,
    a_sale_is_posted_once,
    totals_are_those_of_the_sales,
    posted_is_frozen,
    one_order_per_confirmation,
)
