"""Both servers together, shared between commands by two lock files.

A server is a module, postgres or valkey: each has start, stop, running_pid and is_ready.

Each command that uses the servers holds `servers.lock` shared, and the last one out, which gets
it alone, stops them. A demo holds it alone for as long as it runs; others then just connect.
`start.lock` is held only while somebody decides, starts or stops. A killed process frees its
locks by dying, so the next start finds what it left behind and ends it. A server that ends while it
is used is started again: by a demo's supervisor, else by a command that uses it, which also takes
the place of a demo that has ended beside it.
"""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType

from portal.embedded import Unavailable, postgres, processes, valkey
from portal.embedded.paths import Paths
from portal.embedded.watchdog import Watchdog

# Longer than the longest start of a server.
DECIDE_S = 150
# A demo stops its servers once, between loading and serving.
DEMO_S = 60
OTHERS_S = 10
CHILD_STOP = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
Say = Callable[[str], None]


@contextmanager
def in_use(
    paths: Paths, say: Say, servers: Sequence[ModuleType] = (postgres, valkey)
) -> Iterator[None]:
    """Have these servers running inside the block; the last user out stops them.

    Effects: starts what does not run, also what ends meanwhile, and says so in one line; SIGTERM to
    this process when that cannot be done. Errors: Unavailable.
    """
    paths.make()
    lock = processes.open_lock(paths.use_lock)
    owner = os.getpid()
    try:
        if not join(paths, lock, servers, say, "Starting"):
            wait_for_demo(paths, servers)
        again = partial(join_in_process, paths, lock, servers)
        with Watchdog(partial(is_missing, paths, servers), again, say):
            yield
    finally:
        # A fork of this process shares the lock but is not the user of the servers.
        if os.getpid() == owner:
            leave(paths, lock)


def is_missing(paths: Paths, servers: Sequence[ModuleType]) -> bool:
    """Whether one of the servers does not run."""
    return any(server.running_pid(paths) is None for server in servers)


def join(
    paths: Paths, lock: int, servers: Sequence[ModuleType], say: Say, announcement: str
) -> bool:
    """Hold the servers shared and see that they run; False when a demo has them.

    Shape: announcement begins the sentence that is said if something must be started. Errors:
    Unavailable.
    """
    with deciding(paths):
        if processes.try_lock(lock, fcntl.LOCK_EX):
            end_children(paths)
        if not processes.try_lock(lock, fcntl.LOCK_SH):
            return False
        if is_missing(paths, servers):
            say(f"{announcement} the embedded servers in {paths.data_dir}")
        for server in servers:
            server.start(paths)
        return True


def join_in_process(
    paths: Paths, lock: int, servers: Sequence[ModuleType]
) -> "subprocess.Popen[str]":
    """Start what has ended in a process of its own, without waiting for it.

    It shares the lock: what it holds is held by this process too, and stays so when it ends.
    """
    names = [server.__name__.rpartition(".")[2] for server in servers]
    return subprocess.Popen(  # noqa: S603 - argv is ours, never a user's text
        [sys.executable, "-m", "portal.embedded.servers", str(paths.data_dir), str(lock), *names],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        pass_fds=[lock],
        # Ctrl-C is for the command, which waits for it.
        start_new_session=True,
    )


def leave(paths: Paths, lock: int) -> None:
    """Let go of the servers; whoever then has the lock alone was the last and stops them."""
    with deciding(paths):
        if processes.try_lock(lock, fcntl.LOCK_EX):
            stop(paths)
        os.close(lock)


def wait_for_demo(paths: Paths, servers: Sequence[ModuleType]) -> None:
    """Wait until the servers of a running demo answer. Errors: Unavailable."""
    if not processes.wait_until(lambda: all(server.is_ready(paths) for server in servers), DEMO_S):
        raise Unavailable(f"The servers of the demo do not answer: see {paths.logs}")


def claim(paths: Paths) -> int | None:
    """Take the servers for a demo, alone and for as long as the answer stays open.

    Shape: the lock's descriptor; None when a demo has them. Effects: ends what a killed demo or
    command left behind. Errors: Unavailable when other commands go on using the servers.
    """
    paths.make()
    lock = processes.open_lock(paths.use_lock)
    for _second in range(OTHERS_S):
        with deciding(paths):
            if processes.try_lock(lock, fcntl.LOCK_EX):
                end_children(paths)
                stop(paths)
                return lock
            if not processes.try_lock(lock, fcntl.LOCK_SH):
                os.close(lock)
                return None
            processes.try_lock(lock, fcntl.LOCK_UN)
        time.sleep(1)
    os.close(lock)
    raise Unavailable(
        f"Another command is using the servers in {paths.data_dir}: wait until it ends, then start"
        " the demo"
    )


@contextmanager
def running(paths: Paths) -> Iterator[None]:
    """Have the servers running inside the block, for the one who claimed them.

    Errors: Unavailable.
    """
    try:
        with deciding(paths):
            postgres.start(paths)
            valkey.start(paths)
        yield
    finally:
        stop(paths)


def stop(paths: Paths) -> None:
    """Stop both servers, the queue first."""
    valkey.stop(paths)
    postgres.stop(paths)


def end_children(paths: Paths) -> None:
    """End web, workers and scheduler of a supervisor that was killed.

    It had given each a process group of its own, so what a child started ends with it.
    """
    for file in sorted(paths.run.glob("child-*.pid")):
        if pid := processes.pid_in(file, (child_mark(paths),)):
            processes.end(pid, CHILD_STOP, send=os.killpg)
        file.unlink(missing_ok=True)


def child_mark(paths: Paths) -> str:
    """The word in a supervised program's command line that tells whose it is.

    Not the path itself: the supervisor's file would read a percent sign in it as something else.
    """
    return f"syncline={hashlib.sha256(os.fsencode(paths.data_dir)).hexdigest()[:16]}"


@contextmanager
def deciding(paths: Paths) -> Iterator[None]:
    """Be the only one who starts or stops servers. Errors: Unavailable."""
    try:
        with processes.locked(paths.start_lock, seconds=DECIDE_S):
            yield
    except TimeoutError as error:
        raise Unavailable(f"Another start holds {paths.start_lock}: end it first") from error


def main(data_dir: str, lock: str, *names: str) -> None:
    """Start these servers again for the command that holds the lock; ends with what went wrong."""
    servers = [{"postgres": postgres, "valkey": valkey}[name] for name in names]
    try:
        join(Paths(Path(data_dir)), int(lock), servers, print, "A server had stopped: restarted")
    except Unavailable as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
