"""Checks of sales and orders: each is kept once, adds up, and is posted once."""

from stores.messages.message import Message
from stores.pipeline.integrity.checks import Check, DatabaseRule, check_result, count_rows
from stores.pipeline.integrity.evidence import Evidence


def a_sale_is_kept_once(evidence: Evidence) -> Check:
    return check_result(
        "I21",
        Message("promise_I21"),
        count_rows("retail_transaction"),
        DatabaseRule("unique index", "retail_transaction", "a_transaction_is_kept_once"),
        DatabaseRule(
            "unique index", "retail_transaction", "a_number_of_a_store_is_one_transaction"
        ),
        DatabaseRule("unique index", "retail_transaction", "a_storeless_transaction_is_kept_once"),
        DatabaseRule("trigger", "retail_transaction", "a_transaction_is_never_deleted"),
        """SELECT channel_id, transaction_id, count(*) AS times FROM retail_transaction
            GROUP BY 1, 2 HAVING count(*) > 1""",
        """SELECT transaction_id, store_number, count(*) AS channels FROM retail_transaction
            WHERE NOT shares_number
            GROUP BY company_id, transaction_id, store_number,
                     CASE WHEN store_number IS NULL THEN content_hash END
           HAVING count(*) > 1""",
        """SELECT sale.transaction_id, 'lines missing' AS what
             FROM retail_transaction sale
            WHERE sale.line_count > (SELECT count(*) FROM retail_transaction_line line
                                      WHERE line.transaction_id = sale.id)""",
    )


def what_is_accepted_adds_up(evidence: Evidence) -> Check:
    return check_result(
        "I22",
        Message("promise_I22"),
        count_rows("retail_transaction", "validation_status = 'successful'"),
        DatabaseRule("constraint", "retail_transaction", "amounts_are_numbers"),
        DatabaseRule("constraint", "retail_transaction_line", "line_amounts_are_numbers"),
        DatabaseRule("constraint", "retail_transaction_payment", "payment_amounts_are_numbers"),
        """SELECT sale.transaction_id, sale.gross_amount::text AS total,
                  lines.total::text AS lines, payments.total::text AS payments
             FROM retail_transaction sale
            CROSS JOIN LATERAL (
                  SELECT coalesce(sum(net_amount + tax_amount), 0) AS total
                    FROM retail_transaction_line
                   WHERE transaction_id = sale.id AND NOT coalesce(is_voided, false)) lines
            CROSS JOIN LATERAL (
                  SELECT coalesce(sum(amount), 0) AS total
                    FROM retail_transaction_payment
                   WHERE transaction_id = sale.id) payments
            WHERE sale.validation_status = 'successful'
              AND (sale.gross_amount <> lines.total
                   OR sale.payment_amount <> payments.total)""",
        """SELECT sale.transaction_id, sale.transaction_type, sale.gross_amount::text AS total,
                  sale.payment_amount::text AS payments
             FROM retail_transaction sale
            WHERE sale.validation_status = 'successful'
              AND CASE sale.transaction_type
                  WHEN 'return' THEN greatest(sale.gross_amount, sale.payment_amount) > 0
                  WHEN 'customer_order' THEN
                       sale.gross_amount < 0
                       OR (sale.gross_amount > 0 AND sale.payment_amount < 0)
                  ELSE false END""",
        """SELECT sales_order.number, sales_order.gross_amount::text AS total,
                  payments.posted::text AS posted
             FROM sales_order
             JOIN statement ON statement.id = sales_order.statement_id
             LEFT JOIN (SELECT sales_order_id, sum(amount) AS posted
                          FROM posted_payment GROUP BY sales_order_id) payments
                    ON payments.sales_order_id = sales_order.id
            WHERE statement.state = 'posted'
              AND sales_order.gross_amount <> coalesce(payments.posted, 0)""",
    )


def no_sale_is_posted_under_a_temporary_identity(evidence: Evidence) -> Check:
    return check_result(
        "I23",
        Message("promise_I23"),
        count_rows("sales_order") + count_rows("posted_payment"),
        DatabaseRule("constraint", "retail_transaction", "what_is_ordered_has_an_account"),
        DatabaseRule("trigger", "retail_transaction", "channel_and_customer_share_the_company"),
        DatabaseRule("trigger", "sales_order", "channel_and_customer_share_the_company"),
        """SELECT sale.transaction_id, 'posted without account' AS what
             FROM retail_transaction sale
             LEFT JOIN statement
                    ON statement.id = coalesce(sale.statement_id, sale.prepayment_statement_id)
            WHERE sale.customer_id IS NULL
              AND (sale.sales_order_id IS NOT NULL OR statement.state = 'posted')""",
        """SELECT sale.transaction_id, 'posted for another account' AS what
             FROM retail_transaction sale
             JOIN sales_order ON sales_order.id = sale.sales_order_id
            WHERE sales_order.customer_id <> sale.customer_id""",
        """SELECT posted.id AS payment, posted.kind, 'posted for another account' AS what
             FROM posted_payment posted
             LEFT JOIN sales_order ON sales_order.id = posted.sales_order_id
             LEFT JOIN retail_transaction sale ON sale.id = posted.transaction_id
            WHERE posted.customer_id
                  IS DISTINCT FROM coalesce(sales_order.customer_id, sale.customer_id)""",
    )


