"""How visits to channels went, and when a schedule tries again after trouble."""

from stores.hqdb.sql import run_sql
from stores.messages.message import Message
from stores.models import RunStep
from stores.models.job import StepCode
from stores.models.parameter import ParameterName, parameter
from stores.models.run import RunStatus

RECORD_SUCCESS = """
    UPDATE channel_database SET last_visited_at = clock_timestamp(), last_duration_s = %s
     WHERE id = %s"""
# What an upload could not do no download makes up for, and the other way round.
CLEAR_ERROR = """
    UPDATE channel_database
       SET last_error = '[]', failures = 0, failing_since = NULL, failed_step = '',
           next_try_at = NULL
     WHERE id = %(database)s AND failures > 0
       AND (failed_step = %(step)s
            OR %(was_there)s AND failed_step NOT IN ('upload', 'download'))"""
# The same for two minutes, so that a store that was away briefly is served as soon as it is back.
# Then it doubles with each failure up to a limit; chance keeps channels that failed together apart.
RECORD_FAILURE = """
    UPDATE channel_database
       SET last_error = %s, failures = failures + 1, failed_start = pg_postmaster_start_time(),
           failing_since = CASE failures WHEN 0 THEN clock_timestamp() ELSE failing_since END,
           failed_step = CASE failed_step WHEN 'upload' THEN failed_step ELSE %s END,
           last_duration_s = coalesce(%s, last_duration_s),
           next_try_at = clock_timestamp() + interval '1 second'
               * least(%s, %s * 2 ^ least(greatest(failures - 11, 0), 20)) * (0.8 + 0.4 * random())
     WHERE id = %s"""


def record_visit(row: RunStep, seconds: float) -> None:
    """Remember at the channel database how the visit of a step went that has ended.

    A download that brought nothing did not visit it, nor did a paused upload. Effects: in the
    caller's transaction.
    """
    if row.status == RunStatus.FAILED:
        record_failure(row, row.message, seconds)
        return
    if row.step == StepCode.UPLOAD and not row.has_entered:
        return
    database, was_there = row.database_id, row.step != StepCode.DOWNLOAD or bool(row.counts)
    if was_there:
        run_sql(RECORD_SUCCESS, [seconds, database])
    # Who failed since the step began has met it later.
    if row.its_database.failures:
        run_sql(CLEAR_ERROR, {"database": database, "step": row.step, "was_there": was_there})


def record_failure(row: RunStep, message: Message, seconds: float | None = None) -> None:
    """Remember that a visit failed, and let schedules wait before the next, longer each time.

    Of a step that is done nowhere in particular there is nothing to remember.
    """
    limits = [parameter(ParameterName.BACK_OFF_MOST), parameter(ParameterName.BACK_OFF)]
    run_sql(RECORD_FAILURE, [message.json, row.step, seconds, *limits, row.database_id])
