"""Staged events in states and with values that tests choose, past the log's guard."""

from typing import Any

from stores.models import OpenEvent
from stores.models.staging import Event
from tests.support.damage import damage


def overwrite_events(table: str, assignments: str, condition: str = "true") -> None:
    """Change staged events, which nothing else does."""
    damage(f"UPDATE {table} SET {assignments} WHERE {condition}")  # noqa: S608 - a test's own words


def open_event(event: Event, status: str, reason: str | None, **columns: Any) -> OpenEvent:
    """Have a staged event wait or fail, as conversion would."""
    return OpenEvent.objects.create(
        table=event.log_table(),
        event_id=event.pk,
        batch_id=event.batch_id,
        company_id=event.company_id,
        async_account=event.async_account,
        account_number=event.account_number,
        status=status,
        reason=reason,
        **columns,
    )
