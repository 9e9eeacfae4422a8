"""Incidents about rows that a database refuses. These rows wait where they are."""

from collections.abc import Mapping

from stores.hqdb.retry import Key
from stores.models import ChannelDatabase, Incident
from stores.models.incident import IncidentKind
from stores.models.labels import counted

MAX_REPORTED_ROWS = 20


def report_refused_rows(
    what: str, refused: Mapping[Key, str], *, database: ChannelDatabase | None = None
) -> None:
    """Report the rows that a database refuses, or close the report if there are none.

    `what` is a noun for the rows, such as "customers". The incident is saved in the caller's
    transaction.
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
    """Return the first different messages of the database."""
    return ", ".join(sorted(set(refused.values()))[:3])


def open_report(
    what: str, message: str, refused: Mapping[Key, str], *, database: ChannelDatabase | None
) -> None:
    """Open or update the incident about rows that a database has refused."""
    rows = {str(key): text for key, text in list(refused.items())[:MAX_REPORTED_ROWS]}
    Incident.objects.report(
        IncidentKind.ROW_REFUSED, message, database=database, subject=what, detail={"rows": rows}
    )


def close_report(what: str, database: ChannelDatabase | None) -> None:
    """Close the incident about refused rows, if there is one."""
    reports = Incident.objects.filter(
        kind=IncidentKind.ROW_REFUSED, database=database, subject=what
    )
    reports.close("The database refuses no row any more.")
