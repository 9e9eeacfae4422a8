"""Threads that work for a worker, each with its own connection to HQ, and the waiting for them."""

import threading
from collections.abc import Sequence

from django.db import connection, connections

# What Ctrl-C and SIGTERM raise.
SIGNALS = (KeyboardInterrupt, SystemExit)


class Helper(threading.Thread):
    """A thread that does a worker's `work`; what that could not record itself is its `error`."""

    def __init__(self, name: str, worker: str) -> None:
        super().__init__(name=name, daemon=True)
        self.worker = worker
        self.has_ended = threading.Event()
        self.error: BaseException | None = None
        self.is_told = False

    def run(self) -> None:
        try:
            # A worker that is taken for dead is cut off by this name.
            name_connection(self.worker)
            self.work()
        except BaseException as error:
            self.error = error
        finally:
            try:
                connections.close_all()
            finally:
                self.leave()
                self.has_ended.set()

    def work(self) -> None:
        """Work until the end is told."""
        raise NotImplementedError

    def leave(self) -> None:
        """Whatever happened: see that nobody waits for this thread."""

    def tell_the_end(self) -> None:
        """Say that nothing follows; to say it again changes nothing."""
        if not self.is_told:
            self.put_the_end()
            self.is_told = True

    def put_the_end(self) -> None:
        """Put the end behind what is to be worked on."""
        raise NotImplementedError

    def call_back(self) -> None:
        """Have it stop where nothing is half done."""


def name_connection(name: str) -> None:
    """Let HQ know this thread's connection by such a name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", [name])


def see_off(helpers: Sequence[Helper]) -> None:
    """Tell the helpers that nothing follows, and wait until each has ended.

    A signal such as Ctrl-C calls them back; it does not end the waiting, but is raised after it:
    who leaves a helper behind may stop the servers while it writes.
    """
    stop = None
    while not all(helper.has_ended.is_set() for helper in helpers):
        try:
            for helper in helpers:
                helper.tell_the_end()
            for helper in helpers:
                # Not join(): interrupted, it takes a thread for ended that is not.
                helper.has_ended.wait()
        except SIGNALS as signal:
            stop = signal
            for helper in helpers:
                helper.call_back()
    if stop:
        raise stop
