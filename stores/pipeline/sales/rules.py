"""Validate store transactions: every rule that the columns of a document can decide.

A rule is data: what it is called, where it looks, and SQL that says whether it is broken. The
customer's rule comes after conversion, never before. Source: domain 2.11, features V.1 to V.29;
signs: contract 3.1.
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
    """One rule: SQL that is true when it is broken, and what was expected and found.

    `says_value`: what it expects is what the field should hold.
    """

    code: str
    field: str
    broken: str
    expected: str = "NULL::text"
    found: str = "NULL::text"
    says_value: bool = False


def equals_sum(code: str, field: str, expected: str) -> SaleRule:
    """A rule that an amount of the header is what its lines or payments come to."""
    return SaleRule(
        code, field, f"t.{field} <> {expected}", f"({expected})::text", f"t.{field}::text", True
    )


def rounded(*columns: str, of: str) -> tuple[SaleRule, ...]:
    """Rules that amounts have no more places than their currency's smallest unit."""
    return tuple(
        SaleRule(
            "not_rounded",
            column,
            f"{of}.{column} <> round({of}.{column}, currency_places(t.currency))",
            f"round({of}.{column}, currency_places(t.currency))::text",
            f"{of}.{column}::text",
            True,
        )
        for column in columns
    )


# V.1: the customer exists in HQ, as one and the same under GUID and account number.
NAMES_TWO = """EXISTS (SELECT FROM guid_map m JOIN customer k USING (company_id)
                        WHERE m.company_id = t.company_id AND m.async_account = t.async_account
                          AND k.account_number = t.account_number AND m.customer_id <> k.id)"""
CUSTOMER_RULES = (
    SaleRule("identity_mismatch", "account_number", f"t.customer_id IS NULL AND {NAMES_TWO}"),
    SaleRule(
        "customer_unknown",
        "async_account",
        "t.async_account IS NOT NULL AND t.customer_id IS NULL AND t.account_number IS NULL",
    ),
    SaleRule(
        "customer_unknown",
        "account_number",
        f"t.account_number IS NOT NULL AND t.customer_id IS NULL AND NOT {NAMES_TWO}",
    ),
    SaleRule(
        "customer_not_active",
        "customer",
        "EXISTS (SELECT FROM customer k WHERE k.id = t.customer_id AND k.state <> 'active')",
    ),
)
# A customer order with money and nothing ordered: an instalment, or a deposit given back.
IS_FOR_ORDER = "(t.transaction_type = 'customer_order' AND t.payment_amount <> 0)"
HEADER_RULES = (
    *CUSTOMER_RULES,
    # V.2: the day lies in an open period, and is one that a till can have meant.
    SaleRule("period_closed", "business_date", "t.business_date <= c.closed_until"),
    SaleRule(
        "business_date_far",
        "business_date",
        # Far from today as well: the clock of HQ may have been wrong when the sale arrived.
        """t.business_date NOT BETWEEN t.staged_at::date - 366 AND t.staged_at::date + 2
           AND t.business_date NOT BETWEEN current_date - 366 AND current_date + 2""",
    ),
    # V.3: no more places than the currency has.
    *rounded(
        "net_amount", "tax_amount", "gross_amount", "discount_amount", "payment_amount", of="t"
    ),
    # V.4, V.6 to V.10: the header is what its rows come to.
    equals_sum("discount_differs", "discount_amount", "coalesce(l.discount_amount, 0)"),
    equals_sum("net_differs", "net_amount", "coalesce(l.net_amount, 0)"),
    equals_sum("tax_differs", "tax_amount", "coalesce(l.tax_amount, 0)"),
    equals_sum("gross_differs", "gross_amount", "(t.net_amount + t.tax_amount)"),
    equals_sum("line_count_differs", "line_count", "coalesce(l.lines, 0)"),
    equals_sum("payment_differs", "payment_amount", "coalesce(p.amount, 0)"),
    # V.13: something was sold; later money for an order, or money back, is an order of nothing.
    SaleRule("nothing_sold", "line_count", f"coalesce(l.sold, 0) = 0 AND NOT {IS_FOR_ORDER}"),
    # V.28: an exchange is a sale with returned lines; where nothing else was sold, it is a return.
    SaleRule("only_returned", "transaction_type", "t.transaction_type = 'sale' AND l.most <= 0"),
    SaleRule(
        "sign_wrong",
        "payment_amount",
        "t.transaction_type = 'customer_order' AND l.sold > 0 AND t.payment_amount < 0",
        "NULL",
        "t.payment_amount::text",
    ),
    # Of such an order nobody could say whether its drawers have been posted.
    SaleRule(
        "nothing_paid",
        "payment_amount",
        "t.transaction_type = 'customer_order' AND p.paid > 0 AND p.amount = 0",
    ),
    # V.14: paid, within what is allowed; an order may be paid later, but never twice.
    SaleRule(
        "not_paid",
        "payment_amount",
        """CASE WHEN t.payment_amount = t.gross_amount THEN false
           WHEN t.transaction_type = 'customer_order'
                AND (t.payment_amount < t.gross_amount OR l.sold = 0) THEN false
           ELSE abs(t.gross_amount - t.payment_amount)
                > (SELECT greatest(rounding, tolerance) FROM allowed_difference(t.id)) END""",
        "t.gross_amount::text",
        "t.payment_amount::text",
    ),
)
# What a line comes to before its discount, and the currency's smallest unit: no way of rounding is
# a whole unit off.
EXTENDED_PRICE = "(l.quantity * l.price)"
DISCOUNTED_PRICE = f"({EXTENDED_PRICE} - coalesce(l.discount_amount, 0))"
CURRENCY_UNIT = "power(10::numeric, -currency_places(t.currency))"
LINE_IS_LIVE = "NOT coalesce(l.is_voided, false)"


