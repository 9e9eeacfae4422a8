"""Restart servers that end while a command uses them."""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from portal.embedded import Unavailable

LOOK_S = 1.0
# The backends of a killed PostgreSQL come to the end of their statements first.
PATIENCE_S = 30


class Watchdog(threading.Thread):
    """Keeps servers running inside its block, or ends the command if they cannot be started.

    Errors: Unavailable on leaving the block, with what stood in the way. The command is ended by
    SIGTERM, as a person would, so that it cleans up.
    """

    def __init__(self, is_missing: Callable[[], bool], start_again: Callable[[], object]) -> None:
        super().__init__(name="watchdog of the servers", daemon=True)
        self.is_missing, self.start_again = is_missing, start_again
        self.is_over = threading.Event()
        self.error: Unavailable | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_over.set()
        # A fork of this process has no such thread, and ends without waiting for it.
        self.join()
        if self.error:
            raise self.error from None

    def run(self) -> None:
        since = None
        while not self.is_over.wait(LOOK_S):
            if not self.is_missing():
                since = None
                continue
            since = since or time.monotonic()
            try:
                self.start_again()
            except Unavailable as error:
                if time.monotonic() - since > PATIENCE_S:
                    self.error = error
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
