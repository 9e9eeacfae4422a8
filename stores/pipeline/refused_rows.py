"""Incidents about rows that a database refuses. These rows wait where they are."""

from collections.abc import Mapping

from stores.hqdb.retry import Key
from stores.messages.message import Message
from stores.models import ChannelDatabase, Incident
from stores.models.incident import IncidentKind

MAX_REPORTED_ROWS = 20


def report_refused_rows(
    subject: str,
    rows: Message,
    refused: Mapping[Key, str],
    *,
    database: ChannelDatabase | None = None,
) -> None:
    """Report the rows that a database refuses, or close the report if there are none.

    `rows` is a noun for them, such as "events", and `subject` that of the incident, which is saved
    in the caller's transaction.
    """
    if not refused:
        close_report(subject, database)
        return
    count, errors = len(refused), first_errors(refused)
    if database:
        channel = database.label
        message = Message(
            "rows_refused_by_channel", channel=channel, count=count, rows=rows, errors=errors
        )
    else:
        message = Message("rows_refused_by_hq", count=count, rows=rows, errors=errors)
    open_report(subject, message, refused, database=database)


def first_errors(refused: Mapping[Key, str]) -> list[str]:
    """Return the first different errors of the database."""
    return sorted(set(refused.values()))[:3]


def open_report(
    subject: str, message: Message, refused: Mapping[Key, str], *, database: ChannelDatabase | None
) -> None:
    """Open or update the incident about rows that a database has refused."""
    rows = {str(key): text for key, text in list(refused.items())[:MAX_REPORTED_ROWS]}
    Incident.objects.report(
        IncidentKind.ROW_REFUSED, message, database=database, subject=subject, detail={"rows": rows}
    )


def close_report(subject: str, database: ChannelDatabase | None) -> None:
    """Close the incident about refused rows, if there is one."""
    reports = Incident.objects.filter(
        kind=IncidentKind.ROW_REFUSED, database=database, subject=subject
    )
    reports.close("The database refuses no row any more.")
