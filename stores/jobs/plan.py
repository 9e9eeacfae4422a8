"""What a run is to do, and how many workers could help with it."""

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Q

from stores.jobs import queue
from stores.jobs.catalog import JOBS
from stores.models import ChannelDatabase, Company, JobRun, RunStep


def plan_steps(run: JobRun) -> list[RunStep]:
    """Write down the run's steps in order: a row for each of their places, or one for all."""
    planned: list[RunStep] = []
    databases = databases_to_visit(run)
    companies = Company.objects.filter(
        pk__in={database.channel.company_id for database in databases}
    )
    fields = {"group": "database"}
    places: dict[str, Iterable[Any]] = {
        "database": databases,
        "channel": {database.channel_id: database.channel for database in databases}.values(),
        "company": companies,
    }
    for step in JOBS[run.job].steps:
        field = fields.get(step.per, step.per)
        for place in places.get(field, [None]):
            row = RunStep(run=run, position=len(planned) + 1, step=step.code)
            if place is not None:
                setattr(row, field, place)
            planned.append(row)
    return RunStep.objects.bulk_create(planned)


def databases_to_visit(run: JobRun) -> list[ChannelDatabase]:
    """The databases that a run visits: the enabled ones of its channels or companies, or all.

    What a schedule starts again and again leaves out those in trouble until their next try, and
    visits slow ones apart; its other jobs see every channel.
    """
    condition = Q()
    if run.channels:
        condition |= Q(channel__code__in=run.channels)
    if run.companies:
        condition &= Q(channel__company__in=run.companies)
    databases = ChannelDatabase.objects.enabled().with_channel().filter(condition)
    if not run.is_recurring:
        return list(databases)
    databases = databases.not_paused()
    return list(databases.slow() if is_for_slow_channels(run) else databases.quick())


def is_for_slow_channels(run: JobRun) -> bool:
    """Schedules visit slow channels in runs of their own, so that no other waits for them."""
    return run.is_recurring and bool(run.channels)


def enqueue_on_commit(run: JobRun) -> None:
    """Call as many workers as the run has work for, once its row is committed."""
    workers = workers_needed(run)
    transaction.on_commit(lambda: queue.enqueue(run.pk, workers=workers), robust=True)


def workers_needed(run: JobRun) -> int:
    """How many workers a run has work for; slow channels never hold more than one."""
    return 1 if is_for_slow_channels(run) else len(databases_to_visit(run))
