"""The id of a save. All other ids come from it, so that what is sent twice is saved once."""

import secrets
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

SAVES = UUID("6a1f4f0e-6f0c-4c0d-9d0f-7d3a4c1b2e10")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RANDOM_BITS = 80
VERSION_7, RFC_VARIANT = 7 << 76, 2 << 62
OTHER_BITS = (1 << RANDOM_BITS) - 1 - (15 << 76) - (3 << 62)


def new_save_id() -> UUID:
    """The id of a new save, with the time: a UUID of version 7."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(RANDOM_BITS) & OTHER_BITS
    return UUID(int=milliseconds << RANDOM_BITS | VERSION_7 | RFC_VARIANT | random)


def made_id(save_id: UUID, purpose: str) -> UUID:
    """An id of a save, as random as that of the save is."""
    return UUID(bytes=uuid5(SAVES, f"{save_id} {purpose}").bytes, version=4)


def time_of(save_id: UUID, now: datetime) -> datetime:
    """When a save began, which is the same if it is repeated: `now` if its id does not say it."""
    milliseconds = save_id.int >> RANDOM_BITS
    if save_id.version != 7 or milliseconds > now.timestamp() * 1000:
        return now
    return EPOCH + timedelta(milliseconds=milliseconds)
