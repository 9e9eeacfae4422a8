"""Threads that work for a worker, each with its own connection to HQ, and the waiting for them."""

import threading
from collections.abc import Sequence

from django.db import connection, connections

# What Ctrl-C and SIGTERM raise.
SIGNALS = (KeyboardInterrupt, SystemExit)


class WorkerThread(threading.Thread):
    """A thread that does a worker's `work`; what that could not record itself is its `error`."""

    def __init__(self, name: str, worker: str) -> None:
        super().__init__(name=name, daemon=True)
        self.worker = worker
        self.has_ended = threading.Event()
        self.error: BaseException | None = None
        self.is_stopping = False

    def run(self) -> None:
        try:
            # A worker that is taken for dead is cut off by this name.
            set_application_name(self.worker)
            self.work()
        except BaseException as error:
            self.error = error
        finally:
            try:
                connections.close_all()
            finally:
                self.on_exit()
                self.has_ended.set()

    def work(self) -> None:
        """Work until asked to stop."""
        raise NotImplementedError

    def on_exit(self) -> None:
        """Whatever happened: see that nobody waits for this thread."""

    def stop(self) -> None:
        """Say that nothing follows; to say it again changes nothing."""
        if not self.is_stopping:
            self.put_stop()
            self.is_stopping = True

    def put_stop(self) -> None:
        """Put the stop behind what is to be worked on."""
        raise NotImplementedError

    def request_stop(self) -> None:
        """Have it stop where nothing is half done."""


def set_application_name(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", [name])


def join_all(threads: Sequence[WorkerThread]) -> None:
    """Tell the helpers that nothing follows, and wait until each has ended.

    A signal such as Ctrl-C asks them to stop; it does not end the waiting, but is raised after it:
    who leaves a helper behind may stop the servers while it writes.
    """
    interruption = None
    while not all(thread.has_ended.is_set() for thread in threads):
        try:
            for thread in threads:
                thread.stop()
            for thread in threads:
                # Not join(): interrupted, it takes a thread for ended that is not.
                thread.has_ended.wait()
        except SIGNALS as signal:
            interruption = signal
            for thread in threads:
                thread.request_stop()
    if interruption:
        raise interruption
