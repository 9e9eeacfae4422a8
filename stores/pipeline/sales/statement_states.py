"""The actions of a statement: what is done when it reaches a state, in the same transaction.

STATE_ACTIONS at the end has one action for each state that a run reaches, in their order. Unique
keys keep an action from writing anything twice.
"""

from collections.abc import Callable

from django.db.models.functions import Now

from stores.failpoints import failpoint
from stores.hqdb.sql import fetch_one, fetch_value, prefer_hash_joins, reserve_numbers, run_sql
from stores.messages.message import EMPTY, Message, because
from stores.models import RunStep, Statement
from stores.models.run import StepFailed
from stores.models.statement import NOT_CALCULATED, NOT_POSTED, StatementState
from stores.pipeline.sales.statement_sales import add_ready_sales

CUSTOMER_NOT_ACTIVE = "customer_not_active"


class StatementRefused(StepFailed):
    """A statement cannot reach its next state. The reason says what a person has to do."""

    def __init__(self, reason: str, message: Message) -> None:
        super().__init__(message)
        self.reason = reason


def reach(step: RunStep, statement: Statement, state: StatementState) -> None:
    """Perform the action of a state and save the state, in the caller's transaction."""
    STATE_ACTIONS[state](step, statement)
    if state == StatementState.POSTED:
        reason = ""
    elif state == StatementState.MARKED:
        reason = NOT_CALCULATED
    else:
        reason = NOT_POSTED
    Statement.objects.filter(pk=statement.pk).update(state=state, reason=reason, message=EMPTY)


def mark_sales(step: RunStep, statement: Statement) -> None:
    """Take the ready sales and prepayments of the day into the statement."""
    step.add(updated=add_ready_sales(statement))
    failpoint("statements:before_marked")


def calculate(step: RunStep, statement: Statement) -> None:
    """Add up the sales by currency, and the payments by tender and currency."""
    values = {"statement": statement.pk}
    statement.totals.all().delete()
    statement.tenders.all().delete()
    run_sql(
        """INSERT INTO statement_total (statement_id, currency, transactions, net_amount,
                                        tax_amount, gross_amount, discount_amount)
           SELECT statement_id, currency, count(*), sum(net_amount), sum(tax_amount),
                  sum(gross_amount), sum(discount_amount)
             FROM retail_transaction WHERE statement_id = %(statement)s
            GROUP BY statement_id, currency""",
        values,
    )
    run_sql(
        """INSERT INTO statement_tender (statement_id, tender_type, currency, count, amount,
                                         prepaid_amount)
           SELECT document.statement_id, payment.tender_type, payment.currency, count(*),
                  sum(payment.amount),
                  coalesce(sum(payment.amount) FILTER (WHERE document.is_prepaid), 0)
             FROM statement_document document
             JOIN retail_transaction_payment payment ON payment.transaction_id = document.id
            WHERE document.statement_id = %(statement)s
            GROUP BY document.statement_id, payment.tender_type, payment.currency""",
        values,
    )
    Statement.objects.filter(pk=statement.pk).update(calculated_at=Now())
    failpoint("statements:before_calculated")


def check_totals(step: RunStep, statement: Statement) -> None:
    """Check that customers have accounts and totals match. Raise StatementRefused if not."""
    values = {"statement": statement.pk}
    without_account = fetch_value(
        """SELECT count(*)
             FROM statement_document document
             JOIN retail_transaction sale ON sale.id = document.id
            WHERE document.statement_id = %(statement)s AND sale.customer_id IS NULL
              AND (sale.async_account IS NOT NULL OR sale.account_number IS NOT NULL)""",
        values,
    )
    if without_account:
        raise StatementRefused(
            "customer_unknown", Message("sales_without_account", count=without_account)
        )
    differences = fetch_value(
        """SELECT count(*) FROM (
             SELECT currency, count(*), sum(net_amount), sum(tax_amount), sum(gross_amount)
               FROM retail_transaction WHERE statement_id = %(statement)s GROUP BY currency
             EXCEPT
             SELECT currency, transactions, net_amount, tax_amount, gross_amount
               FROM statement_total WHERE statement_id = %(statement)s) differing""",
        values,
    )
    if differences:
        raise StatementRefused("totals_differ", because("totals_differ"))
    refuse_closed_period(statement)
    failpoint("statements:before_checked")


def refuse_closed_period(statement: Statement) -> None:
    """Raise StatementRefused if the business date is in a closed period."""
    closed_until = statement.channel.company.closed_until
    if closed_until and statement.business_date <= closed_until:
        raise StatementRefused("period_closed", Message("period_closed"))


