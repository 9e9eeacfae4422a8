"""Correct all transactions that failed alike with one correction, set-based, a portion at a time.

Nothing is written into a transaction that would break the same rule all the same. The lease counts
as for one transaction: what somebody else is correcting, or a job holds, is left and counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, models, transaction
from psycopg2 import sql

from stores.hqdb.sql import batched, fetch, run_sql
from stores.models import (
    Channel,
    FailedSale,
    RetailTransaction,
    RetailTransactionLine,
    RetailTransactionPayment,
    TransactionChange,
)
from stores.models.failed_sale import FailedSaleQuerySet, SaleCause
from stores.models.transaction import ValidationStatus
from stores.pipeline.corrections.revalidate import judge_again, still_unright
from stores.pipeline.corrections.sale import (
    HEADER_FIELDS,
    LINE_FIELDS,
    PAYMENT_FIELDS,
    PREPAID_FIELDS,
    end_leases,
    forget_refusals,
)
from stores.pipeline.events.kinds import ADDRESS
from stores.pipeline.sales.claims import claim_sales
from stores.pipeline.sales.rules import HEADER, SALE_RULES

# Transactions that one database transaction corrects, and that one request does; and examples told.
PORTION, MOST_AT_ONCE, EXAMPLES = 1_000, 10_000, 20
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

    # What the changes are kept under, to be undone together.
    correction: UUID = field(default_factory=uuid4)
    corrected: int = 0
    # Of the corrected ones: they break no rule any more.
    right: int = 0
    # Of the corrected ones: they break some other rule.
    erring: int = 0
    # What these break now, and how many do.
    breaks: Counter[SaleCause] = field(default_factory=Counter)
    # They would break the same rule all the same, or another one in the same field.
    refused: int = 0
    # Somebody else corrects them, or a job holds them.
    skipped: int = 0
    # They have these values already.
    unchanged: int = 0
    # The first changes: transaction, line, field, old and new value.
    examples: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def broken(self) -> list[tuple[SaleCause, int]]:
        """What they break now, the most frequent first."""
        return self.breaks.most_common()

    @property
    def waiting(self) -> int:
        """Of the corrected ones: the next run judges them, once their customer is converted."""
        return self.corrected - self.right - self.erring


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
    cause: SaleCause,
    scope: Scope,
    user: Any,
    reason: str,
    values: Mapping[str, Any],
    *,
    rehearse: bool = False,
) -> Mended:
    """Write the values, or those that the rule expects, wherever transactions failed alike.

    Where the rule would be broken all the same nothing is written. Effects: transactions, lines or
    payments, one kept change for each value, validation anew; a database transaction for each
    portion. A rehearsal only says what would become of them.
    """
    done, beyond, seen = Mended(), 0, 0
    while seen < MOST_AT_ONCE:
        meant = scope.of(cause).filter(transaction__gt=beyond).order_by("transaction")
        ids = list(meant.values_list("transaction_id", flat=True).distinct()[:PORTION])
        if not ids:
            break
        with transaction.atomic():
            mend_portion(cause, ids, user, reason, values, done)
            transaction.set_rollback(rehearse)
        beyond, seen = ids[-1], seen + len(ids)
    return done


def try_again(cause: SaleCause, scope: Scope, user: Any) -> Mended:
    """Give transactions that the database had refused back to the jobs as they are.

    Whatever refused them may be mended. Effects: as those of let_go(), a portion a transaction.
    """
    done = Mended()
    meant = scope.of(cause).order_by("transaction").values_list("transaction", flat=True)
    for ids in batched(list(meant.distinct()[:MOST_AT_ONCE]), PORTION):
        with transaction.atomic():
            claim_sales(
                "t.id = ANY(%(ids)s) AND t.statement_id IS NULL",
                {"ids": ids},
                limit=PORTION,
                by=user.pk,
            )
            free = [sale for (sale,) in fetch("SELECT id FROM sale")]
            done.unchanged += forget_refusals(free)
            done.skipped += len(ids) - len(free)
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
        """t.id = ANY(%(ids)s) AND t.statement_id IS NULL
           AND (t.prepayment_statement_id IS NULL OR %(is_free)s)""",
        {
            "ids": ids,
            "is_free": cause.part != "payment" and values.keys().isdisjoint(PREPAID_FIELDS),
        },
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
    run_sql(
        """CREATE TEMP TABLE broken_before ON COMMIT DROP AS
           SELECT e.transaction_id, e.rule, e.field, e.line_number
             FROM transaction_error e JOIN sale ON sale.id = e.transaction_id"""
    )
    corrected, refused = write_and_judge(cause, user, reason, values, done.correction)
    if refused:
        run_sql("DELETE FROM flawed WHERE sale = ANY(%s)", [refused])
        corrected, _ = write_and_judge(cause, user, reason, values, done.correction, is_sure=True)
    run_sql("DROP TABLE flawed, broken_before")
    count(corrected, done)
    done.refused += len(refused)
    done.unchanged += claimed - len(corrected) - len(refused)
    done.skipped += len(ids) - claimed


class Unright(Exception):
    """Some transactions would break the same rule all the same."""

    def __init__(self, sales: Sequence[int]) -> None:
        super().__init__(f"{len(sales)} transactions")
        self.sales = sales


def refuse_unright(sales: Sequence[int]) -> None:
    """Errors: Unright if there is any."""
    if sales:
        raise Unright(sales)


def write_and_judge(
    cause: SaleCause,
    user: Any,
    reason: str,
    values: Mapping[str, Any],
    correction: UUID,
    *,
    is_sure: bool = False,
) -> tuple[list[int], Sequence[int]]:
    """Write the values into table flawed's rows. Returns the corrected and the refused sales.

    If there is one to be refused, nothing is written at all, unless it is known to be right.
    """
    corrected: list[int] = []
    try:
        with transaction.atomic():
            run_sql("CREATE TEMP TABLE mended (id bigint PRIMARY KEY) ON COMMIT DROP")
            for name, value in values.items():
                write(cause.part, name, value, user, reason, correction)
            corrected = [id for (id,) in fetch("SELECT id FROM mended ORDER BY id")]
            run_sql("DROP TABLE mended")
            end_leases(RetailTransaction.objects.filter(pk__in=corrected))
            if corrected:
                judge_again(corrected)
            if corrected and not is_sure:
                refuse_unright(still_unright(cause, corrected, list(values)))
    except Unright as found:
        return [], found.sales
    return corrected, []


def count(corrected: Sequence[int], done: Mended) -> None:
    """Count what became of corrected transactions."""
    done.corrected += len(corrected)
    judged = RetailTransaction.objects.filter(pk__in=corrected)
    done.right += judged.filter(validation_status=ValidationStatus.SUCCESSFUL).count()
    done.erring += judged.filter(validation_status=ValidationStatus.ERROR).count()
    broken = FailedSale.objects.filter(transaction__in=corrected).by_cause()
    for row in broken:
        done.breaks[SaleCause(row["reason"], row["field"], row["part"])] += row["sales"]
    if len(done.examples) < EXAMPLES:
        changes = TransactionChange.objects.filter(correction=done.correction).order_by("id")
        done.examples += changes.values_list(
            "transaction__transaction_id", "line_number", "field", "old", "new"
        )[: EXAMPLES - len(done.examples)]


def write(
    part: str, name: str, value: Any, user: Any, reason: str, correction: UUID | None
) -> None:
    """Write one value into all flawed rows that hold another, and keep both."""
    wanted = sql.SQL("""SELECT DISTINCT sale, line_number, {}::{} AS new FROM flawed""").format(
        sql.SQL("nullif(expected, '')" if value is Expected else "%(new)s"), kind_of(part, name)
    )
    new = None if value is Expected or value is None else str(value)
    clears = sql.SQL("f.new IS NOT NULL OR {}").format(sql.SQL(str(value is None).lower()))
    replace(part, name, wanted, clears, {"new": new}, user, reason, correction)


def kind_of(part: str, name: str) -> sql.SQL:
    """PostgreSQL's type of a field."""
    model, _, _ = PARTS[part]
    return sql.SQL(str(model._meta.get_field(name).db_type(connection)))


