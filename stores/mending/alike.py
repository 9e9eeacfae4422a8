"""Correct all transactions that failed alike with one correction, set-based, a portion at a time.

The lease counts as for one transaction: what somebody else is correcting, or a job holds, is left
as it is and counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import connection, models, transaction
from psycopg2 import sql

from stores.mending.again import judge_again
from stores.mending.one import HEADER_FIELDS, LINE_FIELDS, PAYMENT_FIELDS, end_leases
from stores.models import (
    Channel,
    FailedSale,
    RetailTransaction,
    RetailTransactionLine,
    RetailTransactionPayment,
)
from stores.models.failed import FailedSaleQuerySet, SaleCause
from stores.pipeline.bulk import fetch, run_sql
from stores.pipeline.buyers import claim_sales
from stores.pipeline.kinds import ADDRESS
from stores.pipeline.validate import HEADER, SALE_RULES

# Transactions that one database transaction corrects, and that one request does.
PORTION, MOST_AT_ONCE = 1_000, 10_000
BUYER = ("async_account", "account_number")
DELIVERY = ("delivery_address_id", "delivery_mode")
# Where a field of a part stands, and which a person may change there.
PARTS: dict[str, tuple[type[models.Model], str, tuple[str, ...]]] = {
    "header": (RetailTransaction, "id", HEADER_FIELDS),
    "line": (RetailTransactionLine, "transaction_id", LINE_FIELDS),
    "payment": (RetailTransactionPayment, "transaction_id", PAYMENT_FIELDS),
}
# Facts that an order states of itself; all others are about its customer's or address's own row.
OF_THE_SALE = {rule.code for rule in HEADER} | {"address_missing", "address_of_another"}


class Expected:
    """Stands for the value that the broken rule expects, of each transaction its own."""


@dataclass(frozen=True)
class Scope:
    """Which of the transactions that failed alike are meant."""

    channel: Channel | None = None
    business_date: date | None = None
    # The greatest id that the person has seen counted; what has failed since is left.
    upto: int | None = None

    def of(self, cause: SaleCause) -> FailedSaleQuerySet:
        """What failed alike, as far as it is meant."""
        wanted = {
            "channel": self.channel,
            "business_date": self.business_date,
            "transaction__lte": self.upto,
        }
        meant = {name: value for name, value in wanted.items() if value is not None}
        return FailedSale.objects.with_cause(cause).filter(**meant)


@dataclass
class Mended:
    """What became of the transactions that failed alike."""

    corrected: int = 0
    # Of the corrected ones: they break a rule all the same.
    broken: int = 0
    # Somebody else corrects them, or a job holds them.
    skipped: int = 0
    # They have these values already.
    unchanged: int = 0


def fields_of(cause: SaleCause) -> tuple[str, ...]:
    """What can be corrected alike in transactions with this cause; maybe nothing."""
    _, _, allowed = PARTS[cause.part]
    if cause.part == "header" and cause.reason not in OF_THE_SALE:
        return DELIVERY if cause.field in ADDRESS.columns else BUYER
    if cause.field in (*BUYER, "customer"):
        return BUYER
    if cause.field in DELIVERY:
        return DELIVERY
    return (cause.field,) if cause.field in allowed else ()


def model_of(cause: SaleCause) -> type[models.Model]:
    """Where the field of a cause stands."""
    return PARTS[cause.part][0]


def has_expected(cause: SaleCause) -> bool:
    """Whether the broken rule itself says what the field should hold."""
    return any(
        rule.says_value and (rule.code, rule.field) == (cause.reason, cause.field)
        for rule in SALE_RULES
    )


def mend_alike(
    cause: SaleCause, scope: Scope, user: Any, reason: str, values: Mapping[str, Any]
) -> Mended:
    """Write the values, or those that the rule expects, wherever transactions failed alike.

    Effects: transactions, lines or payments, one kept change for each value, validation anew; a
    database transaction for each portion.
    """
    done, beyond, seen = Mended(), 0, 0
    while seen < MOST_AT_ONCE:
        meant = scope.of(cause).filter(transaction__gt=beyond).order_by("transaction")
        ids = list(meant.values_list("transaction_id", flat=True).distinct()[:PORTION])
        if not ids:
            break
        with transaction.atomic():
            mend_portion(cause, ids, user, reason, values, done)
        beyond, seen = ids[-1], seen + len(ids)
    return done


def mend_portion(
    cause: SaleCause,
    ids: list[int],
    user: Any,
    reason: str,
    values: Mapping[str, Any],
    done: Mended,
) -> None:
    """Correct those of the transactions that nobody holds, and count all."""
    claimed = claim_sales(
        "t.id = ANY(%(ids)s) AND t.statement_id IS NULL",
        {"ids": ids},
        limit=PORTION,
        by=user.pk,
    )
    run_sql(
        """CREATE TEMP TABLE flawed ON COMMIT DROP AS
           SELECT f.transaction_id AS sale, f.line_number, f.expected
             FROM failed_sale f JOIN sale ON sale.id = f.transaction_id
            WHERE (f.reason, f.field, f.part) = (%s, %s, %s)""",
        [cause.reason, cause.field, cause.part],
    )
    run_sql("CREATE TEMP TABLE mended (id bigint PRIMARY KEY) ON COMMIT DROP")
    for name, value in values.items():
        write(cause.part, name, value, user, reason)
    corrected = [id for (id,) in fetch("SELECT id FROM mended ORDER BY id")]
    run_sql("DROP TABLE flawed, mended")
    end_leases(RetailTransaction.objects.filter(pk__in=corrected))
    done.corrected += len(corrected)
    done.broken += judge_again(corrected) if corrected else 0
    done.unchanged += claimed - len(corrected)
    done.skipped += len(ids) - claimed


def write(part: str, name: str, value: Any, user: Any, reason: str) -> None:
    """Write one value into all flawed rows that hold another, and keep both.

    Effects: the part's table, transaction_change and table mended.
    """
    model, key, _ = PARTS[part]
    kind = str(model._meta.get_field(name).db_type(connection))
    new = "nullif(expected, '')" if value is Expected else "%(new)s"
    own_line = "" if part == "header" else "AND p.line_number = f.line_number"
    run_sql(
        sql.SQL(
            """WITH wanted AS (
                 SELECT DISTINCT sale, line_number, {new}::{kind} AS new FROM flawed),
               found AS (
                 SELECT f.sale, f.line_number, p.{name} AS old, f.new
                   FROM wanted f JOIN {table} p ON p.{key} = f.sale {own_line}
                  WHERE p.{name} IS DISTINCT FROM f.new AND (f.new IS NOT NULL OR {clears})),
               kept AS (
                 INSERT INTO transaction_change (transaction_id, line_number, field, old, new,
                                                 reason, changed_by_id)
                 SELECT sale, line_number, %(name)s, old::text, new::text, %(reason)s, %(user)s
                   FROM found),
               written AS (
                 UPDATE {table} p SET {name} = f.new FROM found f
                  WHERE p.{key} = f.sale {own_line} RETURNING f.sale)
               INSERT INTO mended SELECT DISTINCT sale FROM written ON CONFLICT DO NOTHING"""
        ).format(
            new=sql.SQL(new),
            kind=sql.SQL(kind),
            name=sql.Identifier(name),
            table=sql.Identifier(model._meta.db_table),
            key=sql.Identifier(key),
            own_line=sql.SQL(own_line),
            clears=sql.SQL("true" if value is None else "false"),
        ),
        {
            "new": None if value is Expected or value is None else str(value),
            "name": name,
            "reason": reason,
            "user": user.pk,
        },
    )
