"""When a schedule starts, over all changes of the clocks."""

from datetime import UTC, datetime

from stores.models import Schedule


def starts_in_a_year(schedule: Schedule) -> set[str]:
    """The times of day, in UTC, at which a daily schedule starts. The clocks change twice."""
    start, by_utc = datetime(2026, 12, 31, tzinfo=UTC), set()
    for _ in range(365):
        start = schedule.start_after(start, start)
        by_utc.add(f"{start:%H:%M}")
    return by_utc