def a_sale_is_posted_once(evidence: Evidence) -> Check:
    return check_result(
        "I24",
        Message("promise_I24"),
        count_rows("retail_transaction"),
        DatabaseRule("trigger", "retail_transaction", "settled_for_ever"),
        DatabaseRule("trigger", "retail_transaction", "a_posted_prepayment_is_kept"),
        DatabaseRule("unique index", "posted_payment", "a_prepayment_is_posted_once"),
        DatabaseRule("unique index", "posted_payment", "a_tender_is_posted_once_an_order"),
        """SELECT sale.transaction_id, 'posted statement, no order' AS what
             FROM retail_transaction sale JOIN statement ON statement.id = sale.statement_id
            WHERE statement.state = 'posted' AND sale.sales_order_id IS NULL""",
        """SELECT sale.transaction_id, 'order of another statement' AS what
             FROM retail_transaction sale
             JOIN sales_order ON sales_order.id = sale.sales_order_id
            WHERE sales_order.statement_id IS DISTINCT FROM sale.statement_id""",
        """SELECT sale.transaction_id,
                  CASE WHEN statement.state = 'posted' THEN 'posted, and excluded'
                       ELSE 'not posted, and nothing says why' END AS what
             FROM retail_transaction sale
             LEFT JOIN statement
                    ON statement.id = coalesce(sale.statement_id, sale.prepayment_statement_id)
             LEFT JOIN excluded_sale excluded ON excluded.transaction_id = sale.id
            WHERE (sale.transaction_type IN ('sale', 'return')
                   OR EXISTS (SELECT FROM retail_transaction_payment payment
                               WHERE payment.transaction_id = sale.id AND payment.amount <> 0))
              AND (statement.state = 'posted') IS TRUE
                  = (coalesce(excluded.reason, '') <> '')""",
        """SELECT sale.transaction_id, 'prepayments in a posted statement, not posted' AS what
             FROM retail_transaction sale
             JOIN statement ON statement.id = sale.prepayment_statement_id
            WHERE statement.state = 'posted'
              AND NOT EXISTS (SELECT FROM posted_payment posted
                               WHERE posted.transaction_id = sale.id
                                 AND posted.statement_id = statement.id)""",
        """SELECT sale.transaction_id, 'prepayment posted by another statement' AS what
             FROM posted_payment posted
             JOIN retail_transaction sale ON sale.id = posted.transaction_id
            WHERE posted.statement_id IS DISTINCT FROM sale.prepayment_statement_id""",
        """SELECT sale.transaction_id, 'voided, and posted' AS what FROM retail_transaction sale
            WHERE sale.entry_status = 'voided'
              AND (sale.sales_order_id IS NOT NULL OR sale.statement_id IS NOT NULL
                   OR sale.prepayment_statement_id IS NOT NULL)""",
    )


