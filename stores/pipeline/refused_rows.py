"""Rows that a database refuses, and that cannot be set aside: they wait, and a person is told."""

from collections.abc import Mapping

from stores.hqdb.retry import Key
from stores.models import ChannelDatabase, Incident
from stores.models.incident import IncidentKind

MAX_REPORTED_ROWS = 20


def report_refused_rows(
    what: str, refused: Mapping[Key, str], *, database: ChannelDatabase | None = None
) -> None:
    """Report the rows of one kind that a database refuses; without any the report is closed.

    `what` says in a word or two what they are. Effects: an incident, in the caller's transaction.
    """
    incidents = Incident.objects.open().filter(
        kind=IncidentKind.ROW_REFUSED, database=database, subject=what
    )
    if refused:
        who = f"Channel {database.label}" if database else "Headquarters' database"
        reasons = ", ".join(sorted(set(refused.values()))[:3])
        Incident.objects.report(
            IncidentKind.ROW_REFUSED,
            f"{who} refuses {len(refused):,} {what} ({reasons}). They wait, the others go on.",
            database=database,
            subject=what,
            detail={
                "rows": {str(key): text for key, text in list(refused.items())[:MAX_REPORTED_ROWS]}
            },
        )
    else:
        for incident in incidents:
            incident.close("The database no longer rejects any row.")