def card_number_rule(column: str) -> SaleRule:
    """A rule that no card's number stands in a text; what was found is not told."""
    return SaleRule(
        "card_number",
        column,
        f"char_length(l.{column}) > 13 AND l.{column} ~ '[0-9]([ -]?[0-9]){{13}}'"
        f" AND holds_card_number(l.{column})",
    )


LINE_RULES = (
    card_number_rule("description"),
    SaleRule("item_missing", "item_id", "coalesce(normalize_key(l.item_id), '') = ''"),
    *(
        SaleRule("value_missing", column, f"l.{column} IS NULL")
        for column in ("quantity", "price", "net_amount", "tax_amount")
    ),
    *rounded("net_amount", "tax_amount", "discount_amount", of="l"),
    # V.21 and V.24.
    SaleRule("price_negative", "price", "l.price < 0", "NULL", "l.price::text"),
    *(
        SaleRule(
            "signs_differ",
            column,
            f"sign(l.quantity) * sign(l.{column}) < 0",
            "l.quantity::text",
            f"l.{column}::text",
        )
        for column in ("net_amount", "discount_amount", "tax_amount")
    ),
    # V.28: what comes back is negative, in a return alone and in an order never.
    SaleRule(
        "sign_wrong",
        "quantity",
        f"""{LINE_IS_LIVE} AND CASE t.transaction_type WHEN 'return' THEN l.quantity > 0
                       WHEN 'customer_order' THEN l.quantity < 0 ELSE false END""",
        "NULL",
        "l.quantity::text",
    ),
    # V.29.
    SaleRule(
        "line_differs",
        "net_amount",
        f"""{LINE_IS_LIVE} AND l.net_amount <> {DISCOUNTED_PRICE}
            AND abs(l.net_amount - {DISCOUNTED_PRICE}) >= {CURRENCY_UNIT}""",
        f"round({DISCOUNTED_PRICE}, currency_places(t.currency))::text",
        "l.net_amount::text",
    ),
    *(
        SaleRule(
            "more_than_price",
            column,
            f"""{LINE_IS_LIVE} AND abs(l.{column}) > abs({EXTENDED_PRICE})
                AND abs(l.{column}) - abs({EXTENDED_PRICE}) >= {CURRENCY_UNIT}""",
            f"{EXTENDED_PRICE}::text",
            f"l.{column}::text",
        )
        for column in ("discount_amount", "tax_amount")
    ),
)
PAYMENT_RULES = (
    card_number_rule("tender_type"),
    *rounded("amount", of="l"),
    # V.28: change is given back in a sale, in a return all is.
    SaleRule(
        "sign_wrong",
        "amount",
        "t.transaction_type = 'return' AND l.amount > 0",
        "NULL",
        "l.amount::text",
    ),
    # Without a rate an amount in another currency cannot be added.
    SaleRule(
        "payment_currency", "currency", "l.currency <> t.currency", "t.currency", "l.currency", True
    ),
)
ROW_RULES = (
    ("retail_transaction_line", LINE_RULES),
    ("retail_transaction_payment", PAYMENT_RULES),
)
SALE_RULES = (*HEADER_RULES, *LINE_RULES, *PAYMENT_RULES)