def replace(
    part: str,
    name: str,
    wanted: sql.Composable,
    condition: sql.Composable,
    values: Mapping[str, Any],
    user: Any,
    reason: str,
    correction: UUID | None,
) -> None:
    """Write a field of one part, row by row what is wanted, where a condition holds; keep both.

    Shape: `wanted` yields sale, line_number and new; in the condition they are `f`, the row is `p`.
    Effects: the part's table, transaction_change and table mended.
    """
    model, key, _ = PARTS[part]
    own_line = "" if part == "header" else "AND p.line_number = f.line_number"
    run_sql(
        sql.SQL(
            """WITH wanted AS ({wanted}),
               found AS (
                 SELECT f.sale, f.line_number, p.{name} AS old, f.new
                   FROM wanted f JOIN {table} p ON p.{key} = f.sale {own_line}
                  WHERE p.{name} IS DISTINCT FROM f.new AND ({condition})),
               kept AS (
                 INSERT INTO transaction_change (transaction_id, line_number, field, old, new,
                                                 reason, changed_by_id, correction)
                 SELECT sale, line_number, %(name)s, old::text, new::text, %(reason)s, %(user)s,
                        %(correction)s
                   FROM found),
               written AS (
                 UPDATE {table} p SET {name} = f.new FROM found f
                  WHERE p.{key} = f.sale {own_line} RETURNING f.sale)
               INSERT INTO mended SELECT DISTINCT sale FROM written ON CONFLICT DO NOTHING"""
        ).format(
            wanted=wanted,
            condition=condition,
            name=sql.Identifier(name),
            table=sql.Identifier(model._meta.db_table),
            key=sql.Identifier(key),
            own_line=sql.SQL(own_line),
        ),
        {
            **values,
            "name": name,
            "reason": reason,
            "user": user.pk,
            "correction": str(correction) if correction else None,
        },
    )


