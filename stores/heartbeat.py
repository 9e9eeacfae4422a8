"""The heartbeat of a process: its only thread beside the one that works.

A statement may take minutes, or never come back. Meanwhile the leases of a worker are renewed, the
line to a channel that has stopped answering is cut, and embedded servers that have ended are
started again. Each such duty is a method: it is called when it is due, and says in how many seconds
it is due again. Until then the thread sleeps. A duty takes seconds at most, since the leases wait
for it: what may take longer, such as the start of a server, it leaves to another process.

The thread begins with the first duty and ends with the process. Duties do not keep their objects:
one that was collected is forgotten. A process that is forked has no duties and no thread, since the
lines of its parent are not for it to cut; with a duty of its own its heartbeat begins.
"""

import logging
import os
import threading
from collections.abc import Callable
from math import inf
from time import monotonic
from weakref import WeakMethod

logger = logging.getLogger(__name__)

Duty = Callable[[], float]
# A duty that failed is tried again after so many seconds.
RETRY_S = 1.0


class Heartbeat:
    """Calls methods when they are due, one at a time."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, as a forked process has to: it may have got a lock that is held."""
        self._changed = threading.Condition()
        self._due: dict[WeakMethod[Duty], float] = {}
        self._current: WeakMethod[Duty] | None = None
        self._thread: threading.Thread | None = None
        # Until when it sleeps unless it is woken.
        self._asleep_until = inf

    def add(self, duty: Duty, seconds: float) -> None:
        """Call a method for the first time in so many seconds."""
        with self._changed:
            self._due[WeakMethod(duty)] = due = monotonic() + seconds
            # Mostly it is removed long before; waking the thread would take longer than the rest.
            if due < self._asleep_until:
                self._changed.notify_all()
            if self._thread is None:
                thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
                # If the system has no thread left, the next duty tries again.
                thread.start()
                self._thread = thread

    def remove(self, duty: Duty) -> None:
        """Call a method no more. Returns once no call of it is under way."""
        name = WeakMethod(duty)
        with self._changed:
            self._due.pop(name, None)
            self._changed.wait_for(lambda: self._current != name)

    def _beat(self) -> None:
        while True:
            self._do(self._next())

    def _next(self) -> WeakMethod[Duty]:
        """Sleep until a duty is due; one that is added may be due sooner than the others."""
        with self._changed:
            while True:
                seconds, self._asleep_until = None, inf
                if self._due:
                    first = min(self._due, key=self._due.__getitem__)
                    self._asleep_until = self._due[first]
                    seconds = self._asleep_until - monotonic()
                    if seconds <= 0:
                        self._current = first
                        return first
                self._changed.wait(seconds)

    def _do(self, name: WeakMethod[Duty]) -> None:
        """Call a method, and note when it is due again; not if it was removed meanwhile."""
        try:
            duty = name()
            seconds = duty() if duty else None
        except BaseException:
            # One duty must not end the others, not even by ending its thread.
            logger.exception("a duty of the heartbeat failed; it is tried again")
            seconds = RETRY_S
        with self._changed:
            if seconds is None:
                self._due.pop(name, None)
            elif name in self._due:
                self._due[name] = monotonic() + seconds
            self._current = None
            self._changed.notify_all()


heartbeat = Heartbeat()
os.register_at_fork(after_in_child=heartbeat.reset)
