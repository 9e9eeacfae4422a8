"""Restart servers that end while a command uses them."""

import os
import signal
import subprocess
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

    A start is a process of its own: it may take minutes, for which the other duties of the
    heartbeat cannot wait. It prints what is said once it has succeeded; the last line of its errors
    is why it has failed.

    Errors: Unavailable on leaving the block, with what stood in the way. The command is ended by
    SIGTERM, as a person would, so that it cleans up.
    """

    def __init__(
        self,
        is_missing: Callable[[], bool],
        start_again: Callable[[], "subprocess.Popen[str]"],
        say: Callable[[str], None],
    ) -> None:
        self.is_missing, self.start_again, self.say = is_missing, start_again, say
        self.owner = os.getpid()
        self.start: subprocess.Popen[str] | None = None
        self.missing_since = 0.0
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
        # Nobody would stop what it has yet to start. A fork of this process does not wait for it.
        if self.start and os.getpid() == self.owner:
            self.finish(self.start)
        if self.error:
            raise self.error from None

    def look(self) -> float:
        """Begin to start again what has ended; says in how many seconds to look again."""
        if self.start and self.start.poll() is not None:
            trouble = self.finish(self.start)
            self.start = None
            if trouble and time.monotonic() - self.missing_since > PATIENCE_S:
                self.error = trouble
                os.kill(os.getpid(), signal.SIGTERM)
        if self.error or self.start:
            return LOOK_S
        if not self.is_missing():
            self.missing_since = 0.0
            return LOOK_S
        self.missing_since = self.missing_since or time.monotonic()
        self.start = self.start_again()
        return LOOK_S

    def finish(self, start: "subprocess.Popen[str]") -> Unavailable | None:
        """Wait for the end of a start. Say that it has succeeded, or return why it has not."""
        printed, errors = start.communicate()
        if start.returncode:
            lines = errors.splitlines() or ["The servers could not be started again"]
            return Unavailable(lines[-1])
        if printed:
            self.say(printed.strip())
        return None
