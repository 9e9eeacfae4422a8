"""The door of a shop: tills serve while it is open; somebody shuts it to change the database."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Door:
    """Any number of tills inside, or one person and no till; counts how often it was shut."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.inside, self.is_shut, self.times = 0, False, 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """For a till, while it serves one customer."""
        with self.changed:
            self.changed.wait_for(lambda: not self.is_shut)
            self.inside += 1
        try:
            yield
        finally:
            with self.changed:
                self.inside -= 1
                self.changed.notify_all()

    @contextmanager
    def shut(self) -> Iterator[None]:
        """For who changes the database: waits until the last till has served its customer."""
        with self.changed:
            self.changed.wait_for(lambda: not self.is_shut)
            self.is_shut = True
            self.times += 1
            self.changed.wait_for(lambda: not self.inside)
        try:
            yield
        finally:
            with self.changed:
                self.is_shut = False
                self.changed.notify_all()
