"""Restart servers that end while a command uses them."""

import os
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from portal.embedded import Unavailable
from stores.heartbeat import heartbeat

LOOK_S = 1.0
# The backends of a killed PostgreSQL come to the end of their statements first.
PATIENCE_S = 30


class Watchdog:
    """Keeps servers running inside its block, or ends the command if they cannot be started.

    Errors: Unavailable on leaving the block, with what stood in the way. The command is ended by
    SIGTERM, as a person would, so that it cleans up.
    """

    def __init__(self, is_missing: Callable[[], bool], start_again: Callable[[], object]) -> None:
        self.is_missing, self.start_again = is_missing, start_again
        self.missing_since: float | None = None
        self.error: Unavailable | None = None

    def __enter__(self) -> Self:
        heartbeat.add(self.look, LOOK_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        heartbeat.remove(self.look)
        if self.error:
            raise self.error from None

    def look(self) -> float:
        """Start again what has ended; says in how many seconds to look again."""
        if self.error:
            return LOOK_S
        if not self.is_missing():
            self.missing_since = None
            return LOOK_S
        self.missing_since = self.missing_since or time.monotonic()
        try:
            self.start_again()
        except Unavailable as error:
            if time.monotonic() - self.missing_since > PATIENCE_S:
                self.error = error
                os.kill(os.getpid(), signal.SIGTERM)
        return LOOK_S
