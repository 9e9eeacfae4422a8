"""Recover a headquarters that was set back in time, while nothing else runs."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from stores.channeldb.errors import ChannelError
from stores.hqdb.locks import Locks
from stores.jobs.catalog import JOBS
from stores.jobs.inline import run_inline
from stores.jobs.plan import places_of
from stores.models import ChannelDatabase, Incident, RunStep
from stores.models.job import JobCode
from stores.models.run import RunStatus
from stores.pipeline import number_journal
from stores.pipeline.integrity import recover


def recover_headquarters(
    *, dry_run: bool, most_void: int = recover.MAX_VOID, distrusted: Sequence[str] = ()
) -> dict[str, Any]:
    """Import what channels and journal know, fetch what HQ lost, release. Returns a document.

    `most_void` and `distrusted` say which channels' highest numbers are believed. Effects: see
    stores.pipeline.integrity.recover; an upload of all channels. Everything may be repeated.
    """
    with Locks() as locks:
        if not all(locks.acquire(name) for name in lock_names()):
            return {"outcome": "busy", "message": "A job is running: wait for it, or stop it."}
        recovery = recover.import_everything(
            dry_run=dry_run, most_void=most_void, distrusted=distrusted
        )
        document = partial(recovery_document, recovery)
        if recovery.unreachable:
            return document("failed", "A channel cannot be read. Nothing was changed.")
        if recovery.conflicts:
            return document("failed", "Sources contradict each other. Nothing was changed.")
        if dry_run:
            return document("planned", "Nothing was changed.")
        try:
            recover.correct_heights(recovery)
            recover.reopen_events(recovery)
        except ChannelError as error:
            return document("failed", f"{error} Run recover_hq again.")
    imported = run_inline(JOBS[JobCode.UPLOAD])
    if imported["outcome"] not in (RunStatus.SUCCEEDED, RunStatus.NOTHING_TO_DO):
        return document("failed", f"{imported['message']} Run recover_hq again.")
    if still_unknown := number_journal.append_missing():
        return document("failed", str(still_unknown))
    released = recover.close_incidents()
    if not (recovery.has_effect or released):
        return document("nothing_to_do", "Headquarters lacks nothing.")
    words = "Numbers are issued again."
    if acquired := Incident.objects.blocking_posting().order_by("pk").first():
        words += f" Nothing is posted until incident {acquired.pk} is closed."
    return document("recovered", words) | {"released": released}


def lock_names() -> list[str]:
    """What every step of every job would lock, wherever it works."""
    places = places_of(ChannelDatabase.objects.with_channel())
    kinds = {step.code: step.per for job in JOBS.values() for step in job.steps}
    return [
        RunStep(step=code, **place).lock_name
        for code, kind in kinds.items()
        for place in places[kind]
    ]


def recovery_document(recovery: recover.Recovery, outcome: str, message: str) -> dict[str, Any]:
    databases = ChannelDatabase.objects.with_channel().in_bulk(recovery.unknown)
    return {
        "outcome": outcome,
        "message": message,
        "accounts": recovery.accounts,
        "guids": recovery.guids,
        "void": recovery.void,
        "versions": recovery.versions,
        "owed_again": recovery.owed_again,
        "next_numbers": recovery.counters,
        "documents": recovery.documents,
        "corrected": [database.label for database in recovery.distrusted],
        "events": {
            databases[pk].label: sum(map(len, tables.values()))
            for pk, tables in recovery.unknown.items()
        },
        "unreachable": recovery.unreachable,
        "conflicts": recovery.conflicts,
        "released": 0,
    }