def undo_alike(correction: UUID, user: Any, reason: str) -> tuple[int, int]:
    """Take a correction back wherever nobody has posted or changed it since.

    Returns how many transactions have their old values again, and how many are left as they are.
    Effects: as of mend_alike.
    """
    undone = left = beyond = 0
    changes = TransactionChange.objects.filter(correction=correction)
    while True:
        meant = changes.filter(transaction__gt=beyond).order_by("transaction")
        ids = list(meant.values_list("transaction_id", flat=True).distinct()[:PORTION])
        if not ids:
            return undone, left
        with transaction.atomic():
            mended = undo_portion(correction, ids, user, reason)
        undone, left, beyond = undone + len(mended), left + len(ids) - len(mended), ids[-1]


def undo_portion(correction: UUID, ids: list[int], user: Any, reason: str) -> list[int]:
    """Write the old values into those that nobody holds. Returns which."""
    claim_sales(
        "t.id = ANY(%(ids)s) AND t.statement_id IS NULL",
        {"ids": ids},
        limit=PORTION,
        by=user.pk,
    )
    run_sql("CREATE TEMP TABLE mended (id bigint PRIMARY KEY) ON COMMIT DROP")
    changes = TransactionChange.objects.filter(correction=correction, transaction__in=ids)
    in_header = models.ExpressionWrapper(models.Q(line_number=None), models.BooleanField())
    for name, is_header in set(changes.values_list("field", in_header)):
        part = "header" if is_header else "payment" if name in PAYMENT_FIELDS else "line"
        wanted = sql.SQL(
            """SELECT c.transaction_id AS sale, c.line_number, c.old::{kind} AS new,
                      c.new::{kind} AS was
                 FROM transaction_change c JOIN sale ON sale.id = c.transaction_id
                WHERE c.correction = %(of)s AND c.field = %(name)s"""
        ).format(kind=kind_of(part, name))
        unchanged = sql.SQL("p.{} IS NOT DISTINCT FROM f.was").format(sql.Identifier(name))
        replace(part, name, wanted, unchanged, {"of": str(correction)}, user, reason, None)
    mended = [id for (id,) in fetch("SELECT id FROM mended ORDER BY id")]
    run_sql("DROP TABLE mended")
    end_leases(RetailTransaction.objects.filter(pk__in=mended))
    if mended:
        judge_again(mended)
    return mended
