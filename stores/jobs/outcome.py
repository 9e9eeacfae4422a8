"""What stays of a run in the ledger: outcomes, counts, sentences, technical detail."""

import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db.models import Q

from stores.models import (
    ChannelDatabase,
    Customer,
    DownloadException,
    DownloadSession,
    JobRun,
    RunStep,
    UploadSession,
)
from stores.models.job import StepCode
from stores.models.labels import counted, label
from stores.models.reason import explain
from stores.models.run import RunStatus
from stores.models.session import DownloadStatus, UploadStatus
from stores.pipeline.download.sessions import suspended_in_strict_order

# Words that mean that a run did something: those of the contract, and of the jobs that look.
EFFECT_COUNTS = (
    "staged",
    "quarantined",
    "converted",
    "updated",
    "linked",
    "distributed",
    "posted",
    "checked",
    "compared",
)
# More customers than these are not counted: a run that does nothing must stay cheap.
MAX_COUNTED = 1000
STOPPED = "Stopped. Committed changes are kept."
# What Ctrl-C and SIGTERM raise.
SIGNALS = (KeyboardInterrupt, SystemExit)


@contextmanager
def signals_unwrapped() -> Iterator[None]:
    """Raise what a signal raises as itself, also where it came up inside C code of a driver."""
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, SIGNALS):
            raise error.__cause__ from None
        raise


def close_sessions(run_id: UUID, message: str, **where: Any) -> None:
    """End the sessions of a run that nobody goes on with."""
    uploads = UploadSession.objects.filter(run=run_id, **where)
    uploads.filter(status=UploadStatus.UPLOADED).update(
        status=UploadStatus.APPLY_FAILED, message=message
    )
    uploads.filter(status__in=[UploadStatus.STARTED, UploadStatus.AVAILABLE]).update(
        status=UploadStatus.UPLOAD_FAILED, message=message
    )
    downloads = DownloadSession.objects.filter(run=run_id, **where)
    downloads.filter(status=DownloadStatus.STARTED).update(
        status=DownloadStatus.CREATE_FAILED, message=message
    )
    downloads.filter(
        status__in=[
            DownloadStatus.AVAILABLE,
            DownloadStatus.REQUESTED,
            DownloadStatus.DOWNLOADED,
        ]
    ).update(status=DownloadStatus.DOWNLOAD_FAILED, message=message)


def outcome_of(steps: Sequence[RunStep]) -> RunStatus:
    """The outcome of a run from those of its steps (contract, section 4)."""
    statuses = {RunStatus(step.status) for step in steps}
    if RunStatus.CANCELLED in statuses:
        return RunStatus.CANCELLED
    unsuccessful = statuses & {RunStatus.FAILED, RunStatus.BUSY}
    if statuses == {RunStatus.BUSY}:
        return RunStatus.BUSY
    if unsuccessful:
        return RunStatus.FAILED if unsuccessful == statuses else RunStatus.PARTLY
    return RunStatus.SUCCEEDED if RunStatus.SUCCEEDED in statuses else RunStatus.NOTHING_TO_DO


def sum_counts(steps: Sequence[RunStep]) -> dict[str, int]:
    total = Counter[str]()
    for step in steps:
        total.update(step.counts)
    return dict(total)


def run_message(run: JobRun, steps: Sequence[RunStep]) -> str:
    """What a run did that ended with this status and these counts; and what went wrong first."""
    done = ", ".join(f"{rows:,} {word}" for word, rows in run.counts.items() if word != "read")
    unsuccessful = [step for step in steps if step.status in (RunStatus.FAILED, RunStatus.BUSY)]
    parts = []
    if run.status == RunStatus.NOTHING_TO_DO:
        # What it could not do, or knew already.
        parts.append(f"No changes ({done})." if done else nothing_to_do_message(run, steps))
        if done and run.order_number:
            parts.append(order_obstacle(run))
    elif done:
        parts.append(f"{done[0].upper()}{done[1:]}.")
    if unsuccessful:
        first, more = unsuccessful[0], len(unsuccessful) - 1
        parts.append(first.message + (f" And {more} more." if more else ""))
    return " ".join(parts)[:500] or "Done."


