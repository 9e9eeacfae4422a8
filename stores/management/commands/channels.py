"""List the channels as HQ last knew them."""

from typing import Any

from django.db.models import Count, QuerySet

from stores.jobs.liveness import liveness_problems
from stores.management.base import SynclineCommand
from stores.models import ChannelDatabase, Delivery, Incident, Quarantine
from stores.models.staging import StagingStatus
from stores.pipeline.events.rules import STAGING_MODELS


class Command(SynclineCommand):
    help = (
        "Lists the channel databases with their status and counts, as headquarters last saw them: "
        "no channel is opened. Below are problems such as a missing scheduler or worker. "
        "Exit status: 0."
    )
    example = "channels"

    def handle(self, *args: Any, **options: Any) -> None:
        databases, problems = channel_rows(), list(liveness_problems())
        concerns = [
            {"code": problem.code, "text": problem.text, "next_step": problem.next_step}
            for problem in problems
        ]
        lines = [channel_line(row) for row in databases]
        lines += [f"{problem.text} {problem.next_step}" for problem in problems]
        none = "There are no channels yet. Run create_channel to add one."
        self.answer({"channels": databases, "concerns": concerns}, *(lines or [none]))


def channel_rows() -> list[dict[str, Any]]:
    waiting: dict[int, int] = {}
    for model in STAGING_MODELS.values():
        for database, rows in counts_by_database(
            model.objects.filter(status=StagingStatus.PENDING)
        ).items():
            waiting[database] = waiting.get(database, 0) + rows
    quarantined = counts_by_database(Quarantine.objects.open())
    pending = counts_by_database(Delivery.objects.pending())
    blocked = set(Incident.objects.blocked_databases())
    return [
        {
            "channel": database.channel.code,
            "name": database.channel.name,
            "kind": database.channel.kind,
            "company": database.channel.company_id,
            "database": database.label,
            "status": status_of(database, is_blocked=database.pk in blocked),
            "error": database.last_error or None,
            "counts": {
                "waiting": waiting.get(database.pk, 0),
                "quarantined": quarantined.get(database.pk, 0),
                "owed": pending.get(database.pk, 0),
            },
            "last_visit": database.last_visited_at,
            "failures": database.failures,
            "next_try": database.next_try_at if database.is_paused else None,
        }
        for database in ChannelDatabase.objects.with_channel()
    ]


def counts_by_database(rows: QuerySet[Any]) -> dict[int, int]:
    counts = rows.order_by().values("database").annotate(rows=Count("*"))
    return {row["database"]: row["rows"] for row in counts}


def status_of(database: ChannelDatabase, *, is_blocked: bool) -> str:
    """Disabled, blocked by an incident, unreachable at the last visit, or ok."""
    if not (database.is_enabled and database.channel.is_enabled):
        return "disabled"
    if is_blocked:
        return "blocked"
    return "unreachable" if database.last_error else "ok"


def pause_message(row: dict[str, Any]) -> str:
    """Until when schedules leave the database alone, and why."""
    if row["next_try"] is None:
        return ""
    return f" Paused until {row['next_try']:%H:%M:%S} after {row['failures']} failures."


def channel_line(row: dict[str, Any]) -> str:
    at = f"{row['last_visit']:%Y-%m-%d %H:%M}" if row["last_visit"] else "never visited"
    counts = ", ".join(f"{count:,} {word}" for word, count in row["counts"].items())
    line = (
        f"{row['database']:<16} {row['kind']:<12} {row['company']:<5} {row['status']:<12} {at:<17}"
    )
    return f"{line} {counts}" + (f"  {row['error']}" if row["error"] else "") + pause_message(row)