def aggregate(step: RunStep, statement: Statement) -> None:
    """Make one aggregate for each customer and currency.

    Sales without a customer become those of the channel's default customer. Raise StatementRefused
    if the channel has none.
    """
    default_customer = statement.channel.default_customer_id
    values = {"statement": statement.pk, "default": default_customer}
    anonymous_sales = fetch_value(
        """SELECT count(*) FROM statement_document
            WHERE statement_id = %(statement)s AND customer_id IS NULL""",
        values,
    )
    if anonymous_sales and default_customer is None:
        raise StatementRefused("default_customer_missing", Message("no_default_customer"))
    run_sql(
        """UPDATE retail_transaction SET customer_id = %(default)s
            WHERE id IN (SELECT id FROM statement_document
                          WHERE statement_id = %(statement)s AND customer_id IS NULL)""",
        values,
    )
    run_sql(
        """INSERT INTO statement_aggregate (statement_id, customer_id, currency, transactions,
                                            net_amount, tax_amount, gross_amount, discount_amount)
           SELECT statement_id, customer_id, currency, count(*), sum(net_amount), sum(tax_amount),
                  sum(gross_amount), sum(discount_amount)
             FROM retail_transaction WHERE statement_id = %(statement)s
            GROUP BY statement_id, customer_id, currency ORDER BY customer_id, currency""",
        values,
    )
    failpoint("statements:before_aggregated")


def check_customers(statement: Statement) -> tuple[int, int]:
    """Fail the aggregates of inactive customers. Return how many wait for an order, and failed."""
    values = {"statement": statement.pk, "reason": CUSTOMER_NOT_ACTIVE}
    run_sql(
        """UPDATE statement_aggregate aggregate
              SET state = CASE WHEN customer.state = 'active' THEN 'waiting' ELSE 'failed' END,
                  reason = CASE WHEN customer.state = 'active' THEN '' ELSE %(reason)s END
             FROM customer
            WHERE aggregate.statement_id = %(statement)s AND aggregate.sales_order_id IS NULL
              AND customer.id = aggregate.customer_id""",
        values,
    )
    waiting, failed = fetch_one(
        """SELECT count(*) FILTER (WHERE state = 'waiting'),
                  count(*) FILTER (WHERE state = 'failed')
             FROM statement_aggregate WHERE statement_id = %(statement)s""",
        values,
    )
    return int(waiting), int(failed)


def create_statement_orders(step: RunStep, statement: Statement) -> None:
    """Make one sales order of each aggregate. Raise StatementRefused if a customer is inactive."""
    values = {"statement": statement.pk, "run": str(step.run_id)}
    waiting, failed = check_customers(statement)
    if failed:
        raise StatementRefused(CUSTOMER_NOT_ACTIVE, Message("accounts_not_active", count=failed))
    first = reserve_numbers("order_sequence", "next_order", statement.company_id, waiting)
    with prefer_hash_joins():
        run_sql(
            """WITH new_order AS (
                 INSERT INTO sales_order (company_id, channel_id, number, statement_id, customer_id,
                        business_date, currency, net_amount, tax_amount, gross_amount,
                        discount_amount, run_id)
                 SELECT statement.company_id, statement.channel_id,
                        format_number(sequence.order_format,
                                     %(first)s - 1 + row_number() OVER (ORDER BY aggregate.id)),
                        statement.id, aggregate.customer_id, statement.business_date,
                        aggregate.currency, aggregate.net_amount, aggregate.tax_amount,
                        aggregate.gross_amount, aggregate.discount_amount, %(run)s
                   FROM statement_aggregate aggregate
                   JOIN statement ON statement.id = aggregate.statement_id
                   JOIN order_sequence sequence ON sequence.company_id = statement.company_id
                  WHERE aggregate.statement_id = %(statement)s AND aggregate.state = 'waiting'
                  ORDER BY aggregate.id
                 RETURNING id, customer_id, currency)
               UPDATE statement_aggregate aggregate
                  SET state = 'ordered', sales_order_id = new_order.id
                 FROM new_order
                WHERE aggregate.statement_id = %(statement)s
                  AND aggregate.customer_id = new_order.customer_id
                  AND aggregate.currency = new_order.currency""",
            values | {"first": first},
        )
        run_sql(
            """UPDATE retail_transaction sale SET sales_order_id = aggregate.sales_order_id
                 FROM statement_aggregate aggregate
                WHERE sale.statement_id = %(statement)s
                  AND aggregate.statement_id = sale.statement_id
                  AND aggregate.customer_id = sale.customer_id
                  AND aggregate.currency = sale.currency""",
            values,
        )
    failpoint("statements:before_orders_created")


