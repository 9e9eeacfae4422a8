"""The rules of HQ's database about sales, orders and statements, each with what breaks it."""

from datetime import date
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import User
from django.utils import timezone

from stores.messages.message import Message
from stores.models import (
    Channel,
    ChannelDatabase,
    Customer,
    OrderSequence,
    PostedPayment,
    RetailTransaction,
    RetailTransactionLine,
    RetailTransactionPayment,
    SalesOrder,
    Statement,
    StatementAggregate,
    StatementEvent,
    StatementTender,
    StatementTotal,
    TransactionChange,
    TransactionError,
    UploadSession,
)
from tests.support.violations import Violation

AMOUNTS = {"net_amount": 10, "tax_amount": 0, "gross_amount": 10, "discount_amount": 0}
DAY = date(2026, 11, 20)
SHARED = "channel and customer must be of its company"
POSTED = "it is posted"

SALES = [
    Violation(
        "one sale kept twice",
        "a_transaction_is_kept_once",
        "UPDATE retail_transaction SET transaction_id = 'T-1' WHERE id = %(open_sale)s",
    ),
    Violation(
        "one number of one store sold in two channels",
        "a_number_of_a_store_is_one_transaction",
        """UPDATE retail_transaction SET transaction_id = 'T-1', store_number = '007',
                  channel_id = CASE id WHEN %(open_sale)s THEN %(paris)s ELSE channel_id END
            WHERE id IN (%(posted_sale)s, %(open_sale)s)""",
    ),
    Violation(
        "one sale of no store kept in two channels",
        "a_storeless_transaction_is_kept_once",
        """UPDATE retail_transaction SET transaction_id = 'T-1', channel_id = %(paris)s
            WHERE id = %(open_sale)s""",
    ),
    Violation(
        "one confirmation number on two orders of tills",
        "a_confirmation_number_is_one_order",
        """UPDATE retail_transaction SET confirmation_number = 'W-1',
                  transaction_type = 'customer_order', order_reason = 'x'
            WHERE id = %(open_sale)s""",
    ),
    Violation(
        "an unknown type of document",
        "transaction_type_is_known",
        "UPDATE retail_transaction SET transaction_type = 'raffle' WHERE id = %(open_sale)s",
    ),
    Violation(
        "an unknown entry status",
        "entry_status_is_known",
        "UPDATE retail_transaction SET entry_status = 'odd' WHERE id = %(open_sale)s",
    ),
    Violation(
        "an unknown validation status",
        "validation_status_is_known",
        "UPDATE retail_transaction SET validation_status = 'fine' WHERE id = %(open_sale)s",
    ),
    Violation(
        "an unknown order status",
        "order_status_is_known",
        "UPDATE retail_transaction SET order_status = 'fine' WHERE id = %(open_sale)s",
    ),
    Violation(
        "a sale in an order without an account",
        "what_is_ordered_has_an_account",
        "UPDATE retail_transaction SET sales_order_id = %(open_order)s WHERE id = %(open_sale)s",
    ),
    Violation(
        "an order that succeeded and is not there",
        "a_succeeded_order_exists",
        "UPDATE retail_transaction SET order_status = 'succeeded' WHERE id = %(open_sale)s",
    ),
    Violation(
        "an order that waits without a reason",
        "an_order_that_waits_says_why",
        """UPDATE retail_transaction SET transaction_type = 'customer_order',
                  confirmation_number = 'W-9' WHERE id = %(open_sale)s""",
    ),
    Violation(
        "a sale that a statement also takes as a prepayment",
        "a_sale_is_no_prepayment",
        """UPDATE retail_transaction SET statement_id = %(open)s, prepayment_statement_id = %(open)s
            WHERE id = %(open_sale)s""",
    ),
    Violation(
        "an amount that is no number",
        "amounts_are_numbers",
        "UPDATE retail_transaction SET tax_amount = 'NaN' WHERE id = %(open_sale)s",
    ),
    Violation(
        "a line's amount that is no number",
        "line_amounts_are_numbers",
        "UPDATE retail_transaction_line SET price = 'NaN' WHERE transaction_id = %(open_sale)s",
    ),
    Violation(
        "a payment that is no number",
        "payment_amounts_are_numbers",
        "UPDATE retail_transaction_payment SET amount = 'NaN' WHERE transaction_id = %(open_sale)s",
    ),
    Violation(
        "a sale for a customer of another company",
        "its_new_customer_is_of_its_company",
        "UPDATE retail_transaction SET customer_id = %(zoe)s WHERE id = %(open_sale)s",
        SHARED,
    ),
    Violation(
        "an order for a customer of another company",
        "channel_and_customer_share_the_company",
        """INSERT INTO sales_order (company_id, channel_id, number, confirmation_number,
                  customer_id, business_date, currency, net_amount, tax_amount, gross_amount,
                  discount_amount)
           VALUES ('USRT', %(houston)s, 'SO-9', 'W-9', %(zoe)s, now(), 'USD', 1, 0, 1, 0)""",
        SHARED,
    ),
    Violation(
        "one rule broken twice by one field",
        "a_rule_is_broken_once_a_field",
        "INSERT INTO transaction_error (transaction_id, rule, field, expected, found)"
        " SELECT transaction_id, rule, field, '', '' FROM transaction_error",
    ),
    Violation(
        "a correction without a reason",
        "a_change_has_a_reason",
        """INSERT INTO transaction_change (transaction_id, field, old, new, reason, changed_by_id)
           SELECT transaction_id, field, old, new, '', changed_by_id FROM transaction_change""",
    ),
    Violation(
        "a correction that corrects nothing",
        "a_change_changes_something",
        """INSERT INTO transaction_change (transaction_id, field, old, new, reason, changed_by_id)
           SELECT transaction_id, field, old, old, reason, changed_by_id
             FROM transaction_change""",
    ),
    Violation(
        "a sale from nowhere",
        "a_transaction_comes_from_somewhere",
        "UPDATE retail_transaction SET database_id = NULL WHERE id = %(open_sale)s",
    ),
    Violation(
        "a forgotten correction",
        "changes_are_kept",
        "DELETE FROM transaction_change",
        "transaction_change: delete refused",
    ),
    Violation(
        "a vanished sale",
        "a_transaction_is_never_deleted",
        "DELETE FROM retail_transaction",
        "retail_transaction: delete refused",
    ),
    Violation(
        "a posted sale with another amount",
        "frozen_once_settled",
        "UPDATE retail_transaction SET gross_amount = 11 WHERE id = %(posted_sale)s",
        POSTED,
    ),
    Violation(
        "a posted sale with another line",
        "frozen_once_settled",
        "UPDATE retail_transaction_line SET quantity = 2 WHERE transaction_id = %(posted_sale)s",
        "its transaction is posted",
    ),
    Violation(
        "a posted sale without its payment",
        "frozen_once_settled",
        "DELETE FROM retail_transaction_payment WHERE transaction_id = %(posted_sale)s",
        "its transaction is posted",
    ),
    Violation(
        "a line that moves to a posted sale",
        "frozen_once_settled",
        """UPDATE retail_transaction_line SET transaction_id = %(posted_sale)s, line_number = 2
            WHERE transaction_id = %(open_sale)s""",
    ),
    Violation(
        "a line added to a posted sale",
        "nothing_is_added_to_a_settled_transaction",
        """INSERT INTO retail_transaction_line (transaction_id, line_number)
           VALUES (%(posted_sale)s, 2)""",
    ),
    Violation(
        "a payment added to a posted sale",
        "nothing_is_added_to_a_settled_transaction",
        """INSERT INTO retail_transaction_payment (transaction_id, line_number, tender_type, amount,
                                                   currency)
           VALUES (%(posted_sale)s, 2, 'cash', 1, 'USD')""",
    ),
    Violation(
        "a sale that enters a posted statement",
        "only_open_statements_take_sales",
        "UPDATE retail_transaction SET statement_id = %(posted)s WHERE id = %(open_sale)s",
    ),
    Violation(
        "a prepayment that enters a posted statement",
        "only_open_statements_take_sales",
        """UPDATE retail_transaction SET prepayment_statement_id = %(posted)s
            WHERE id = %(open_sale)s""",
    ),
    Violation(
        "a sale that leaves its order",
        "settled_for_ever",
        "UPDATE retail_transaction SET sales_order_id = NULL WHERE id = %(posted_sale)s",
        "it stays in its order until that is cancelled",
    ),
]
OF_PAYMENT = """statement_id, kind, customer_id, sales_order_id, transaction_id, tender_type,
                currency, amount, count"""
