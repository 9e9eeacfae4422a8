"""What stays of a run in the ledger: outcomes, counts, sentences, technical detail."""

import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from stores.messages.message import Message, because, count_of, join
from stores.models import DownloadSession, JobRun, RunStep, UploadSession
from stores.models.job import StepCode
from stores.models.run import RunStatus
from stores.pipeline.download.stopped import stoppable_databases, stopped_downloads
from stores.pipeline.pauses import paused_uploads

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
    for model in (UploadSession, DownloadSession):
        model.objects.filter(run=run_id, **where).close_open(message)


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
    """That nothing was to do; of a run for one order, and where work is stopped, also why."""
    if not run.order_number:
        stoppable = stoppable_databases([step.database_id for step in steps if step.database_id])
        stopped = [
            *paused_uploads(stoppable & databases_of(steps, StepCode.UPLOAD)),
            *stopped_downloads(stoppable & databases_of(steps, StepCode.DOWNLOAD)),
        ]
        return join([Message("nothing_to_do"), *stopped])
    if made := run.orders.exclude(sales_order=None).select_related("sales_order").first():
        return Message("order_made", order=str(made.sales_order))
    return Message("order_taken")


def databases_of(steps: Sequence[RunStep], code: str) -> set[int]:
    return {step.database_id for step in steps if step.step == code and step.database_id}


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