def invoice(step: RunStep, statement: Statement) -> None:
    """Give each order an invoice number. Raise StatementRefused if the period is closed."""
    # A person may have closed the period since the statement was checked.
    refuse_closed_period(statement)
    orders = statement.sales_orders.filter(invoice_number=None).count()
    first = reserve_numbers("order_sequence", "next_invoice", statement.company_id, orders)
    run_sql(
        """UPDATE sales_order
              SET state = 'invoiced', invoiced_at = now(),
                  invoice_number = format_number(sequence.invoice_format,
                                                %(first)s - 1 + numbered.position)
             FROM (SELECT id, row_number() OVER (ORDER BY id) AS position FROM sales_order
                    WHERE statement_id = %(statement)s AND invoice_number IS NULL) numbered,
                  order_sequence sequence
            WHERE sales_order.id = numbered.id AND sequence.company_id = sales_order.company_id""",
        {"statement": statement.pk, "first": first},
    )
    failpoint("statements:before_invoiced")


def post_payments(step: RunStep, statement: Statement) -> None:
    """Post all kinds of payments. Raise StatementRefused if the period is closed."""
    refuse_closed_period(statement)
    values = {"statement": statement.pk}
    run_sql(INSERT_PAYMENTS, values)
    run_sql(INSERT_PREPAYMENTS, values)
    run_sql(INSERT_DIFFERENCES, values)
    failpoint("statements:before_payments_posted")


INSERT_PAYMENTS = """
    INSERT INTO posted_payment (statement_id, kind, customer_id, sales_order_id, tender_type,
                                currency, count, amount)
    SELECT sale.statement_id, 'payment', sale.customer_id, sale.sales_order_id,
           payment.tender_type, payment.currency, count(*), sum(payment.amount)
      FROM retail_transaction sale
      JOIN retail_transaction_payment payment ON payment.transaction_id = sale.id
     WHERE sale.statement_id = %(statement)s
     GROUP BY sale.statement_id, sale.customer_id, sale.sales_order_id, payment.tender_type,
              payment.currency
     ORDER BY sale.sales_order_id, payment.tender_type, payment.currency"""
INSERT_PREPAYMENTS = """
    INSERT INTO posted_payment (statement_id, kind, customer_id, transaction_id, tender_type,
                                currency, count, amount)
    SELECT document.prepayment_statement_id, 'prepayment', document.customer_id, document.id,
           payment.tender_type, payment.currency, count(*), sum(payment.amount)
      FROM retail_transaction document
      JOIN retail_transaction_payment payment ON payment.transaction_id = document.id
     WHERE document.prepayment_statement_id = %(statement)s
     GROUP BY document.prepayment_statement_id, document.customer_id, document.id,
              payment.tender_type, payment.currency
     ORDER BY document.id, payment.tender_type, payment.currency"""
# The differences between the totals of sales and their payments. With them, what is posted for an
# order adds up to its total.
INSERT_DIFFERENCES = """
    INSERT INTO posted_payment (statement_id, kind, customer_id, sales_order_id, tender_type,
                                currency, count, amount)
    SELECT sale.statement_id, difference.kind, sale.customer_id, sale.sales_order_id, '',
           sale.currency, count(*), sum(difference.amount)
      FROM retail_transaction sale
     CROSS JOIN LATERAL (
           SELECT sale.gross_amount - sale.payment_amount AS amount,
                  CASE WHEN abs(sale.gross_amount - sale.payment_amount) <= allowed.rounding
                       THEN 'rounding_difference' ELSE 'payment_difference' END AS kind
             FROM allowed_difference(sale.id) allowed) difference
     WHERE sale.statement_id = %(statement)s AND sale.gross_amount <> sale.payment_amount
     GROUP BY sale.statement_id, difference.kind, sale.customer_id, sale.sales_order_id,
              sale.currency
     ORDER BY sale.sales_order_id, difference.kind, sale.currency"""


def freeze(step: RunStep, statement: Statement) -> None:
    """Save a hash over all rows of the statement. Its sales are posted from then on."""
    run_sql(
        "UPDATE statement SET posted_at = now(), content_hash = statement_hash(id) WHERE id = %s",
        [statement.pk],
    )
    step.add(posted=statement.transactions.count() + statement.prepaid_orders.count())
    failpoint("statements:before_posted")


STATE_ACTIONS: dict[StatementState, Callable[[RunStep, Statement], None]] = {
    StatementState.MARKED: mark_sales,
    StatementState.CALCULATED: calculate,
    StatementState.CHECKED: check_totals,
    StatementState.AGGREGATED: aggregate,
    StatementState.ORDERS_CREATED: create_statement_orders,
    StatementState.INVOICED: invoice,
    StatementState.PAYMENTS_POSTED: post_payments,
    StatementState.POSTED: freeze,
}
