"""What stays of a run in the ledger: outcomes, counts, sentences, technical detail."""

import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db.models import Q

from stores.messages.message import Message, because, count_of, join
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
STOPPED = Message("stopped")
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


def close_sessions(run_id: UUID, message: Message, **where: Any) -> None:
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


def run_message(run: JobRun, steps: Sequence[RunStep]) -> Message:
    """What a run did that ended with this status and these counts; and what went wrong first."""
    done = [count_of(word, rows) for word, rows in run.counts.items() if word != "read"]
    unsuccessful = [step for step in steps if step.status in (RunStatus.FAILED, RunStatus.BUSY)]
    message = Message()
    if run.status == RunStatus.NOTHING_TO_DO:
        # What it could not do, or knew already.
        message = Message("no_changes", counts=done) if done else nothing_to_do(run, steps)
        if done and run.order_number:
            message += order_obstacle(run)
    elif done:
        message = Message("counts", counts=done)
    if unsuccessful:
        message += unsuccessful[0].message
        if more := len(unsuccessful) - 1:
            message += Message("more", count=more)
    return message or Message("done")


def nothing_to_do(run: JobRun, steps: Sequence[RunStep]) -> Message:
    """That nothing was to do; of a run for one order, and of stopped downloads, also why."""
    if not run.order_number:
        return join([Message("nothing_to_do"), *stopped_downloads(steps)])
    if made := run.orders.exclude(sales_order=None).select_related("sales_order").first():
        return Message("order_made", order=str(made.sales_order))
    return Message("order_taken")


def stopped_downloads(steps: Sequence[RunStep]) -> Iterator[Message]:
    """Which databases lack customers and are sent none: on hold, or suspended in strict order."""
    is_download = (step for step in steps if step.step == StepCode.DOWNLOAD)
    downloads = [step.database_id for step in is_download if step.database_id]
    suspended = suspended_in_strict_order().values("database")
    for database in ChannelDatabase.objects.with_channel().filter(
        Q(held_since__isnull=False) | Q(pk__in=suspended), pk__in=downloads
    ):
        if customers := count_lacking(database):
            yield Message(
                "downloads_on_hold" if database.is_held else "downloads_suspended",
                customers=Message("customers", count=customers)
                if customers <= MAX_COUNTED
                else Message("more_customers", count=MAX_COUNTED),
                database=database.label,
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


def order_obstacle(run: JobRun) -> Message:
    """What stands in the way of the one order that a run had looked at."""
    order = run.orders.exclude(order_reason=None).first()
    return because(order.order_reason, order.order_field or "") if order else Message()


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
        "message": str(run.message),
        "counts": run.counts,
        "seconds": run.seconds or 0.0,
        "steps": [
            {
                "step": step.step,
                "channel": step.place if step.database or step.channel else None,
                "company": step.company_id,
                "outcome": step.status,
                "message": str(step.message),
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