INSERT_PAYMENT = f"INSERT INTO posted_payment ({OF_PAYMENT})"
# A payment of the posted statement, posted once more by the open one.
SAME_PAYMENT = f"""{INSERT_PAYMENT}
    SELECT %(open)s, kind, customer_id, sales_order_id, transaction_id, tender_type, currency,
           amount, count
      FROM posted_payment WHERE"""  # noqa: S608
ORDERS = [
    Violation(
        "one order number issued twice",
        "an_order_number_is_issued_once",
        """INSERT INTO sales_order (company_id, channel_id, number, confirmation_number,
                  customer_id, business_date, currency, net_amount, tax_amount, gross_amount,
                  discount_amount)
           VALUES ('USRT', %(houston)s, 'SO-1', 'W-9', %(ann)s, now(), 'USD', 1, 0, 1, 0)""",
    ),
    Violation(
        "one invoice number issued twice",
        "an_invoice_number_is_issued_once",
        """UPDATE sales_order SET invoice_number = 'INV-1', state = 'invoiced',
                  invoiced_at = now()
            WHERE id = %(open_order)s""",
    ),
    Violation(
        "one confirmation number on two orders",
        "one_order_per_confirmation_number",
        """INSERT INTO sales_order (company_id, channel_id, number, confirmation_number,
                  customer_id, business_date, currency, net_amount, tax_amount, gross_amount,
                  discount_amount)
           VALUES ('USRT', %(houston)s, 'SO-9', 'W-1', %(ann)s, now(), 'USD', 1, 0, 1, 0)""",
    ),
    Violation(
        "two orders of one customer in a statement",
        "one_order_per_customer_of_a_statement",
        """INSERT INTO sales_order (company_id, channel_id, number, statement_id, customer_id,
                  business_date, currency, net_amount, tax_amount, gross_amount, discount_amount)
           VALUES ('USRT', %(houston)s, 'SO-8', %(open)s, %(ann)s, now(), 'USD', 1, 0, 1, 0),
                  ('USRT', %(houston)s, 'SO-9', %(open)s, %(ann)s, now(), 'USD', 1, 0, 1, 0)""",
    ),
    Violation(
        "an unknown state of an order",
        "sales_order_state_is_known",
        """INSERT INTO sales_order (company_id, channel_id, number, confirmation_number,
                  customer_id, business_date, currency, net_amount, tax_amount, gross_amount,
                  discount_amount, state)
           VALUES ('USRT', %(houston)s, 'SO-9', 'W-9', %(ann)s, now(), 'USD', 1, 0, 1, 0, 'odd')""",
    ),
    Violation(
        "an order on hold for no reason",
        "a_held_order_has_its_code",
        "UPDATE sales_order SET state = 'on_hold' WHERE id = %(open_order)s",
    ),
    Violation(
        "an invoice of an open order",
        "an_invoice_belongs_to_an_invoiced_order",
        "UPDATE sales_order SET invoice_number = 'INV-2' WHERE id = %(open_order)s",
    ),
    Violation(
        "an invoiced order without an invoice",
        "an_invoice_belongs_to_an_invoiced_order",
        "UPDATE sales_order SET state = 'invoiced' WHERE id = %(open_order)s",
    ),
    Violation(
        "an invoice of no time",
        "an_invoice_has_a_number_and_a_time",
        """UPDATE sales_order SET invoice_number = 'INV-2', state = 'invoiced'
            WHERE id = %(open_order)s""",
    ),
    Violation(
        "an order of neither a till nor a statement",
        "an_order_is_of_a_till_or_of_a_statement",
        """INSERT INTO sales_order (company_id, channel_id, number, customer_id, business_date,
                  currency, net_amount, tax_amount, gross_amount, discount_amount)
           VALUES ('USRT', %(houston)s, 'SO-9', %(ann)s, now(), 'USD', 1, 0, 1, 0)""",
    ),
    Violation(
        "an order released at no time",
        "a_released_order_says_when_and_by_whom",
        """UPDATE sales_order SET released_by_id = (SELECT id FROM auth_user)
            WHERE id = %(open_order)s""",
    ),
    Violation(
        "an order released by nobody",
        "a_released_order_says_when_and_by_whom",
        "UPDATE sales_order SET released_at = now() WHERE id = %(open_order)s",
    ),
    Violation(
        "an order that goes back",
        "a_sales_order_moves_forward",
        "UPDATE sales_order SET state = 'open' WHERE id = %(posted_order)s",
        "sales_order: update refused",
    ),
    Violation(
        "an order with another amount",
        "a_sales_order_keeps_its_values",
        "UPDATE sales_order SET gross_amount = 11 WHERE id = %(open_order)s",
    ),
    Violation(
        "an order with another invoice number",
        "an_invoice_number_never_changes",
        "UPDATE sales_order SET invoice_number = 'INV-9' WHERE id = %(posted_order)s",
    ),
    Violation(
        "an order of a till that is cancelled",
        "an_order_is_cancelled_with_its_statement",
        "UPDATE sales_order SET state = 'cancelled' WHERE id = %(open_order)s",
        "only orders of a statement that is not posted are cancelled",
    ),
    Violation(
        "an order of a posted statement that is cancelled",
        "an_order_is_cancelled_with_its_statement",
        "UPDATE sales_order SET state = 'cancelled' WHERE id = %(posted_order)s",
        "only orders of a statement that is not posted are cancelled",
    ),
    Violation(
        "a vanished order",
        "a_sales_order_is_never_deleted",
        "DELETE FROM sales_order",
        "sales_order: delete refused",
    ),
    Violation(
        "an order number that falls",
        "a_sequence_of_orders_never_falls",
        "UPDATE order_sequence SET next_order = 1",
        "order_sequence: update refused",
    ),
    Violation(
        "an order number below one",
        "orders_and_invoices_are_numbered_from_one",
        """INSERT INTO order_sequence (company_id, order_format, invoice_format, next_order,
                                       next_invoice)
           VALUES ('EURT', 'SO-#', 'INV-#', 0, 1)""",
    ),
    Violation(
        "a forgotten sequence of orders",
        "a_used_sequence_of_orders_is_never_deleted",
        "DELETE FROM order_sequence",
        "order_sequence: delete refused",
    ),
    Violation(
        "one tender of an order posted twice",
        "a_tender_is_posted_once_an_order",
        f"{SAME_PAYMENT} sales_order_id IS NOT NULL",
    ),
    Violation(
        "one prepayment posted twice",
        "a_prepayment_is_posted_once",
        f"{SAME_PAYMENT} transaction_id IS NOT NULL",
    ),
    Violation(
        "a payment of no known kind",
        "payment_kind_is_known",
        f"""{INSERT_PAYMENT} VALUES
            (%(open)s, 'odd', %(ann)s, %(open_order)s, NULL, '', 'USD', 1, 1)""",
    ),
    Violation(
        "a prepayment of no document",
        "only_a_prepayment_is_of_a_customer_order",
        f"""{INSERT_PAYMENT} VALUES
            (%(open)s, 'prepayment', %(ann)s, %(open_order)s, NULL, '', 'USD', 1, 1)""",
    ),
    Violation(
        "a posted prepayment of somebody else",
        "a_posted_prepayment_is_kept",
        "UPDATE retail_transaction SET async_account = gen_random_uuid() WHERE id = %(prepaid)s",
        "its prepayment is posted",
    ),
    Violation(
        "a posted payment that changes",
        "posted_payments_are_kept",
        "UPDATE posted_payment SET amount = 0",
        "posted_payment: update refused",
    ),
]
INSERT_ROUNDING = """INSERT INTO payment_rounding (company_id, currency, tender_type,
                            rounding_unit, tolerance) VALUES"""