def check_sales(sales: Sequence[int]) -> tuple[int, int]:
    """Hold the rules against the sales. Returns how many changed status, and are in error.

    Effects: their status, time and errors, in the caller's transaction.
    """
    with errors_of(sales) as errors:
        write_errors(sales, errors)
    changed, failed = fetch_one(
        """WITH judged AS (
             SELECT t.id, t.validation_status AS before, CASE
                    WHEN EXISTS (SELECT FROM transaction_error e WHERE e.transaction_id = t.id)
                    THEN 'error' ELSE 'successful' END AS after
               FROM retail_transaction t WHERE t.id = ANY(%s)),
           written AS (
             UPDATE retail_transaction t SET validated_at = now(), validation_status = j.after
               FROM judged j WHERE j.id = t.id RETURNING j.before, j.after)
           SELECT count(*) FILTER (WHERE before <> after), count(*) FILTER (WHERE after = 'error')
             FROM written""",
        [list(sales)],
    )
    return int(changed), int(failed)


@contextmanager
def errors_of(sales: Sequence[int]) -> Iterator[WorkTable]:
    """Every rule that one of the sales breaks, in header, lines and payments.

    Shape: as ERROR_COLUMNS says.
    """
    with empty_table("found_error", ERROR_COLUMNS) as errors:
        values = {"sales": list(sales)}
        run_sql(header_statement(errors), values)
        for table, rules in ROW_RULES:
            run_sql(row_statement(table, rules, errors), values)
        yield errors


def header_statement(errors: WorkTable) -> sql.Composed:
    return HEADER_ERRORS.format(
        errors=errors.identifier,
        rules=rules_as_values(HEADER_RULES),
        any_broken=any_broken(HEADER_RULES),
    )


def row_statement(table: str, rules: tuple[SaleRule, ...], errors: WorkTable) -> sql.Composed:
    return ROW_ERRORS.format(
        errors=errors.identifier,
        table=sql.Identifier(table),
        rules=rules_as_values(rules),
        any_broken=any_broken(rules),
    )


def write_errors(sales: Sequence[int], errors: WorkTable) -> None:
    """Have transaction_error hold what was found of the sales, and nothing else.

    A sale that is in error as before keeps its rows: a run with nothing to do writes none.
    """
    run_sql(
        sql.SQL(
            """DELETE FROM transaction_error e
                WHERE e.transaction_id = ANY(%s) AND NOT EXISTS (
                      SELECT FROM {errors} f
                       WHERE (f.transaction_id, f.rule, f.field, f.expected, f.found)
                           = (e.transaction_id, e.rule, e.field, e.expected, e.found)
                         AND f.line_number IS NOT DISTINCT FROM e.line_number)"""
        ).format(errors=errors.identifier),
        [list(sales)],
    )
    run_sql(
        sql.SQL(
            """INSERT INTO transaction_error (transaction_id, rule, field, line_number, expected,
                                              found)
               SELECT * FROM {errors} ON CONFLICT DO NOTHING"""
        ).format(errors=errors.identifier)
    )


def any_broken(rules: tuple[SaleRule, ...]) -> sql.SQL:
    """SQL that is true of a row that breaks one."""
    return sql.SQL(" OR ".join(f"({rule.broken})" for rule in rules))


def rules_as_values(rules: tuple[SaleRule, ...]) -> sql.SQL:
    return sql.SQL(
        ", ".join(
            f"('{rule.code}', '{rule.field}', {rule.broken}, {rule.expected}, {rule.found})"
            for rule in rules
        )
    )
