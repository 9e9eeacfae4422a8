"""Recover a headquarters that was set back in time, while nothing else runs."""

from collections.abc import Sequence
from typing import Any

from stores.channeldb.errors import ChannelError
from stores.hqdb.locks import Locks
from stores.jobs.catalog import JOBS
from stores.jobs.inline import run_here
from stores.models import Channel, ChannelDatabase, Company, Incident, RunStep
from stores.models.run import RunStatus
from stores.pipeline import number_journal
from stores.pipeline.integrity.recover import (
    MOST_VOID,
    Recovery,
    correct,
    import_everything,
    release,
    reopen,
)

DONE = (RunStatus.SUCCEEDED, RunStatus.NOTHING_TO_DO)


def recover(
    *, dry_run: bool, most_void: int = MOST_VOID, distrusted: Sequence[str] = ()
) -> dict[str, Any]:
    """Import what channels and journal know, fetch what HQ lost, release. Returns a document.

    `most_void` and `distrusted` say which channels' highest numbers are believed. Effects: see
    stores.pipeline.integrity.recover; an upload of all channels. Everything may be repeated.
    """
    with Locks() as locks:
        if not all(locks.acquire(name) for name in lock_names()):
            return {"outcome": "busy", "message": "A job is running: wait for it, or stop it."}
        found = import_everything(dry_run=dry_run, most_void=most_void, distrusted=distrusted)
        if found.unreachable:
            return document(found, "failed", "A channel cannot be read. Nothing was changed.")
        if found.conflicts:
            return document(found, "failed", "Sources contradict each other. Nothing was changed.")
        if dry_run:
            return document(found, "planned", "Nothing was changed.")
        try:
            correct(found)
            reopen(found)
        except ChannelError as error:
            return document(found, "failed", f"{error} Run recover_hq again.")
    pulled = run_here(JOBS["P-0001"])
    if pulled["outcome"] not in DONE:
        return document(found, "failed", f"{pulled['message']} Run recover_hq again.")
    if still_unknown := number_journal.keep():
        return document(found, "failed", still_unknown)
    released = release()
    if not (found.has_effect or released):
        return document(found, "nothing_to_do", "Headquarters lacks nothing.") | {"released": 0}
    words = "Numbers are issued again."
    if held := Incident.objects.stopping_posting().order_by("pk").first():
        words += f" Nothing is posted until incident {held.pk} is closed."
    return document(found, "recovered", words) | {"released": released}


def lock_names() -> list[str]:
    """What every step of every job would lock, wherever it works."""
    channels = Channel.objects.values_list("pk", flat=True)
    databases = ChannelDatabase.objects.values_list("pk", flat=True)
    companies = Company.objects.values_list("pk", flat=True)
    places: dict[str, list[dict[str, Any]]] = {
        "database": [{"database_id": pk} for pk in databases],
        "group": [{"database_id": pk} for pk in databases],
        "channel": [{"channel_id": pk} for pk in channels],
        "company": [{"company_id": pk} for pk in companies],
        "run": [{}],
    }
    steps = {step.word: step for job in JOBS.values() for step in job.steps}
    return [
        RunStep(step=word, **place).lock_name
        for word, step in steps.items()
        for place in places[step.per]
    ]


def document(found: Recovery, outcome: str, message: str) -> dict[str, Any]:
    """What `recover_hq --json` prints."""
    labels = {
        database.pk: database.label
        for database in ChannelDatabase.objects.with_channel().filter(pk__in=found.unknown)
    }
    return {
        "outcome": outcome,
        "message": message,
        "accounts": found.accounts,
        "guids": found.guids,
        "void": found.void,
        "versions": found.versions,
        "next_numbers": found.counters,
        "documents": found.documents,
        "corrected": [database.label for database in found.distrusted],
        "events": {
            labels[pk]: sum(map(len, tables.values())) for pk, tables in found.unknown.items()
        },
        "unreachable": found.unreachable,
        "conflicts": found.conflicts,
        "released": 0,
    }
