"""What a test looks at after a fault."""

from typing import Any

from stores.models import ChannelDatabase
from stores.pipeline.integrity.verify import verify
from tests.support.make import query


def waiting(database: ChannelDatabase, table: str = "async_customer") -> int:
    """Events, by default of customers, that the channel does not know HQ to hold."""
    [(count,)] = query(database, f"SELECT count(*) FROM {table} WHERE acknowledged_at IS NULL")  # noqa: S608
    return int(count)


def step_of(document: dict[str, Any], channel: str, step: str = "upload") -> dict[str, Any]:
    """One step of a run's document."""
    return next(
        one for one in document["steps"] if (one["step"], one["channel"]) == (step, channel)
    )


def broken() -> list[str]:
    """Promises that do not hold."""
    return [check.id for check in verify() if not check.ok]
