"""Correct all transactions that failed for the same cause, a batch at a time.

A transaction that would still break the rule is not changed. Transactions that another person is
correcting, or that a job has locked, are skipped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID, uuid4

from django.db import models, transaction
from psycopg2 import sql

from stores.hqdb.sql import batched, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import Channel, FailedSale, RetailTransaction, TransactionChange
from stores.models.failed_sale import FailedSaleQuerySet, SaleCause
from stores.models.transaction import ValidationStatus
from stores.pipeline.corrections.bulk import (
    BATCH_SIZE,
    PARTS,
    ChangeNote,
    lock_correctable,
    replace_values,
)
from stores.pipeline.corrections.revalidate import revalidate, still_failing
from stores.pipeline.corrections.sale import (
    CORRECTABLE_FIELDS,
    changes_prepayment,
    clear_refusals,
    end_leases,
)
from stores.pipeline.events.kinds import ADDRESS
from stores.pipeline.sales.rules import HEADER_RULES, SALE_RULES

# The value that a person entered for all failed rows, and the value that the rule expects of each.
ENTERED_VALUES = "SELECT DISTINCT sale, line_number, %(new)s AS new, NULL AS written FROM {rows}"
EXPECTED_VALUES = """SELECT DISTINCT sale, line_number, expected AS new, NULL AS written
                       FROM {rows} WHERE expected <> ''"""
# How many transactions one request corrects.
MAX_TRANSACTIONS = 10_000
# How many changes it shows as examples.
MAX_EXAMPLES = 20
CUSTOMER_FIELDS = ("async_account", "account_number")
DELIVERY_FIELDS = ("delivery_address_id", "delivery_mode")
# Causes in the transaction itself. All others are in the row of its customer or its address.
SALE_LEVEL_CODES = {rule.code for rule in HEADER_RULES} | {"address_missing", "address_of_another"}


class ExpectedValue:
    """Stands for the value that the broken rule expects, which differs from row to row."""


@dataclass(frozen=True)
class CorrectionScope:
    """Limits a correction to a channel, a business date, and the sales that the person has seen."""

    channel: Channel | None = None
    business_date: date | None = None
    # The highest id when the person saw the count. Sales that failed later are left out.
    upto: int | None = None

    def of(self, cause: SaleCause) -> FailedSaleQuerySet:
        sales = FailedSale.objects.with_cause(cause)
        if self.channel is not None:
            sales = sales.filter(channel=self.channel)
        if self.business_date is not None:
            sales = sales.filter(business_date=self.business_date)
        if self.upto is not None:
            sales = sales.filter(transaction__lte=self.upto)
        return sales


@dataclass
class CorrectionResult:
    """How many transactions were corrected, and why others were not."""

    # The id under which the changes are recorded, to be undone together.
    correction: UUID = field(default_factory=uuid4)
    corrected: int = 0
    # Of the corrected ones: those that break no rule, and those that break another one.
    valid: int = 0
    invalid: int = 0
    breaks: Counter[SaleCause] = field(default_factory=Counter)
    # They would still break the same rule, or another one in the same field.
    refused: int = 0
    # Another person is correcting them, or a job has locked them.
    skipped: int = 0
    unchanged: int = 0
    # The first changes: transaction, line, field, old and new value.
    examples: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def broken(self) -> list[tuple[SaleCause, int]]:
        return self.breaks.most_common()

    @property
    def waiting(self) -> int:
        """Of the corrected ones: those that the next run validates, after it has their customer."""
        return self.corrected - self.valid - self.invalid


def correctable_fields(cause: SaleCause) -> tuple[str, ...]:
    """Return the fields that can be corrected for all transactions with this cause."""
    allowed = CORRECTABLE_FIELDS[PARTS[cause.part]]
    if cause.part == "header" and cause.reason not in SALE_LEVEL_CODES:
        return DELIVERY_FIELDS if cause.field in ADDRESS.columns else CUSTOMER_FIELDS
    if cause.field in (*CUSTOMER_FIELDS, "customer"):
        return CUSTOMER_FIELDS
    if cause.field in DELIVERY_FIELDS:
        return DELIVERY_FIELDS
    return (cause.field,) if cause.field in allowed else ()


def model_of_cause(cause: SaleCause) -> type[models.Model]:
    return PARTS[cause.part]


def has_expected(cause: SaleCause) -> bool:
    """Return whether the broken rule says which value would be right."""
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
    """Write values into all transactions that failed for a cause, and validate these again.

    A value may be ExpectedValue. A preview returns the result and changes nothing. Each batch is
    one database transaction.
    """
    result = CorrectionResult()
    last = seen = 0
    while seen < MAX_TRANSACTIONS:
        sales = scope.of(cause).filter(transaction__gt=last).order_by("transaction")
        ids = list(sales.values_list("transaction_id", flat=True).distinct()[:BATCH_SIZE])
        if not ids:
            break
        with transaction.atomic():
            correct_batch(cause, ids, user, reason, values, result)
            transaction.set_rollback(preview)
        last = ids[-1]
        seen += len(ids)
    return result


def retry_refused(cause: SaleCause, scope: CorrectionScope, user: Any) -> CorrectionResult:
    """Let jobs try transactions again that the database had refused, without a change."""
    result = CorrectionResult()
    sales = scope.of(cause).order_by("transaction").values_list("transaction", flat=True)
    for ids in batched(list(sales.distinct()[:MAX_TRANSACTIONS]), BATCH_SIZE):
        with transaction.atomic():
            locked = lock_correctable(ids, user)
            result.unchanged += clear_refusals(locked)
            result.skipped += len(ids) - len(locked)
    return result


def correct_batch(
    cause: SaleCause,
    ids: list[int],
    user: Any,
    reason: str,
    values: Mapping[str, Any],
    result: CorrectionResult,
) -> None:
    """Correct those of the transactions that nobody else holds, and add them to the result.

    All are corrected first. If some would still fail, that is rolled back, and the others are
    corrected alone.
    """
    changes_prepayments = changes_prepayment(cause.part, values)
    locked = lock_correctable(ids, user, changes_prepayments=changes_prepayments)
    with (
        query_table(
            "failed_row",
            """SELECT transaction_id AS sale, line_number, expected FROM failed_sale
                WHERE (reason, field, part) = (%s, %s, %s) AND transaction_id = ANY(%s)""",
            [cause.reason, cause.field, cause.part, locked],
        ) as failed_rows,
        query_table(
            "error_before",
            """SELECT transaction_id, rule, field, line_number FROM transaction_error
                WHERE transaction_id = ANY(%s)""",
            [locked],
        ) as errors_before,
    ):
        note = ChangeNote(user, reason, result.correction)
        with transaction.atomic():
            corrected = write_values(cause.part, values, failed_rows, note)
            refused = still_failing(cause, corrected, list(values), errors_before)
            transaction.set_rollback(bool(refused))
        if refused:
            run_sql("DELETE FROM {rows} WHERE sale = ANY(%s)", [refused], rows=failed_rows)
            corrected = write_values(cause.part, values, failed_rows, note)
    add_corrected(corrected, result)
    result.refused += len(refused)
    result.unchanged += len(locked) - len(corrected) - len(refused)
    result.skipped += len(ids) - len(locked)


def write_values(
    part: str, values: Mapping[str, Any], failed_rows: WorkTable, note: ChangeNote
) -> list[int]:
    """Write values into the failed rows and validate again. Return the changed transactions."""
    changed: set[int] = set()
    for name, value in values.items():
        changed |= write_value(part, name, value, failed_rows, note)
    corrected = sorted(changed)
    end_leases(RetailTransaction.objects.filter(pk__in=corrected))
    if corrected:
        revalidate(corrected)
    return corrected


def write_value(
    part: str, name: str, value: Any, failed_rows: WorkTable, note: ChangeNote
) -> set[int]:
    """Write one value into the failed rows, or what the rule expects of each. Return the sales."""
    query = EXPECTED_VALUES if value is ExpectedValue else ENTERED_VALUES
    new_values = sql.SQL(query).format(rows=failed_rows)
    new = None if value is None else str(value)
    return replace_values(part, name, new_values, {"new": new}, note)


def add_corrected(corrected: Sequence[int], result: CorrectionResult) -> None:
    """Add corrected transactions, and what they break now, to the result."""
    result.corrected += len(corrected)
    sales = RetailTransaction.objects.filter(pk__in=corrected)
    result.valid += sales.filter(validation_status=ValidationStatus.SUCCESSFUL).count()
    result.invalid += sales.filter(validation_status=ValidationStatus.ERROR).count()
    for row in FailedSale.objects.filter(transaction__in=corrected).by_cause():
        result.breaks[SaleCause.of(row)] += row["sales"]
    missing_examples = MAX_EXAMPLES - len(result.examples)
    if missing_examples > 0:
        changes = TransactionChange.objects.filter(correction=result.correction).order_by("id")
        result.examples += changes.values_list(
            "transaction__transaction_id", "line_number", "field", "old", "new"
        )[:missing_examples]
