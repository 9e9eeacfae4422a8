"""Send customers to one channel now, instead of with the next download."""

from collections.abc import Collection
from typing import Any

from django.db import transaction

from stores.jobs.catalog import JOBS
from stores.jobs.start import StartResult, start_job
from stores.models import ChannelDatabase, Incident
from stores.models.job import JobCode
from stores.models.package import ExceptionReason
from stores.models.run import StartedBy
from stores.pipeline.download.exceptions import add_exceptions


class PushRefused(Exception):
    """Nothing can be sent to the database now. The message says why."""


def push_customers(
    database: ChannelDatabase,
    customers: Collection[int],
    *,
    by: Any = None,
    started_by: StartedBy = StartedBy.COMMAND,
) -> StartResult:
    """Ask for customers, by their ids, and start a download of the database's channel.

    The download sends all else that is pending, too. Raise PushRefused if it would send nothing.
    """
    if not database.is_visited:
        raise PushRefused(f"{database.label} is switched off: jobs skip it.")
    if database.downloads_paused:
        raise PushRefused(
            f"Downloads to {database.label} are paused: {database.downloads_pause_reason}"
        )
    if not database.is_sent(JobCode.DOWNLOAD):
        raise PushRefused(f"{database.label} is excluded from 1010: it is sent no customers.")
    if Incident.objects.blocking(database).exists():
        raise PushRefused(f"{database.label} is blocked by an incident: jobs skip it.")
    with transaction.atomic():
        add_exceptions(database, customers, ExceptionReason.REQUESTED, by=by)
        return start_job(
            JOBS[JobCode.DOWNLOAD],
            channels=[database.channel.code],
            started_by=started_by,
            user=by,
        )