def nothing_to_do_message(run: JobRun, steps: Sequence[RunStep]) -> str:
    """That nothing was to do; of a run for one order, and of stopped downloads, also why."""
    if not run.order_number:
        return " ".join(["Nothing to do.", *stopped_downloads(steps)])
    if made := run.orders.exclude(sales_order=None).select_related("sales_order").first():
        return f"Nothing to do: the order is already {made.sales_order}."
    return "Nothing to do: someone is correcting the order, or another run is processing it."


def stopped_downloads(steps: Sequence[RunStep]) -> Iterator[str]:
    """Which databases lack customers and are sent none: on hold, or suspended in strict order."""
    is_download = (step for step in steps if step.step == StepCode.DOWNLOAD)
    downloads = [step.database_id for step in is_download if step.database_id]
    suspended = suspended_in_strict_order().values("database")
    for database in ChannelDatabase.objects.with_channel().filter(
        Q(held_since__isnull=False) | Q(pk__in=suspended), pk__in=downloads
    ):
        if customers := count_lacking(database):
            most = "More than " if customers > MAX_COUNTED else ""
            why = "on hold" if database.is_held else "suspended"
            yield (
                f"{most}{counted(min(customers, MAX_COUNTED), 'customer')} pending for"
                f" {database.label}, whose downloads are {why}."
            )


def count_lacking(database: ChannelDatabase) -> int:
    """How many customers a database lacks; more than MAX_COUNTED stands for any larger number."""
    received = max(database.position, database.received_no)
    beyond = Customer.objects.filter(
        company=database.channel.company_id, change_no__gt=received
    ).order_by()
    excepted = DownloadException.objects.lacking().filter(
        database=database, customer__change_no__lte=received
    )
    return beyond[: MAX_COUNTED + 1].count() + excepted.count()


def order_obstacle(run: JobRun) -> str:
    """What stands in the way of the one order that a run had looked at."""
    order = run.orders.exclude(order_reason=None).first()
    return explain(order.order_reason or "", label(order.order_field or "")) if order else ""


def technical_detail(error: BaseException) -> str:
    """Where an error came from and of what kind it is, without its text, which may quote a row.

    Of a database's error also the code and the constraint.
    """
    parts = []
    for cause in (error.__cause__, error):
        if cause is None:
            continue
        diagnostics = getattr(cause, "diag", None)
        facts = [getattr(cause, "pgcode", None), getattr(diagnostics, "constraint_name", None)]
        kind = f"{type(cause).__module__}.{type(cause).__qualname__}"
        parts.append("".join(traceback.format_tb(cause.__traceback__)))
        parts.append(" ".join([kind, *(fact for fact in facts if fact)]) + "\n")
    return "".join(parts)


def run_document(run: JobRun) -> dict[str, Any]:
    """The run as `run_job --json` prints it (contract, section 4)."""
    return {
        "run": str(run.pk),
        "job": run.job,
        "outcome": run.status,
        "message": run.message,
        "counts": run.counts,
        "seconds": run.seconds or 0.0,
        "steps": [
            {
                "step": step.step,
                "channel": step.place if step.database or step.channel else None,
                "company": step.company_id,
                "outcome": step.status,
                "message": step.message,
                "counts": step.counts,
                "seconds": step.seconds or 0.0,
            }
            for step in run.steps.select_related("database__channel", "channel")
        ],
    }


def busy_document(run: JobRun) -> dict[str, Any]:
    """The answer to a start while a run of the same job and scope is live."""
    message = f"{run.job} is already running ({run.short_id})."
    return run_document(run) | {"outcome": RunStatus.BUSY.value, "message": message, "steps": []}