STATEMENTS = [
    Violation(
        "two statements with one number",
        "one_statement_per_sequence",
        """INSERT INTO statement (company_id, channel_id, business_date, sequence, reason, message,
                  state, posted_at, content_hash)
           SELECT company_id, channel_id, business_date, sequence, 'x', '[]', state, posted_at,
                  content_hash FROM statement WHERE id = %(posted)s""",
    ),
    Violation(
        "two open statements of one day",
        "one_open_statement_per_day",
        """INSERT INTO statement (company_id, channel_id, business_date, sequence, reason, message)
           SELECT company_id, channel_id, business_date, 2, 'x', '[]' FROM statement
            WHERE id = %(open)s""",
    ),
    Violation(
        "a statement that waits without a reason",
        "an_open_statement_says_why",
        "UPDATE statement SET reason = '' WHERE id = %(open)s",
    ),
    Violation(
        "a cancelled statement with sales",
        "a_cancelled_statement_has_no_sales",
        """UPDATE retail_transaction SET statement_id = %(open)s WHERE id = %(open_sale)s;
           UPDATE statement SET state = 'cancelled' WHERE id = %(open)s""",
        "a cancelled one has no sales",
    ),
    Violation(
        "an unknown state of a statement",
        "statement_state_is_known",
        "UPDATE statement SET state = 'odd' WHERE id = %(open)s",
    ),
    Violation(
        "a posted statement without a seal",
        "a_posted_statement_is_sealed",
        "UPDATE statement SET state = 'posted' WHERE id = %(open)s",
    ),
    Violation(
        "a posted statement that changes",
        "a_posted_statement_is_frozen",
        "UPDATE statement SET business_date = business_date + 1 WHERE id = %(posted)s",
        "statement: update refused",
    ),
    Violation(
        "emptied statements",
        "statements_are_never_truncated",
        "TRUNCATE statement CASCADE",
        "refused",
    ),
    Violation(
        "a statement of another company's channel",
        "statement_and_channel_share_the_company",
        """INSERT INTO statement (company_id, channel_id, business_date, sequence, reason, message)
           VALUES ('USRT', %(paris)s, now(), 1, '', '[]')""",
        "its channel must be of its company",
    ),
    Violation(
        "a statement that moves to another company's channel",
        "statement_and_channel_share_the_company",
        "UPDATE statement SET channel_id = %(paris)s WHERE id = %(open)s",
    ),
    Violation(
        "a tender added to a posted statement",
        "frozen_once_posted",
        """INSERT INTO statement_tender (statement_id, tender_type, currency, count, amount)
           VALUES (%(posted)s, 'card', 'USD', 1, 1)""",
    ),
    Violation(
        "a tender that moves to a posted statement",
        "frozen_once_posted",
        """INSERT INTO statement_tender (statement_id, tender_type, currency, count, amount)
           VALUES (%(open)s, 'card', 'USD', 1, 1);
           UPDATE statement_tender SET statement_id = %(posted)s WHERE statement_id = %(open)s""",
    ),
    Violation(
        "a total added to a posted statement",
        "frozen_once_posted",
        """INSERT INTO statement_total (statement_id, currency, transactions, net_amount,
                  tax_amount, gross_amount, discount_amount)
           VALUES (%(posted)s, 'EUR', 1, 1, 0, 1, 0)""",
    ),
    Violation(
        "an aggregate added to a posted statement",
        "frozen_once_posted",
        """INSERT INTO statement_aggregate (statement_id, customer_id, currency, transactions,
                  net_amount, tax_amount, gross_amount, discount_amount)
           VALUES (%(posted)s, %(bo)s, 'USD', 1, 1, 0, 1, 0)""",
    ),
    Violation(
        "an order added to a posted statement",
        "frozen_once_posted",
        """INSERT INTO sales_order (company_id, channel_id, number, statement_id, customer_id,
                  business_date, currency, net_amount, tax_amount, gross_amount, discount_amount)
           VALUES ('USRT', %(houston)s, 'SO-9', %(posted)s, %(bo)s, now(), 'USD', 1, 0, 1, 0)""",
    ),
    Violation(
        "a payment added to a posted statement",
        "frozen_once_posted",
        f"""{INSERT_PAYMENT} VALUES
            (%(posted)s, 'payment', %(ann)s, %(open_order)s, NULL, 'card', 'USD', 1, 1)""",
    ),
    Violation(
        "a posted total that changes",
        "frozen_once_posted",
        "UPDATE statement_total SET gross_amount = 0",
        "its statement is posted",
    ),
    Violation(
        "a tender summed twice",
        "a_tender_is_summed_once",
        """INSERT INTO statement_tender (statement_id, tender_type, currency, count, amount)
           VALUES (%(open)s, 'cash', 'USD', 1, 10), (%(open)s, 'cash', 'USD', 1, 10)""",
    ),
    Violation(
        "a currency summed twice",
        "a_currency_is_summed_once",
        """INSERT INTO statement_total (statement_id, currency, transactions, net_amount,
                  tax_amount, gross_amount, discount_amount)
           VALUES (%(open)s, 'USD', 1, 1, 0, 1, 0), (%(open)s, 'USD', 1, 1, 0, 1, 0)""",
    ),
    Violation(
        "two aggregates of one customer",
        "one_aggregate_per_customer_and_currency",
        """INSERT INTO statement_aggregate (statement_id, customer_id, currency, transactions,
                  net_amount, tax_amount, gross_amount, discount_amount)
           VALUES (%(open)s, %(ann)s, 'USD', 1, 1, 0, 1, 0),
                  (%(open)s, %(ann)s, 'USD', 1, 1, 0, 1, 0)""",
    ),
    Violation(
        "an unknown state of an aggregate",
        "aggregate_state_is_known",
        """INSERT INTO statement_aggregate (statement_id, customer_id, currency, transactions,
                  net_amount, tax_amount, gross_amount, discount_amount, state)
           VALUES (%(open)s, %(ann)s, 'USD', 1, 1, 0, 1, 0, 'odd')""",
    ),
    Violation(
        "an ordered aggregate without its order",
        "an_ordered_aggregate_has_its_order",
        """INSERT INTO statement_aggregate (statement_id, customer_id, currency, transactions,
                  net_amount, tax_amount, gross_amount, discount_amount, state)
           VALUES (%(open)s, %(ann)s, 'USD', 1, 1, 0, 1, 0, 'ordered')""",
    ),
    Violation(
        "a forgotten event of a statement",
        "events_of_statements_are_kept",
        "DELETE FROM statement_event",
        "statement_event: delete refused",
    ),
    Violation(
        "modes of statements that mix",
        "modes_of_statements_do_not_mix",
        "UPDATE channel SET statement_mode = 'end_of_day' WHERE id = %(houston)s",
        "a statement is open",
    ),
    Violation(
        "an unknown mode of statements",
        "statement_mode_is_known",
        "UPDATE channel SET statement_mode = 'odd' WHERE id = %(paris)s",
    ),
    Violation(
        "a negative tolerance",
        "a_tolerance_is_not_negative",
        "UPDATE company SET payment_tolerance = -1",
    ),
    Violation(
        "a negative coin",
        "no_rounding_is_negative",
        f"{INSERT_ROUNDING} ('USRT', 'CZK', 'cash', -1, 0)",
    ),
    Violation(
        "a tender rounded in two ways",
        "a_tender_is_rounded_in_one_way",
        f"{INSERT_ROUNDING} ('USRT', 'CZK', 'cash', 1, 0), ('USRT', 'CZK', 'Cash', 5, 0)",
    ),
]
RULES_OF_SALES = [*SALES, *ORDERS, *STATEMENTS]


