"""Steps that one worker does side by side, each in a thread with its own connection to HQ."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Self

from django.db import connections

from stores.locks import name_connection
from stores.models import RunStep
from stores.models.run import SIGNALS, RunCancelled

# A visit mostly waits, for the channel or for HQ; each holds a batch in memory.
SIDE_BY_SIDE = 4


class Hands:
    """A worker's hands: each does one step at a time, and there are as many as it needed at once.

    Leaving waits for them; by a signal or an error it calls their steps back, which then stop at
    their next chunk. What a step could not record itself, such as RunLost, is raised here.
    """

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.busy: list[RunStep] = []
        self.threads: list[Hand] = []
        self.tasks: SimpleQueue[tuple[Callable[[], None], RunStep] | None] = SimpleQueue()
        self.changed = threading.Event()
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind and not issubclass(kind, RunCancelled):
            self.call_back()
        self.rest()
        if kind is None:
            self.raise_error()

    def take(self, work: Callable[[], None], row: RunStep) -> None:
        """Have a hand do the work on a step."""
        self.busy.append(row)
        if len(self.threads) < len(self.busy):
            self.threads.append(Hand(self))
            self.threads[-1].start()
        self.tasks.put((work, row))

    def wait(self, seconds: float) -> None:
        """Wait until a hand is free again, at most so long. Errors: what it could not record."""
        self.changed.wait(seconds)
        self.changed.clear()
        self.raise_error()

    def raise_error(self) -> None:
        if self.error:
            raise self.error

    def call_back(self) -> None:
        """Have the steps stop where nothing is half done, and wait for whoever comes next."""
        for row in list(self.busy):
            row.is_called_back = True

    def rest(self) -> None:
        """Wait until nobody works any more. Ctrl-C does not end the waiting, but is raised after.

        Who leaves a hand behind may stop the servers while it writes.
        """
        stop = None
        for _ in self.threads:
            self.tasks.put(None)
        while not all(hand.has_ended.is_set() for hand in self.threads):
            try:
                for hand in self.threads:
                    # Not join(): interrupted, it takes a thread for ended that is not.
                    hand.has_ended.wait()
            except SIGNALS as signal:
                stop = signal
                self.call_back()
        if stop:
            raise stop


class Hand(threading.Thread):
    """One of a worker's hands."""

    def __init__(self, hands: Hands) -> None:
        super().__init__(name=f"hand {len(hands.threads) + 1}", daemon=True)
        self.hands = hands
        self.has_ended = threading.Event()

    def run(self) -> None:
        hands = self.hands
        try:
            # A worker that is taken for dead is cut off by this name.
            name_connection(hands.worker)
            for work, row in iter(hands.tasks.get, None):
                work()
                hands.busy.remove(row)
                hands.changed.set()
        except BaseException as error:
            hands.error = hands.error or error
            hands.changed.set()
        finally:
            try:
                connections.close_all()
            finally:
                self.has_ended.set()
