"""Correct all transactions that failed alike with one correction, set-based, a portion at a time.

Nothing is written into a transaction that would break the same rule all the same. The lease counts
as for one transaction: what somebody else is correcting, or a job holds, is left and counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, models, transaction
from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import batched, fetch, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import (
    Channel,
    FailedSale,
    RetailTransaction,
    RetailTransactionLine,
    RetailTransactionPayment,
    TransactionChange,
)
from stores.models.failed_sale import FailedSaleQuerySet, SaleCause
from stores.models.transaction import BEING_CORRECTED, ValidationStatus
from stores.pipeline.corrections.revalidate import revalidate, still_failing
from stores.pipeline.corrections.sale import (
    HEADER_FIELDS,
    LINE_FIELDS,
    PAYMENT_FIELDS,
    PREPAID_FIELDS,
    clear_refusals,
    end_leases,
)
from stores.pipeline.events.kinds import ADDRESS
from stores.pipeline.sales.claims import lock_sales
from stores.pipeline.sales.rules import HEADER_RULES, SALE_RULES

LOCK_SALES = load(__file__, "lock_sales_to_correct").format(
    being_corrected=sql.SQL(BEING_CORRECTED)
)
REPLACE_VALUES = load(__file__, "replace_values")
CORRECTED_VALUES = load(__file__, "_corrected_values")
REPLACED_VALUES = load(__file__, "_replaced_values")
# No rule expects an empty field; a person may want one.
IS_WANTED = sql.SQL("f.new IS NOT NULL OR %(clears)s")
# Transactions that one database transaction corrects, and that one request does; and examples told.
BATCH_SIZE, MAX_TRANSACTIONS, MAX_EXAMPLES = 1_000, 10_000, 20
CUSTOMER_FIELDS = ("async_account", "account_number")
DELIVERY_FIELDS = ("delivery_address_id", "delivery_mode")
# Where a field of a part stands, and which a person may change there.
CORRECTABLE_PARTS: dict[str, tuple[type[models.Model], str, tuple[str, ...]]] = {
    "header": (RetailTransaction, "id", HEADER_FIELDS),
    "line": (RetailTransactionLine, "transaction_id", LINE_FIELDS),
    "payment": (RetailTransactionPayment, "transaction_id", PAYMENT_FIELDS),
}
# Facts that an order states of itself; all others are about its customer's or address's own row.
SALE_LEVEL_CODES = {rule.code for rule in HEADER_RULES} | {"address_missing", "address_of_another"}


class ExpectedValue:
    """Stands for the value that the broken rule expects, of each transaction its own."""


@dataclass(frozen=True)
class CorrectionScope:
    channel: Channel | None = None
    business_date: date | None = None
    # The greatest id that the person has seen counted; what has failed since is left.
    upto: int | None = None

    def of(self, cause: SaleCause) -> FailedSaleQuerySet:
        filters = {
            "channel": self.channel,
            "business_date": self.business_date,
            "transaction__lte": self.upto,
        }
        sales = {name: value for name, value in filters.items() if value is not None}
        return FailedSale.objects.with_cause(cause).filter(**sales)


@dataclass
class CorrectionResult:
    # What the changes are kept under, to be undone together.
    correction: UUID = field(default_factory=uuid4)
    corrected: int = 0
    # Of the corrected ones: they break no rule any more.
    valid: int = 0
    # Of the corrected ones: they break some other rule.
    invalid: int = 0
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
        return self.corrected - self.valid - self.invalid


def correctable_fields(cause: SaleCause) -> tuple[str, ...]:
    """What can be corrected alike in transactions with this cause; maybe nothing."""
    _, _, allowed = CORRECTABLE_PARTS[cause.part]
    if cause.part == "header" and cause.reason not in SALE_LEVEL_CODES:
        return DELIVERY_FIELDS if cause.field in ADDRESS.columns else CUSTOMER_FIELDS
    if cause.field in (*CUSTOMER_FIELDS, "customer"):
        return CUSTOMER_FIELDS
    if cause.field in DELIVERY_FIELDS:
        return DELIVERY_FIELDS
    return (cause.field,) if cause.field in allowed else ()


def model_of_cause(cause: SaleCause) -> type[models.Model]:
    return CORRECTABLE_PARTS[cause.part][0]


def has_expected(cause: SaleCause) -> bool:
    """Whether the broken rule itself says what the field should hold."""
    return any(
        rule.says_value and (rule.code, rule.field) == (cause.reason, cause.field)
        for rule in SALE_RULES
    )


def correct_all(
    cause: SaleCause,
    scope: CorrectionScope,
    user: Any,
    reason: str,
    values: Mapping[str, Any],
    *,
    preview: bool = False,
) -> CorrectionResult:
    """Write the values, or those that the rule expects, wherever transactions failed alike.

    Where the rule would be broken all the same nothing is written. Effects: transactions, lines or
    payments, one kept change for each value, validation anew; a database transaction for each
    portion. A preview only says what would become of them.
    """
    done, beyond, seen = CorrectionResult(), 0, 0
    while seen < MAX_TRANSACTIONS:
        sales = scope.of(cause).filter(transaction__gt=beyond).order_by("transaction")
        ids = list(sales.values_list("transaction_id", flat=True).distinct()[:BATCH_SIZE])
        if not ids:
            break
        with transaction.atomic():
            correct_batch(cause, ids, user, reason, values, done)
            transaction.set_rollback(preview)
        beyond, seen = ids[-1], seen + len(ids)
    return done


def retry_refused(cause: SaleCause, scope: CorrectionScope, user: Any) -> CorrectionResult:
    """Give transactions that the database had refused back to the jobs as they are.

    Whatever refused them may be mended. Effects: as those of let_go(), a portion a transaction.
    """
    done = CorrectionResult()
    sales = scope.of(cause).order_by("transaction").values_list("transaction", flat=True)
    for ids in batched(list(sales.distinct()[:MAX_TRANSACTIONS]), BATCH_SIZE):
        with transaction.atomic():
            free = lock_sales(LOCK_SALES, lock_values(ids, user))
            done.unchanged += clear_refusals(free)
            done.skipped += len(ids) - len(free)
    return done


def lock_values(ids: Sequence[Any], user: Any, *, is_free: bool = True) -> dict[str, object]:
    """What LOCK_SALES needs; a correction that is no `is_free` one may change prepayments."""
    return {"ids": list(ids), "by": user.pk, "is_free": is_free, "limit": BATCH_SIZE}


def correct_batch(
    cause: SaleCause,
    ids: list[int],
    user: Any,
    reason: str,
    values: Mapping[str, Any],
    done: CorrectionResult,
) -> None:
    """Correct those of the transactions that nobody holds, and count all."""
    is_free = cause.part != "payment" and values.keys().isdisjoint(PREPAID_FIELDS)
    locked = lock_sales(LOCK_SALES, lock_values(ids, user, is_free=is_free))
    with (
        query_table(
            "failed_row",
            """SELECT transaction_id AS sale, line_number, expected FROM failed_sale
                WHERE (reason, field, part) = (%s, %s, %s) AND transaction_id = ANY(%s)""",
            [cause.reason, cause.field, cause.part, locked],
        ) as rows,
        query_table(
            "error_before",
            """SELECT transaction_id, rule, field, line_number FROM transaction_error
                WHERE transaction_id = ANY(%s)""",
            [locked],
        ) as before,
    ):
        correction = partial(
            write_and_revalidate, cause, user, reason, values, done.correction, rows, before
        )
        corrected, refused = correction()
        if refused:
            run_sql(
                sql.SQL("DELETE FROM {} WHERE sale = ANY(%s)").format(rows.identifier), [refused]
            )
            corrected, _ = correction(is_sure=True)
    count_results(corrected, done)
    done.refused += len(refused)
    done.unchanged += len(locked) - len(corrected) - len(refused)
    done.skipped += len(ids) - len(locked)


class StillFailing(Exception):
    """Some transactions would break the same rule all the same."""

    def __init__(self, sales: Sequence[int]) -> None:
        super().__init__(f"{len(sales)} transactions")
        self.sales = sales


def refuse_still_failing(sales: Sequence[int]) -> None:
    if sales:
        raise StillFailing(sales)


def write_and_revalidate(
    cause: SaleCause,
    user: Any,
    reason: str,
    values: Mapping[str, Any],
    correction: UUID,
    rows: WorkTable,
    before: WorkTable,
    *,
    is_sure: bool = False,
) -> tuple[list[int], list[int]]:
    """Write the values into the failed rows. Returns the corrected and the refused sales.

    Shape: `rows` have sale, line_number and expected; `before` is that of still_failing().

    If there is one to be refused, nothing is written at all, unless it is known to be right.
    """
    corrected: list[int] = []
    try:
        with transaction.atomic():
            changed: set[int] = set()
            for name, value in values.items():
                changed |= write_value(cause.part, name, value, user, reason, correction, rows)
            corrected = sorted(changed)
            end_leases(RetailTransaction.objects.filter(pk__in=corrected))
            if corrected:
                revalidate(corrected)
            if corrected and not is_sure:
                refuse_still_failing(still_failing(cause, corrected, list(values), before))
    except StillFailing as found:
        return [], list(found.sales)
    return corrected, []


def count_results(corrected: Sequence[int], done: CorrectionResult) -> None:
    done.corrected += len(corrected)
    revalidated = RetailTransaction.objects.filter(pk__in=corrected)
    done.valid += revalidated.filter(validation_status=ValidationStatus.SUCCESSFUL).count()
    done.invalid += revalidated.filter(validation_status=ValidationStatus.ERROR).count()
    broken = FailedSale.objects.filter(transaction__in=corrected).by_cause()
    for row in broken:
        done.breaks[SaleCause.of(row)] += row["sales"]
    if len(done.examples) < MAX_EXAMPLES:
        changes = TransactionChange.objects.filter(correction=done.correction).order_by("id")
        done.examples += changes.values_list(
            "transaction__transaction_id", "line_number", "field", "old", "new"
        )[: MAX_EXAMPLES - len(done.examples)]


def write_value(
    part: str,
    name: str,
    value: Any,
    user: Any,
    reason: str,
    correction: UUID | None,
    rows: WorkTable,
) -> set[int]:
    """Write one value into all failed rows that hold another, and keep both. Returns the sales."""
    is_own = value is ExpectedValue
    new = None if is_own or value is None else str(value)
    new_values = corrected_values(part, name, rows, is_own=is_own)
    return replace_values(
        part,
        name,
        new_values,
        IS_WANTED,
        {"new": new, "clears": value is None},
        user,
        reason,
        correction,
    )


def corrected_values(part: str, name: str, rows: WorkTable, *, is_own: bool) -> sql.Composed:
    """What is to be written into failed rows: one value, or what the rule expects of each."""
    return CORRECTED_VALUES.format(
        value=sql.SQL("nullif(expected, '')" if is_own else "%(new)s"),
        kind=column_type(part, name),
        rows=rows.identifier,
    )


def column_type(part: str, name: str) -> sql.SQL:
    model, _, _ = CORRECTABLE_PARTS[part]
    return sql.SQL(str(model._meta.get_field(name).db_type(connection)))


def replace_values(
    part: str,
    name: str,
    new_values: sql.Composable,
    condition: sql.Composable,
    values: Mapping[str, Any],
    user: Any,
    reason: str,
    correction: UUID | None,
) -> set[int]:
    """Write a field of one part, row by row what is wanted, where a condition holds; keep both.

    Returns the sales that were changed.

    Shape: `new_values` yields sale, line_number and new; in the condition they are `f`, the
    row is `p`.
    Effects: the part's table and transaction_change.
    """
    written = fetch(
        replace_statement(part, name, new_values, condition),
        {
            **values,
            "name": name,
            "reason": reason,
            "user": user.pk,
            "correction": str(correction) if correction else None,
        },
    )
    return {sale for (sale,) in written}


def replace_statement(
    part: str, name: str, new_values: sql.Composable, condition: sql.Composable
) -> sql.Composed:
    model, key, _ = CORRECTABLE_PARTS[part]
    return REPLACE_VALUES.format(
        wanted=new_values,
        condition=condition,
        field=sql.Identifier(name),
        table=sql.Identifier(model._meta.db_table),
        key=sql.Identifier(key),
        own_line=sql.SQL("true" if part == "header" else "p.line_number = f.line_number"),
    )


def undo_bulk_correction(correction: UUID, user: Any, reason: str) -> tuple[int, int]:
    """Take a correction back wherever nobody has posted or changed it since.

    Returns how many transactions have their old values again, and how many are left as they are.
    Effects: as of correct_all.
    """
    undone = unchanged = beyond = 0
    changes = TransactionChange.objects.filter(correction=correction)
    while True:
        batch = changes.filter(transaction__gt=beyond).order_by("transaction")
        ids = list(batch.values_list("transaction_id", flat=True).distinct()[:BATCH_SIZE])
        if not ids:
            return undone, unchanged
        with transaction.atomic():
            corrected = undo_batch(correction, ids, user, reason)
        undone, unchanged, beyond = (
            undone + len(corrected),
            unchanged + len(ids) - len(corrected),
            ids[-1],
        )


def undo_batch(correction: UUID, ids: list[int], user: Any, reason: str) -> list[int]:
    """Write the old values into those that nobody holds. Returns which."""
    locked = lock_sales(LOCK_SALES, lock_values(ids, user))
    changed: set[int] = set()
    changes = TransactionChange.objects.filter(correction=correction, transaction__in=ids)
    in_header = models.ExpressionWrapper(models.Q(line_number=None), models.BooleanField())
    for name, is_header in set(changes.values_list("field", in_header)):
        part = "header" if is_header else "payment" if name in PAYMENT_FIELDS else "line"
        old_values = replaced_values(part, name)
        unchanged = is_unchanged(name)
        of = {"of": str(correction), "locked": locked}
        changed |= replace_values(part, name, old_values, unchanged, of, user, reason, None)
    corrected = sorted(changed)
    end_leases(RetailTransaction.objects.filter(pk__in=corrected))
    if corrected:
        revalidate(corrected)
    return corrected


def replaced_values(part: str, name: str) -> sql.Composed:
    """What stood in documents before a correction, and what it wrote."""
    return REPLACED_VALUES.format(kind=column_type(part, name))


def is_unchanged(name: str) -> sql.Composed:
    """That a field still holds what a correction wrote into it."""
    return sql.SQL("p.{} IS NOT DISTINCT FROM f.was").format(sql.Identifier(name))
