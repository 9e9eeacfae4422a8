"""What tests read after a fault: steps of a run, and events of a channel."""

from typing import Any

from stores.models import ChannelDatabase
from tests.support.make import query


def waiting(database: ChannelDatabase, table: str = "async_customer") -> int:
    """How many events of a table HQ has not acknowledged; by default those of customers."""
    [(count,)] = query(database, f"SELECT count(*) FROM {table} WHERE acknowledged_at IS NULL")  # noqa: S608
    return int(count)


def step_of(document: dict[str, Any], channel: str, step: str = "upload") -> dict[str, Any]:
    """The document of one step of a run, from the run's document."""
    for entry in document["steps"]:
        if entry["step"] == step and entry["channel"] == channel:
            return dict(entry)
    raise LookupError(f"The run has no step {step} for {channel}.")
