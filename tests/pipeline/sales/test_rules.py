"""Validation of sales: every rule is broken once, and what a till may do passes all of them.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `store` is a
store, once on PostgreSQL and once on SQLite.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from stores.models import (
    ChannelDatabase,
    Company,
    Customer,
    GuidMap,
    RetailTransaction,
    TransactionError,
)
from stores.models.job import JobCode
from stores.pipeline.sales.rules import (
    HEADER_RULES,
    LINE_RULES,
    PAYMENT_RULES,
    SALE_RULES,
    errors_of,
    header_statement,
)
from tests.support.make import article, make_customer, make_sale, run, sale_rows, write_rows
from tests.support.plans import never_analyzed, plan_of

RULES = {"header": HEADER_RULES, "line": LINE_RULES, "payment": PAYMENT_RULES}
CLOSED_UNTIL = timezone.now().date() - timedelta(days=30)
LONG_AGO = timezone.now().date() - timedelta(days=400)
HEADER_AMOUNTS = (
    "net_amount",
    "tax_amount",
    "gross_amount",
    "discount_amount",
    "payment_amount",
)
NO_AMOUNTS = {"net_amount": "0", "tax_amount": "0", "gross_amount": "0"}


@dataclass
class Document:
    """A document of a till: by default one article, paid in cash."""

    transaction_type: str
    lines: list[dict[str, Any]] | None = None
    payments: list[dict[str, Any]] | None = None
    columns: dict[str, Any] = field(default_factory=dict)

    def write(self, database: ChannelDatabase, transaction_id: str) -> None:
        columns = {"transaction_type": self.transaction_type, "transaction_id": transaction_id}
        if self.transaction_type == "customer_order":
            columns["confirmation_number"] = f"SO-{transaction_id}"
        if self.payments is not None:
            amounts = [Decimal(payment["amount"]) for payment in self.payments]
            columns["payment_amount"] = str(sum(amounts))
        columns |= self.columns
        rows = sale_rows(database, lines=self.lines, payments=self.payments, **columns)
        write_rows(database, rows)


def sale(
    *, lines: list[dict[str, Any]] | None = None, payments: Any = None, **columns: Any
) -> Document:
    return Document("sale", lines, payments, columns)


def sale_of(**columns: Any) -> Document:
    """A sale of one article of 10.00, with some columns of its line changed."""
    return sale(lines=[article("10.00") | columns])


def returned(*, lines: Any = None, payments: Any = None, **columns: Any) -> Document:
    return Document("return", lines, payments, columns)


def order(*, lines: Any = None, payments: Any = None, **columns: Any) -> Document:
    return Document("customer_order", lines, payments, columns)


def line(quantity: str, price: str, net: str, tax: str = "0", **columns: Any) -> dict[str, Any]:
    return article(price, quantity=quantity, net_amount=net, tax_amount=tax, **columns)


def cash(*amounts: str, currency: str = "USD") -> list[dict[str, Any]]:
    return [{"tender_type": "cash", "amount": amount, "currency": currency} for amount in amounts]


def card_number_as_tender() -> list[dict[str, Any]]:
    return [{"tender_type": "4111111111111111", "amount": "10.70", "currency": "USD"}]


RETURNED_LINE = line("-1", "10.00", "-10.00", "-0.70")


def documents_by_broken_rule(
    customer: UUID, inactive_account: str
) -> dict[tuple[str, str, str], Document]:
    """For each rule, by its part, code and field, a document that breaks it."""
    header_rules = {
        ("customer_unknown", "async_account"): sale(async_account=uuid4()),
        ("customer_unknown", "account_number"): sale(account_number="005999"),
        ("identity_mismatch", "account_number"): sale(
            async_account=customer, account_number=inactive_account
        ),
        ("customer_not_active", "customer"): sale(account_number=inactive_account),
        ("period_closed", "business_date"): sale(business_date=CLOSED_UNTIL),
        ("business_date_far", "business_date"): sale(business_date=LONG_AGO),
        ("discount_differs", "discount_amount"): sale(discount_amount="1.00"),
        ("net_differs", "net_amount"): sale(net_amount="9.00"),
        ("tax_differs", "tax_amount"): sale(tax_amount="0.71"),
        ("gross_differs", "gross_amount"): sale(gross_amount="10.71"),
        ("line_count_differs", "line_count"): sale(line_count=0),
        ("payment_differs", "payment_amount"): sale(payments=[], payment_amount="9.00"),
        ("nothing_sold", "line_count"): sale_of(is_voided=True),
        ("only_returned", "transaction_type"): sale(lines=[RETURNED_LINE]),
        ("sign_wrong", "payment_amount"): order(payments=cash("-5.00")),
        ("nothing_paid", "payment_amount"): order(payments=cash("5.00", "-5.00")),
        ("not_paid", "payment_amount"): sale(payments=cash("9.00")),
    }
    for column in HEADER_AMOUNTS:
        header_rules["not_rounded", column] = sale(**{column: "10.005"})
    line_rules = {
        ("item_missing", "item_id"): sale_of(item_id="\t\u200b"),
        ("not_rounded", "net_amount"): sale_of(net_amount="10.005"),
        ("not_rounded", "tax_amount"): sale_of(tax_amount="0.705"),
        ("not_rounded", "discount_amount"): sale_of(discount_amount="0.005"),
        ("price_negative", "price"): sale_of(price="-10.00"),
        ("signs_differ", "net_amount"): sale_of(net_amount="-10.00"),
        ("signs_differ", "discount_amount"): sale_of(discount_amount="-1.00"),
        ("signs_differ", "tax_amount"): sale_of(tax_amount="-0.70"),
        ("sign_wrong", "quantity"): returned(),
        ("line_differs", "net_amount"): sale_of(quantity="3"),
        ("more_than_price", "discount_amount"): sale_of(discount_amount="10.01"),
        ("more_than_price", "tax_amount"): sale_of(tax_amount="10.01"),
        ("card_number", "description"): sale_of(description="Card 4111 1111 1111 1111"),
    }
    for column in ("quantity", "price", "net_amount", "tax_amount"):
        line_rules["value_missing", column] = sale(lines=[article(), article("0") | {column: None}])
    payment_rules = {
        ("card_number", "tender_type"): sale(payments=card_number_as_tender()),
        ("not_rounded", "amount"): sale(payments=cash("10.695", "0.005")),
        ("sign_wrong", "amount"): returned(
            lines=[line("-1", "10.00", "-10.00")], payments=cash("-20.00", "10.00")
        ),
        ("payment_currency", "currency"): sale(payments=cash("10.70", currency="EUR")),
    }
    parts = {"header": header_rules, "line": line_rules, "payment": payment_rules}
    return {
        (part, code, column): document
        for part, documents in parts.items()
        for (code, column), document in documents.items()
    }


@pytest.mark.finding(id="A9")
def test_there_is_a_document_for_every_rule():
    rules = {(part, rule.code, rule.field) for part in RULES for rule in RULES[part]}

    assert documents_by_broken_rule(uuid4(), "005001").keys() == rules
    assert sum(len(rules) for rules in RULES.values()) == len(SALE_RULES)


@pytest.fixture
def broken_rules(houston) -> list[tuple[str, str, str]]:
    """Part, code and field of every rule: a document that breaks it was at the end of day.

    Its transaction id consists of these three. A good sale was there as well.
    """
    ann, bo = make_customer(houston, "Ann"), make_customer(houston, "Bo")
    run(JobCode.PIPELINE)
    inactive = GuidMap.objects.get(async_account=bo).customer
    Customer.objects.filter(pk=inactive.pk).update(state="void")
    Company.objects.update(closed_until=CLOSED_UNTIL)
    documents = documents_by_broken_rule(ann, inactive.account_number)
    for rule, document in documents.items():
        document.write(houston, transaction_id=" ".join(rule))
    make_sale(houston, transaction_id="good")
    run(JobCode.END_OF_DAY)
    return list(documents)


@pytest.mark.finding(id="A9")
def test_every_broken_rule_is_named_with_its_field(broken_rules):
    for part, code, column in broken_rules:
        errors = TransactionError.objects.filter(
            transaction__transaction_id=f"{part} {code} {column}", rule=code, field=column
        )
        # Only the error of a line or payment has its number.
        assert errors.filter(line_number__isnull=part == "header").exists(), (part, code, column)


@pytest.mark.finding(id="A9")
def test_a_document_that_breaks_a_rule_is_not_posted(broken_rules):
    bad = RetailTransaction.objects.exclude(transaction_id="good")

    assert bad.count() == len(broken_rules)
    assert set(bad.values_list("validation_status", "statement")) == {("error", None)}
    assert RetailTransaction.objects.get(transaction_id="good").statement.state == "posted"


ALLOWED = {
    "an exchange that costs more": sale(
        lines=[line("1", "15.00", "15.00"), line("-1", "10.00", "-10.00")]
    ),
    "an even exchange that nobody pays": sale(
        lines=[line("1", "10.00", "10.00"), line("-1", "10.00", "-10.00")], payments=[]
    ),
    "an exchange with money back": sale(
        lines=[line("1", "10.00", "10.00"), line("-1", "15.00", "-15.00")]
    ),
    "a sale with change": sale(payments=cash("20.00", "-9.30")),
    "a return": returned(lines=[RETURNED_LINE]),
    "a return in two tenders": returned(lines=[RETURNED_LINE], payments=cash("-5.00", "-5.70")),
    "an order that is not paid yet": order(payments=[]),
    "an order with a deposit": order(payments=cash("3.00")),
    "an order with a deposit and change": order(payments=cash("5.00", "-2.00")),
    "an order paid in full": order(),
    "an instalment": order(lines=[], payments=cash("2.00")),
    "a refunded deposit": order(
        lines=[article(is_voided=True)], payments=cash("-3.00"), **NO_AMOUNTS
    ),
    "a voided line with a wrong sign": sale(
        lines=[article(), line("-3", "10.00", "-99.00", is_voided=True)],
        net_amount="10.00",
        gross_amount="10.70",
        payment_amount="10.70",
    ),
    "a weight, rounded": sale(lines=[line("0.333", "3.33", "1.11")]),
    "a weight, truncated": sale(lines=[line("0.333", "3.33", "1.10")]),
    "yen": sale(
        lines=[line("1.5", "333", "500")], payments=cash("500", currency="JPY"), currency="JPY"
    ),
    "an article for nothing": sale(
        lines=[line("1", "10.00", "0", "0.70", discount_amount="10.00")], discount_amount="10.00"
    ),
}


@pytest.mark.finding(id="P5")
def test_a_till_may_exchange_return_order_and_weigh(store):
    for name, document in ALLOWED.items():
        document.write(store, transaction_id=name)

    run(JobCode.END_OF_DAY)

    assert RetailTransaction.objects.count() == len(ALLOWED)
    errors = TransactionError.objects.values_list("transaction__transaction_id", "rule")
    assert list(errors) == []


REFUSED = {
    "a return with positive amounts": (returned(), {"sign_wrong"}),
    "a return that the customer pays": (
        returned(lines=[RETURNED_LINE], payments=cash("10.70")),
        {"not_paid", "sign_wrong"},
    ),
    "a return of two lines and a sale of one": (
        returned(lines=[RETURNED_LINE, RETURNED_LINE, article()]),
        {"sign_wrong"},
    ),
    "a return called a sale": (sale(lines=[RETURNED_LINE]), {"only_returned"}),
    "a negative order": (order(lines=[RETURNED_LINE]), {"sign_wrong"}),
    "an order with a negative deposit": (order(payments=cash("-5.00")), {"sign_wrong"}),
    "an overpaid order": (order(payments=cash("11.00")), {"not_paid"}),
    "a sale without payment": (sale(payments=[]), {"not_paid"}),
    "three for the price of one": (sale(lines=[line("3", "10.00", "10.00")]), {"line_differs"}),
    "one for another price": (sale(lines=[line("1", "10.00", "99.00")]), {"line_differs"}),
    "a weight at another price": (
        sale(lines=[line("0.333", "3.33", "10.00")]),
        {"line_differs"},
    ),
    "a cent more": (sale(lines=[line("1", "10.00", "10.01")]), {"line_differs"}),
    "a quantity of zero at a price": (
        sale(lines=[line("0", "10.00", "10.00"), article()]),
        {"line_differs"},
    ),
    "a discount that is added": (
        sale(
            lines=[line("1", "9.00", "10.00", discount_amount="-1")],
            discount_amount="-1.00",
        ),
        {"signs_differ"},
    ),
    "more tax than price": (
        sale(lines=[line("1", "10.00", "10.00", "10.01")]),
        {"more_than_price"},
    ),
}


@pytest.mark.finding(id="P5")
def test_signs_agree_with_the_type_and_lines_add_up(store, subtests):
    for name, (document, _) in REFUSED.items():
        document.write(store, transaction_id=name)

    run(JobCode.END_OF_DAY)

    for name, (_, rules) in REFUSED.items():
        with subtests.test(name):
            transaction = RetailTransaction.objects.get(transaction_id=name)
            assert set(transaction.errors.values_list("rule", flat=True)) == rules


def test_the_customer_rules_look_up_each_sale_whatever_the_statistics(hq):
    with never_analyzed(), errors_of([]) as errors:
        plan = plan_of(header_statement(errors), {"sales": [1]})

    # For all customers at once there would be scans of the whole tables.
    assert "guid_map_pkey" in plan
    assert "Seq Scan on guid_map" not in plan
    assert "Seq Scan on customer" not in plan
