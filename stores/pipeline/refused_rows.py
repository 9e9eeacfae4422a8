"""Rows that a database refuses, and that cannot be set aside: they wait, and a person is told."""

from collections.abc import Mapping

from stores.hqdb.retry import Key
from stores.models import ChannelDatabase, Incident
from stores.models.incident import IncidentKind
from stores.models.labels import counted

MAX_REPORTED_ROWS = 20


def report_refused_rows(
    what: str, refused: Mapping[Key, str], *, database: ChannelDatabase | None = None
) -> None:
    """Report the rows of one kind that a database refuses; without any the report is closed.

    `what` says in a word or two what they are. Effects: an incident, in the caller's transaction.
    """
    if not refused:
        close_report(what, database)
        return
    who = f"Channel {database.label}" if database else "Headquarters' database"
    wait = "It waits" if len(refused) == 1 else "They wait"
    open_report(
        what,
        f"{who} refuses {counted(len(refused), 'row')} of {what} ({reasons_of(refused)})."
        f" {wait}, the others go on.",
        refused,
        database=database,
    )


def reasons_of(refused: Mapping[Key, str]) -> str:
    """The first things that the database said."""
    return ", ".join(sorted(set(refused.values()))[:3])


def open_report(
    what: str, message: str, refused: Mapping[Key, str], *, database: ChannelDatabase | None
) -> None:
    """Report rows that a database has just refused. Effects: an incident, as above."""
    rows = {str(key): text for key, text in list(refused.items())[:MAX_REPORTED_ROWS]}
    Incident.objects.report(
        IncidentKind.ROW_REFUSED, message, database=database, subject=what, detail={"rows": rows}
    )


def close_report(what: str, database: ChannelDatabase | None) -> None:
    reports = Incident.objects.filter(
        kind=IncidentKind.ROW_REFUSED, database=database, subject=what
    )
    reports.close("The database refuses no row any more.")
