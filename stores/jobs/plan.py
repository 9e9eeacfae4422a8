"""What a run is to do: its steps, one for each place, and which of them one job does together."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from stores.hqdb.sql import fetch
from stores.jobs.catalog import JOBS, Step
from stores.models import ChannelDatabase, JobRun, RunStep
from stores.models.run import Visits

# One job visits as many channels as took so long in all, the last time.
TURN_S = 1.0


def plan_steps(run: JobRun) -> list[RunStep]:
    """Write down the run's steps in order: a row for each of their places, or one for all."""
    planned: list[RunStep] = []
    databases = databases_to_visit(run)
    places = places_of(databases)
    excluded = excluded_by_step()
    for stage, step in enumerate(JOBS[run.job].steps, start=1):
        rows = [
            RunStep(run=run, step=step.code, stage=stage, **place)
            for place in places[step.per]
            if step.per != "database" or place["database"].pk not in excluded[step.code]
        ]
        for position, row in enumerate(rows, start=len(planned) + 1):
            row.position = position
            if run.visits == Visits.SLOW:
                # One after the other, so that they never occupy a second worker.
                row.stage = position
        for together in turns(step, rows):
            for row in together:
                # Of any other step in it, its own position is free for a turn of its own.
                row.turn = together[-1].position
        planned += rows
    return RunStep.objects.bulk_create(planned)


def places_of(databases: Iterable[ChannelDatabase]) -> dict[str, list[dict[str, Any]]]:
    """What a step's row says of its place: for each kind of place, those of these databases."""
    databases = list(databases)
    channels = dict.fromkeys(database.channel_id for database in databases)
    companies = sorted({database.channel.company_id for database in databases})
    return {
        "database": [{"database": database} for database in databases],
        "channel": [{"channel_id": channel} for channel in channels],
        "company": [{"company_id": company} for company in companies],
        "run": [{}],
    }


def excluded_by_step() -> dict[str, set[int]]:
    """The ids of the databases to which a step sends nothing, by its code."""
    excluded: dict[str, set[int]] = defaultdict(set)
    for database, job in fetch("SELECT database_id, job FROM excluded_database"):
        for step in JOBS[job].steps:
            excluded[step.code].add(database)
    return excluded


def turns(step: Step, rows: list[RunStep]) -> list[list[RunStep]]:
    """Split steps into those that one job does together, since little is expected of them."""
    found: list[list[RunStep]] = []
    seconds = 0.0
    for row in rows:
        last = row.database.last_duration_s if row.database else None
        # A visit that was never made may take long.
        expected = TURN_S if last is None else last
        seconds += expected
        if not found or len(found[-1]) == step.together or seconds > TURN_S:
            found.append([])
            seconds = expected
        found[-1].append(row)
    return found


def databases_to_visit(run: JobRun) -> list[ChannelDatabase]:
    """The databases that a run visits: the enabled ones of its channels or companies, or all.

    What a schedule starts often leaves out those in trouble until their next try, and visits slow
    ones apart.
    """
    databases = ChannelDatabase.objects.enabled().order_by("channel__code", "name")
    databases = databases.select_related("channel").only("channel__company", "last_duration_s")
    if run.channels:
        databases = databases.filter(channel__code__in=run.channels)
    if run.companies:
        databases = databases.filter(channel__company__in=run.companies)
    if not run.is_recurring:
        return list(databases)
    databases = databases.not_backing_off()
    if run.visits == Visits.SLOW:
        return list(databases.slow())
    return list(databases.quick() if run.visits == Visits.QUICK else databases)
