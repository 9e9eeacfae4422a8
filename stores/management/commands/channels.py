"""List the channel databases with their status and their pending rows."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.db.models import Count, QuerySet

from stores.hqdb.sql import fetch
from stores.jobs.liveness import LivenessProblem, liveness_problems
from stores.management.base import SynclineCommand
from stores.messages.labels import counted
from stores.models import (
    ChannelDatabase,
    DownloadException,
    DownloadSession,
    Incident,
    Quarantine,
)
from stores.models.staging import StagingStatus
from stores.pipeline.configuration.distributed import SettingState, setting_states
from stores.pipeline.download.sessions import suspended_in_strict_order
from stores.pipeline.events.rules import STAGING_MODELS

# How many accounts of refused customers a database's JSON lists.
MAX_LISTED = 100


class Command(SynclineCommand):
    help = (
        "Lists the channel databases with their status and counts, as headquarters last saw them: "
        "no channel is opened. Below are problems such as a missing scheduler or worker. "
        "Exit status: 0."
    )
    example = "channels"

    def handle(self, *args: Any, **options: Any) -> None:
        databases = list(database_rows())
        problems = list(liveness_problems())
        lines = [database_line(row) for row in databases]
        lines += [f"{problem.text} {problem.next_step}" for problem in problems]
        if not lines:
            lines = ["There are no channels yet. Run create_channel to add one."]
        concerns = [problem_as_dict(problem) for problem in problems]
        self.print_json_or_text({"channels": databases, "concerns": concerns}, *lines)


def database_rows() -> Iterator[dict[str, Any]]:
    waiting: Counter[int] = Counter()
    for model in STAGING_MODELS.values():
        waiting += count_by_database(model.objects.open().filter(status=StagingStatus.PENDING))
    quarantined = count_by_database(Quarantine.objects.open())
    pending = pending_by_database()
    suspended = {session.database_id: session for session in suspended_in_strict_order()}
    databases = list(ChannelDatabase.objects.with_channel())
    settings = setting_states(databases)
    blocked_ids = set(Incident.objects.blocking_databases().values_list("database", flat=True))
    for database in databases:
        yield {
            "channel": database.channel.code,
            "name": database.channel.name,
            "kind": database.channel.kind,
            "company": database.channel.company_id,
            "database": database.label,
            "status": database_status(database, is_blocked=database.pk in blocked_ids),
            "error": str(database.last_error) or None,
            "hold": database.hold_reason or None,
            "strict_order": database.strict_order,
            "suspended": suspension_as_dict(suspended.get(database.pk)),
            "counts": {
                "waiting": waiting[database.pk],
                "quarantined": quarantined[database.pk],
                "owed": pending.get(database.pk, 0),
            },
            "last_visit": database.last_visited_at,
            "failures": database.failures,
            "next_try": database.next_try_at if database.is_paused else None,
            "settings": [setting_as_dict(state) for state in settings[database.pk]],
        }


def setting_as_dict(state: SettingState) -> dict[str, Any]:
    return {
        "job": state.job,
        "key": state.key,
        "effective": state.effective,
        "distributed": state.distributed,
        "pending": state.is_pending,
        "excluded": state.is_excluded,
        "confirmed_at": state.confirmed_at,
    }


def suspension_as_dict(session: DownloadSession | None) -> dict[str, Any] | None:
    """The session that, in strict order, all later ones wait for, and whom its channel refuses."""
    if session is None:
        return None
    refused = DownloadException.objects.holding_up().filter(database=session.database_id)
    accounts = refused.order_by("customer").values_list("customer__account_number", flat=True)
    return {
        "session": session.pk,
        "refuses": list(accounts[:MAX_LISTED]),
        "refused": refused.count(),
    }


def pending_by_database() -> dict[int, int]:
    """Count the customers that each database lacks in their present version.

    These are the customers that changed after what it received, and earlier ones that it refused.
    """
    return dict(
        fetch(
            """WITH base AS (
                 SELECT channel_database.id, channel.company_id,
                        greatest(position, received_no) AS received
                   FROM channel_database JOIN channel ON channel.id = channel_id),
               -- Most databases of a company have received the same, and are counted once.
               reached AS (SELECT DISTINCT company_id, received FROM base),
               beyond AS (
                 SELECT company_id, received,
                        (SELECT count(*) FROM customer
                          WHERE customer.company_id = reached.company_id
                            AND customer.change_no > reached.received) AS customers
                   FROM reached)
               SELECT base.id, beyond.customers
                      + (SELECT count(*) FROM download_exception exception
                           JOIN customer ON customer.id = exception.customer_id
                          WHERE exception.database_id = base.id AND exception.settled_at IS NULL
                            -- A person has asked to send this customer again: it is not lacking.
                            AND exception.reason <> 'requested'
                            AND customer.change_no <= base.received)
                 FROM base JOIN beyond USING (company_id, received)"""
        )
    )


def count_by_database(rows: QuerySet[Any]) -> Counter[int]:
    # A default order would become part of the grouping.
    groups = rows.order_by().values("database").annotate(count=Count("*"))
    return Counter({group["database"]: group["count"] for group in groups})


def database_status(database: ChannelDatabase, *, is_blocked: bool) -> str:
    if not (database.is_enabled and database.channel.is_enabled):
        return "disabled"
    if is_blocked:
        return "blocked"
    return "unreachable" if database.last_error else "ok"


def problem_as_dict(problem: LivenessProblem) -> dict[str, str]:
    return {"code": problem.code, "text": problem.text, "next_step": problem.next_step}


def database_line(row: dict[str, Any]) -> str:
    last_visit = "never visited"
    if row["last_visit"]:
        last_visit = f"{row['last_visit']:%Y-%m-%d %H:%M}"
    counts = row["counts"]
    line = (
        f"{row['database']:<16} {row['kind']:<12} {row['company']:<5} {row['status']:<12} "
        f"{last_visit:<17} {counts['waiting']:,} waiting, {counts['quarantined']:,} quarantined, "
        f"{counts['owed']:,} pending"
    )
    if row["hold"]:
        line += f"  Downloads on hold: {row['hold']}"
    if row["suspended"]:
        line += (
            f"  Downloads suspended: {row['database']} refuses"
            f" {counted(row['suspended']['refused'], 'customer')}."
        )
    pending = sorted({state["job"] for state in row["settings"] if state["pending"]})
    if pending:
        line += f"  Settings pending: run {' and '.join(pending)}."
    if row["error"]:
        line += f"  {row['error']}"
    if row["next_try"]:
        failures = counted(row["failures"], "failure")
        line += f" Paused until {row['next_try']:%H:%M:%S} after {failures}."
    return line
