"""Steps that one worker does side by side, each in a thread with its own connection to HQ."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Self

from stores.hqdb.threads import WorkerThread, join_all
from stores.models import RunStep
from stores.models.run import RunCancelled

# A visit mostly waits, for the channel or for HQ; each holds a batch in memory.
MAX_PARALLEL_STEPS = 4


class WorkerPool:
    """The threads of a worker: each does one step at a time; as many as were needed at once.

    Leaving waits for them; by a signal or an error it asks their steps to stop, which they do at
    their next chunk. What a step could not record itself, such as RunLost, is raised here.
    """

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.busy: list[RunStep] = []
        self.threads: list[PoolThread] = []
        self.tasks: SimpleQueue[tuple[Callable[[], None], RunStep] | None] = SimpleQueue()
        self.changed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind and not issubclass(kind, RunCancelled):
            self.request_stop()
        join_all(self.threads)
        if kind is None:
            self.raise_error()

    def submit(self, work: Callable[[], None], row: RunStep) -> None:
        """Have a thread do the work on a step."""
        self.busy.append(row)
        if len(self.threads) < len(self.busy):
            self.threads.append(PoolThread(self))
            self.threads[-1].start()
        self.tasks.put((work, row))

    def wait(self, seconds: float) -> None:
        """Wait until a thread is free, at most so long. Errors: what a thread could not record."""
        self.changed.wait(seconds)
        self.changed.clear()
        self.raise_error()

    def raise_error(self) -> None:
        for thread in self.threads:
            if thread.error:
                raise thread.error

    def request_stop(self) -> None:
        """Have the steps stop where nothing is half done, to be claimed again."""
        for row in list(self.busy):
            row.stop_requested = True


class PoolThread(WorkerThread):
    def __init__(self, pool: WorkerPool) -> None:
        super().__init__(f"step {len(pool.threads) + 1}", pool.worker)
        self.pool = pool

    def work(self) -> None:
        for work, row in iter(self.pool.tasks.get, None):
            work()
            self.pool.busy.remove(row)
            self.pool.changed.set()

    def on_exit(self) -> None:
        self.pool.changed.set()

    def put_stop(self) -> None:
        self.pool.tasks.put(None)

    def request_stop(self) -> None:
        self.pool.request_stop()
