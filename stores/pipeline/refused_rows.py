"""Rows that a database refuses, and that cannot be set aside: they wait, and a person is told."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from psycopg2 import sql

from stores.hqdb.retry import Key, bisect_keys
from stores.hqdb.sql import run_sql
from stores.models import ChannelDatabase, Incident
from stores.models.incident import IncidentKind
from stores.pipeline.events.kinds import EventKind

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


def fail_events(kind: EventKind, column: str, company: str, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Fail pending events whose result a database refuses. Returns those that stay pending."""

    def fail(keys: Sequence[UUID]) -> int:
        return run_sql(
            sql.SQL(
                """UPDATE {event} SET status = 'failed', reason = 'refused', field = NULL
                    WHERE company_id = %s AND {column} = ANY(%s::uuid[]) AND status = 'pending'"""
            ).format(event=sql.Identifier(kind.event), column=sql.Identifier(column)),
            [company, [str(key) for key in keys]],
        )

    _, refused = bisect_keys(fail, ids)
    return refused