def totals_are_those_of_the_sales(evidence: Evidence) -> Check:
    return check_result(
        "I25",
        Message("promise_I25"),
        count_rows("statement", "state = 'posted'"),
        # What tills took for each statement, what the statement added up, and what it posted.
        """WITH amounts AS (
             SELECT coalesce(sale.statement_id, sale.prepayment_statement_id) AS statement_id,
                    payment.tender_type, payment.currency, payment.amount AS sold,
                    0 AS summed, 0 AS summed_prepaid, 0 AS posted, 0 AS posted_prepaid
               FROM retail_transaction sale
               JOIN retail_transaction_payment payment ON payment.transaction_id = sale.id
              WHERE sale.statement_id IS NOT NULL OR sale.prepayment_statement_id IS NOT NULL
              UNION ALL
             SELECT statement_id, tender_type, currency, 0 AS sold,
                    amount AS summed, prepaid_amount AS summed_prepaid,
                    0 AS posted, 0 AS posted_prepaid
               FROM statement_tender
              UNION ALL
             SELECT statement_id, tender_type, currency, 0 AS sold, 0 AS summed,
                    0 AS summed_prepaid, amount AS posted,
                    CASE kind WHEN 'prepayment' THEN amount ELSE 0 END AS posted_prepaid
               FROM posted_payment WHERE kind IN ('payment', 'prepayment'))
           SELECT statement.id AS statement, amounts.tender_type, amounts.currency,
                  sum(amounts.sold)::text AS sold, sum(amounts.summed)::text AS summed,
                  sum(amounts.posted)::text AS posted
             FROM statement JOIN amounts ON amounts.statement_id = statement.id
            WHERE statement.state = 'posted'
            GROUP BY statement.id, amounts.tender_type, amounts.currency
           HAVING sum(amounts.sold) <> sum(amounts.summed)
               OR sum(amounts.sold) <> sum(amounts.posted)
               OR sum(amounts.summed_prepaid) <> sum(amounts.posted_prepaid)""",
        # The totals of the sales of each statement, of the statement itself, and of its orders.
        """WITH totals AS (
             SELECT statement_id, currency, gross_amount AS sold, 0 AS summed, 0 AS ordered
               FROM retail_transaction WHERE statement_id IS NOT NULL
              UNION ALL
             SELECT statement_id, currency, 0 AS sold, gross_amount AS summed, 0 AS ordered
               FROM statement_total
              UNION ALL
             SELECT statement_id, currency, 0 AS sold, 0 AS summed, gross_amount AS ordered
               FROM sales_order WHERE statement_id IS NOT NULL)
           SELECT statement.id AS statement, totals.currency, sum(totals.sold)::text AS sold,
                  sum(totals.summed)::text AS summed, sum(totals.ordered)::text AS ordered
             FROM statement JOIN totals ON totals.statement_id = statement.id
            WHERE statement.state = 'posted'
            GROUP BY statement.id, totals.currency
           HAVING sum(totals.sold) <> sum(totals.summed)
               OR sum(totals.sold) <> sum(totals.ordered)""",
        # What tills took on each business date, what was posted of it, and what was excluded.
        """WITH amounts AS (
             SELECT sale.channel_id, sale.business_date, payment.tender_type, payment.currency,
                    payment.amount AS sold, 0 AS posted, 0 AS excluded
               FROM retail_transaction sale
               JOIN retail_transaction_payment payment ON payment.transaction_id = sale.id
              UNION ALL
             SELECT statement.channel_id, statement.business_date, tender.tender_type,
                    tender.currency, 0 AS sold, tender.amount AS posted, 0 AS excluded
               FROM statement_tender tender JOIN statement ON statement.id = tender.statement_id
              WHERE statement.state = 'posted'
              UNION ALL
             SELECT excluded.channel_id, excluded.business_date, payment.tender_type,
                    payment.currency, 0 AS sold, 0 AS posted, payment.amount AS excluded
               FROM excluded_sale excluded
               JOIN retail_transaction_payment payment USING (transaction_id)
              WHERE excluded.reason <> '')
           SELECT channel.code AS channel, amounts.business_date::text, amounts.tender_type,
                  amounts.currency, sum(amounts.sold)::text AS sold,
                  sum(amounts.posted)::text AS posted, sum(amounts.excluded)::text AS excluded
             FROM amounts JOIN channel ON channel.id = amounts.channel_id
            GROUP BY channel.code, amounts.business_date, amounts.tender_type, amounts.currency
           HAVING sum(amounts.sold) <> sum(amounts.posted) + sum(amounts.excluded)""",
    )


POSTED_TABLES = (
    "statement_tender",
    "statement_total",
    "statement_aggregate",
    "sales_order",
    "posted_payment",
)


def posted_is_frozen(evidence: Evidence) -> Check:
    return check_result(
        "I26",
        Message("promise_I26"),
        count_rows("statement", "state = 'posted'"),
        DatabaseRule("trigger", "statement", "a_posted_statement_is_frozen"),
        *(DatabaseRule("trigger", table, "frozen_once_posted") for table in POSTED_TABLES),
        DatabaseRule("trigger", "retail_transaction", "only_open_statements_take_sales"),
        DatabaseRule("trigger", "retail_transaction", "frozen_once_settled"),
        *(
            DatabaseRule("trigger", table, name)
            for table in ("retail_transaction_line", "retail_transaction_payment")
            for name in ("frozen_once_settled", "nothing_is_added_to_a_settled_transaction")
        ),
        DatabaseRule("trigger", "posted_payment", "posted_payments_are_kept"),
        DatabaseRule("unique index", "statement", "one_statement_per_sequence"),
        """SELECT id AS statement, business_date::text FROM statement
            WHERE state = 'posted' AND content_hash IS DISTINCT FROM statement_hash(id)""",
    )


def one_order_per_confirmation(evidence: Evidence) -> Check:
    return check_result(
        "I27",
        Message("promise_I27"),
        count_rows("sales_order", "confirmation_number IS NOT NULL"),
        DatabaseRule("unique index", "sales_order", "one_order_per_confirmation_number"),
        DatabaseRule("trigger", "sales_order", "a_sales_order_moves_forward"),
        DatabaseRule("trigger", "sales_order", "a_sales_order_keeps_its_values"),
        DatabaseRule("trigger", "sales_order", "a_sales_order_is_never_deleted"),
        """SELECT sales_order.number, count(sale.id) AS documents FROM sales_order
             LEFT JOIN retail_transaction sale ON sale.sales_order_id = sales_order.id
            WHERE sales_order.confirmation_number IS NOT NULL
            GROUP BY sales_order.id, sales_order.number HAVING count(sale.id) <> 1""",
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