def post_one_of_each(channel: Channel, database: ChannelDatabase, ann: Customer) -> dict[str, Any]:
    """A posted statement with one sale, an open one, an order of a till, and an open sale."""
    OrderSequence.objects.create(company=channel.company, next_order=3, next_invoice=2)
    mine: dict[str, Any] = {"company": channel.company, "channel": channel}
    posted = Statement.objects.create(business_date=DAY, **mine)
    open_one = Statement.objects.create(business_date=date(2026, 11, 21), **mine)
    dated: dict[str, Any] = mine | {"business_date": DAY, "currency": "USD", **AMOUNTS}
    first = SalesOrder.objects.create(
        number="SO-1",
        statement=posted,
        customer=ann,
        state="invoiced",
        invoice_number="INV-1",
        invoiced_at=timezone.now(),
        **dated,
    )
    second = SalesOrder.objects.create(
        number="SO-2", confirmation_number="W-1", customer=ann, **dated
    )
    kept = dated | {
        "database": database,
        "session": UploadSession.objects.get(),
        "occurred_at": timezone.now(),
        "entry_status": "concluded",
        "payment_amount": 10,
        "line_count": 1,
        "content_hash": b"hash",
    }
    for place, (number, kind, links) in enumerate(
        (
            ("T-1", "sale", {"customer": ann, "statement": posted, "sales_order": first}),
            (
                "T-2",
                "customer_order",
                {"customer": ann, "sales_order": second, "prepayment_statement": posted},
            ),
            ("T-3", "sale", {}),
        )
    ):
        sale = RetailTransaction.objects.create(
            event_id=uuid4(),
            replication_counter=place,
            transaction_id=number,
            transaction_type=kind,
            confirmation_number="W-1" if kind == "customer_order" else None,
            order_reason="not_ordered" if kind == "customer_order" else None,
            **kept,
        )
        RetailTransactionLine.objects.create(transaction=sale, line_number=1, quantity=1)
        RetailTransactionPayment.objects.create(
            transaction=sale, line_number=1, tender_type="cash", amount=10, currency="USD"
        )
        # Once it is in an order, no line or payment can be added.
        RetailTransaction.objects.filter(pk=sale.pk).update(**links)
    prepaid = RetailTransaction.objects.get(transaction_id="T-2")
    for paid in (
        {"sales_order": first},
        {"transaction": prepaid, "kind": "prepayment"},
    ):
        PostedPayment.objects.create(
            statement=posted,
            customer=ann,
            tender_type="cash",
            currency="USD",
            amount=10,
            count=1,
            **paid,
        )
    StatementTender.objects.create(
        statement=posted, tender_type="cash", currency="USD", amount=10, count=1
    )
    StatementTotal.objects.create(statement=posted, currency="USD", transactions=1, **AMOUNTS)
    StatementAggregate.objects.create(
        statement=posted,
        customer=ann,
        currency="USD",
        transactions=1,
        state="ordered",
        sales_order=first,
        **AMOUNTS,
    )
    StatementEvent.objects.create(
        statement=posted,
        state="posted",
        text=Message("state_reached", state=Message("state_posted")),
    )
    Statement.objects.filter(pk=posted.pk).update(
        state="posted", posted_at=timezone.now(), content_hash=b"seal"
    )
    open_sale = RetailTransaction.objects.get(transaction_id="T-3")
    TransactionError.objects.create(transaction=open_sale, rule="net_differs", field="net_amount")
    TransactionChange.objects.create(
        transaction=open_sale,
        field="net_amount",
        old="1",
        new="2",
        reason="Typo.",
        changed_by=User.objects.create_user("clerk"),
    )
    return {
        "posted": posted.pk,
        "open": open_one.pk,
        "posted_order": first.pk,
        "open_order": second.pk,
        "prepaid": prepaid.pk,
        "posted_sale": RetailTransaction.objects.get(transaction_id="T-1").pk,
        "open_sale": open_sale.pk,
    }
