"""How visits to channels went, and when a schedule tries again after trouble."""

from collections.abc import Sequence

from django.conf import settings
from django.db import connection

from stores.models import RunStep
from stores.models.run import RunStatus
from stores.pipeline import Step

WENT_WELL = """
    UPDATE channel_database
       SET last_error = '', failures = 0, next_try_at = NULL, last_visited_at = clock_timestamp(),
           last_duration_s = coalesce(%s, last_duration_s)
     WHERE id = ANY(%s)"""
# Doubles with each failure up to a limit; chance keeps channels that failed together apart.
WENT_BADLY = """
    UPDATE channel_database
       SET last_error = %s, failures = failures + 1, failed_start = pg_postmaster_start_time(),
           last_duration_s = coalesce(%s, last_duration_s),
           next_try_at = clock_timestamp() + interval '1 second'
               * least(%s, %s * 2 ^ least(failures, 20)) * (0.8 + 0.4 * random())
     WHERE id = %s"""


def note_visits(step: Step, rows: Sequence[RunStep], seconds: float) -> None:
    """Remember at the channel databases how the visits went.

    A download that owed nothing has not been there. Effects: in the caller's transaction.
    """
    # Of a group's visits nobody knows how long each took.
    took = seconds if step.per == "database" else None
    with connection.cursor() as cursor:
        if well := [
            row.database_id
            for row in rows
            if row.status in (RunStatus.SUCCEEDED, RunStatus.NOTHING_TO_DO)
            and (step.per == "database" or row.counts)
        ]:
            cursor.execute(WENT_WELL, [took, well])
    for row in rows:
        if row.status == RunStatus.FAILED:
            note_failure(row, row.message, took)


def note_failure(row: RunStep, message: str, seconds: float | None = None) -> None:
    """Remember that a visit failed, and let schedules wait before the next, longer each time."""
    limits = [settings.BACK_OFF_MOST_S, settings.BACK_OFF_S]
    with connection.cursor() as cursor:
        cursor.execute(WENT_BADLY, [message[:300], seconds, *limits, row.database_id])
