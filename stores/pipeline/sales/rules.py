"""The rules of validation for sales and orders, and their check.

Each rule is data: its code, the field that it is about, and SQL that is true if it is broken. The
SQL refers to `sale`, its `company`, and the sums of its `lines` and `payments`; in the rules of
lines and payments, to `sale` and `row`. Customers must be converted before the rules are checked.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_one, run_sql
from stores.hqdb.work_table import WorkTable, empty_table

HEADER_ERRORS = load(__file__, "header_errors")
ROW_ERRORS = load(__file__, "row_errors")
ERROR_COLUMNS = """transaction_id bigint, rule text, field text, line_number integer,
    expected text, found text"""


@dataclass(frozen=True)
class SaleRule:
    """One rule. `broken` is an SQL condition, `expected` the SQL of the value that should be there.

    The value found is that of the field, in the row `of`. `says_value` tells that writing the
    expected value into the field would correct the sale.
    """

    code: str
    field: str
    broken: str
    expected: str = "NULL::text"
    of: str = ""
    says_value: bool = False

    @property
    def found(self) -> str:
        return f"{self.of}.{self.field}::text" if self.of else "NULL::text"


def equals_sum(code: str, field: str, expected: str) -> SaleRule:
    """Return the rule that a field of the header equals an expression, such as a sum of lines."""
    broken = f"sale.{field} <> {expected}"
    return SaleRule(code, field, broken, f"({expected})::text", of="sale", says_value=True)


def rounded(*columns: str, of: str) -> Iterator[SaleRule]:
    """Yield rules that amounts have no more decimal places than the unit of their currency."""
    for column in columns:
        expected = f"round({of}.{column}, currency_places(sale.currency))"
        broken = f"{of}.{column} <> {expected}"
        yield SaleRule("not_rounded", column, broken, f"{expected}::text", of=of, says_value=True)


# The GUID and the account number of the sale identify different customers. By two look-ups: for an
# EXISTS with a join PostgreSQL may compare each GUID of the company with each of its accounts.
NAMES_TWO = """coalesce((SELECT customer_id FROM guid_map
                           WHERE company_id = sale.company_id
                             AND async_account = sale.async_account)
                      <> (SELECT id FROM customer
                           WHERE company_id = sale.company_id
                             AND account_number = sale.account_number), false)"""
CUSTOMER_RULES = (
    SaleRule("identity_mismatch", "account_number", f"sale.customer_id IS NULL AND {NAMES_TWO}"),
    SaleRule(
        "customer_unknown",
        "async_account",
        """sale.async_account IS NOT NULL
           AND sale.customer_id IS NULL AND sale.account_number IS NULL""",
    ),
    SaleRule(
        "customer_unknown",
        "account_number",
        f"sale.account_number IS NOT NULL AND sale.customer_id IS NULL AND NOT {NAMES_TWO}",
    ),
    SaleRule(
        "customer_not_active",
        "customer",
        "(SELECT state FROM customer WHERE id = sale.customer_id) <> 'active'",
    ),
)
# An instalment for an order, or a deposit that was given back: payments, but nothing ordered.
IS_FOR_ORDER = "(sale.transaction_type = 'customer_order' AND sale.payment_amount <> 0)"
HEADER_RULES = (
    *CUSTOMER_RULES,
    # The business date is in an open period, and near the day of arrival.
    SaleRule("period_closed", "business_date", "sale.business_date <= company.closed_until"),
    SaleRule(
        "business_date_far",
        "business_date",
        # Or near today: the clock of HQ may have been wrong when the sale arrived.
        """sale.business_date NOT BETWEEN sale.staged_at::date - 366 AND sale.staged_at::date + 2
           AND sale.business_date NOT BETWEEN current_date - 366 AND current_date + 2""",
    ),
    # Amounts are rounded to the currency.
    *rounded(
        "net_amount", "tax_amount", "gross_amount", "discount_amount", "payment_amount", of="sale"
    ),
    # The header equals the sums of its lines and payments.
    equals_sum("discount_differs", "discount_amount", "coalesce(lines.discount_amount, 0)"),
    equals_sum("net_differs", "net_amount", "coalesce(lines.net_amount, 0)"),
    equals_sum("tax_differs", "tax_amount", "coalesce(lines.tax_amount, 0)"),
    equals_sum("gross_differs", "gross_amount", "(sale.net_amount + sale.tax_amount)"),
    equals_sum("line_count_differs", "line_count", "coalesce(lines.count, 0)"),
    equals_sum("payment_differs", "payment_amount", "coalesce(payments.amount, 0)"),
    # Something was sold, or something was paid for an order.
    SaleRule("nothing_sold", "line_count", f"coalesce(lines.sold, 0) = 0 AND NOT {IS_FOR_ORDER}"),
    # An exchange is a sale with returned lines. If nothing else was sold, it must be a return.
    SaleRule(
        "only_returned", "transaction_type", "sale.transaction_type = 'sale' AND lines.most <= 0"
    ),
    SaleRule(
        "sign_wrong",
        "payment_amount",
        "sale.transaction_type = 'customer_order' AND lines.sold > 0 AND sale.payment_amount < 0",
        of="sale",
    ),
    # An order whose payments add up to zero is never in a statement, so they would never be posted.
    SaleRule(
        "nothing_paid",
        "payment_amount",
        "sale.transaction_type = 'customer_order' AND payments.paid > 0 AND payments.amount = 0",
    ),
    # A sale is paid, within the allowed difference. An order may be paid later, but not overpaid.
    SaleRule(
        "not_paid",
        "payment_amount",
        """CASE WHEN sale.payment_amount = sale.gross_amount THEN false
           WHEN sale.transaction_type = 'customer_order'
                AND (sale.payment_amount < sale.gross_amount OR lines.sold = 0) THEN false
           ELSE abs(sale.gross_amount - sale.payment_amount)
                > (SELECT greatest(rounding, tolerance) FROM allowed_difference(sale.id)) END""",
        "sale.gross_amount::text",
        of="sale",
    ),
)
# The price of a line before and after discount. However a till rounds, it is off by less than the
# smallest unit of the currency.
EXTENDED_PRICE = "(row.quantity * row.price)"
DISCOUNTED_PRICE = f"({EXTENDED_PRICE} - coalesce(row.discount_amount, 0))"
CURRENCY_UNIT = "power(10::numeric, -currency_places(sale.currency))"
LINE_IS_LIVE = "NOT coalesce(row.is_voided, false)"


def card_number_rule(column: str) -> SaleRule:
    """Return the rule that a text contains no payment card number. It does not show the number."""
    return SaleRule(
        "card_number",
        column,
        f"char_length(row.{column}) > 13 AND row.{column} ~ '[0-9]([ -]?[0-9]){{13}}'"
        f" AND holds_card_number(row.{column})",
    )


LINE_RULES = (
    card_number_rule("description"),
    SaleRule("item_missing", "item_id", "coalesce(normalize_key(row.item_id), '') = ''"),
    *(
        SaleRule("value_missing", column, f"row.{column} IS NULL")
        for column in ("quantity", "price", "net_amount", "tax_amount")
    ),
    *rounded("net_amount", "tax_amount", "discount_amount", of="row"),
    # Amounts have the sign of the quantity. The price has none.
    SaleRule("price_negative", "price", "row.price < 0", of="row"),
    *(
        SaleRule(
            "signs_differ",
            column,
            f"sign(row.quantity) * sign(row.{column}) < 0",
            "row.quantity::text",
            of="row",
        )
        for column in ("net_amount", "discount_amount", "tax_amount")
    ),
    # Returned items have a negative quantity. A return has no others, an order has none.
    SaleRule(
        "sign_wrong",
        "quantity",
        f"""{LINE_IS_LIVE} AND CASE sale.transaction_type WHEN 'return' THEN row.quantity > 0
                       WHEN 'customer_order' THEN row.quantity < 0 ELSE false END""",
        of="row",
    ),
    # Quantity, price, discount and net amount agree.
    SaleRule(
        "line_differs",
        "net_amount",
        f"""{LINE_IS_LIVE} AND row.net_amount <> {DISCOUNTED_PRICE}
            AND abs(row.net_amount - {DISCOUNTED_PRICE}) >= {CURRENCY_UNIT}""",
        f"round({DISCOUNTED_PRICE}, currency_places(sale.currency))::text",
        of="row",
    ),
    *(
        SaleRule(
            "more_than_price",
            column,
            f"""{LINE_IS_LIVE} AND abs(row.{column}) > abs({EXTENDED_PRICE})
                AND abs(row.{column}) - abs({EXTENDED_PRICE}) >= {CURRENCY_UNIT}""",
            f"{EXTENDED_PRICE}::text",
            of="row",
        )
        for column in ("discount_amount", "tax_amount")
    ),
)
PAYMENT_RULES = (
    card_number_rule("tender_type"),
    *rounded("amount", of="row"),
    # In a return all payments are negative. In a sale change is.
    SaleRule(
        "sign_wrong", "amount", "sale.transaction_type = 'return' AND row.amount > 0", of="row"
    ),
    # There are no exchange rates, so a payment in another currency cannot be added.
    SaleRule(
        "payment_currency",
        "currency",
        "row.currency <> sale.currency",
        "sale.currency",
        of="row",
        says_value=True,
    ),
)
ROW_RULES = (("retail_transaction_line", LINE_RULES), ("retail_transaction_payment", PAYMENT_RULES))
SALE_RULES = (*HEADER_RULES, *LINE_RULES, *PAYMENT_RULES)


def check_sales(sales: Sequence[int]) -> tuple[int, int]:
    """Check all rules. Return how many sales changed their status, and how many have errors.

    Effects: validation status, time and errors of the sales, in the caller's transaction.
    """
    with errors_of(sales) as errors:
        write_errors(sales, errors)
    changed, failed = fetch_one(
        """WITH result AS (
             SELECT id, validation_status AS old_status, CASE
                    WHEN EXISTS (SELECT FROM transaction_error
                                  WHERE transaction_id = retail_transaction.id)
                    THEN 'error' ELSE 'successful' END AS new_status
               FROM retail_transaction WHERE id = ANY(%s)),
           updated AS (
             UPDATE retail_transaction sale
                SET validated_at = now(), validation_status = result.new_status
               FROM result WHERE result.id = sale.id
             RETURNING result.old_status, result.new_status)
           SELECT count(*) FILTER (WHERE old_status <> new_status),
                  count(*) FILTER (WHERE new_status = 'error')
             FROM updated""",
        [list(sales)],
    )
    return int(changed), int(failed)


@contextmanager
def errors_of(sales: Sequence[int]) -> Iterator[WorkTable]:
    """Make a work table of the rules that the sales break, with the columns of ERROR_COLUMNS."""
    with empty_table("found_error", ERROR_COLUMNS) as errors:
        values = {"sales": list(sales)}
        run_sql(header_statement(errors), values)
        for table, rules in ROW_RULES:
            run_sql(row_statement(table, rules, errors), values)
        yield errors


def header_statement(errors: WorkTable) -> sql.Composed:
    return HEADER_ERRORS.format(
        errors=errors, rules=rules_as_values(HEADER_RULES), any_broken=any_broken(HEADER_RULES)
    )


def row_statement(table: str, rules: tuple[SaleRule, ...], errors: WorkTable) -> sql.Composed:
    return ROW_ERRORS.format(
        errors=errors,
        table=sql.Identifier(table),
        rules=rules_as_values(rules),
        any_broken=any_broken(rules),
    )


def write_errors(sales: Sequence[int], errors: WorkTable) -> None:
    """Replace the saved errors of the sales. A run that finds the same errors writes no rows."""
    run_sql(
        """DELETE FROM transaction_error old
            WHERE old.transaction_id = ANY(%s) AND NOT EXISTS (
                  SELECT FROM {errors} new
                   WHERE (new.transaction_id, new.rule, new.field, new.expected, new.found)
                       = (old.transaction_id, old.rule, old.field, old.expected, old.found)
                     AND new.line_number IS NOT DISTINCT FROM old.line_number)""",
        [list(sales)],
        errors=errors,
    )
    run_sql(
        """INSERT INTO transaction_error (transaction_id, rule, field, line_number, expected,
                                          found)
           SELECT * FROM {errors} ON CONFLICT DO NOTHING""",
        errors=errors,
    )


def any_broken(rules: tuple[SaleRule, ...]) -> sql.SQL:
    return sql.SQL(" OR ".join(f"({rule.broken})" for rule in rules))


def rules_as_values(rules: tuple[SaleRule, ...]) -> sql.SQL:
    """Return the rows of a VALUES list: code, field, is_broken, expected and found of each rule."""
    return sql.SQL(
        ", ".join(
            f"('{rule.code}', '{rule.field}', {rule.broken}, {rule.expected}, {rule.found})"
            for rule in rules
        )
    )
