"""Start, find and end server processes; found by pid file and command line, never by pid alone."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

# Starts the program in the background of a shell that ends at once: the program has a session of
# its own, so Ctrl-C passes it by, and never becomes a zombie of ours.
DETACH = 'log=$1; shift; exec "$@" </dev/null >>"$log" 2>&1 &'
PAUSE_S = 0.02


def detach(argv: Sequence[str], log: Path) -> None:
    """Start a server that outlives this process."""
    run(["/bin/sh", "-c", DETACH, "sh", str(log), *argv], start_new_session=True)


def run(
    argv: Sequence[str], *, start_new_session: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and keep what it says.

    PG… variables of the user's own work must not reach our servers. Errors: OSError.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run(  # noqa: S603 - argv is ours, never a user's text
        argv,
        env=environ,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        start_new_session=start_new_session,
    )


def command_line(pid: int) -> str:
    """The words a process was started with; empty when it is gone or only waits to be reaped."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return ""
        return run(["ps", "-ww", "-o", "command=", "-p", str(pid)]).stdout.strip()
    except OSError:
        return ""
    return os.fsdecode(words).replace("\0", " ").strip()


def is_gone(pid: int) -> bool:
    """Whether the pid is free: a process that only waits to be reaped still has it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def pid_in(file: Path, marks: Sequence[str]) -> int | None:
    """The pid a file names, if that process runs and its command line has all the marks."""
    try:
        pid = int(file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    words = command_line(pid)
    return pid if all(mark in words for mark in marks) else None


def end(
    pid: int,
    signals: Sequence[tuple[signal.Signals, float]],
    *,
    send: Callable[[int, int], None] = os.kill,
) -> None:
    """Send a process one signal after the other, each with its patience, until it is gone.

    Units: seconds. A pid that another program got in the meantime is left alone.
    """
    words = command_line(pid)
    for number, patience_s in signals:
        if not words or command_line(pid) != words:
            return
        with suppress(ProcessLookupError):
            send(pid, number)
        if wait_until(lambda: command_line(pid) != words, patience_s):
            return


def wait_until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Wait for something to become true; False when it did not in time."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE_S)
    return True


@contextmanager
def locked(file: Path, *, seconds: float) -> Iterator[None]:
    """Hold a lock file alone. Errors: TimeoutError."""
    descriptor = open_lock(file)
    try:
        if not wait_until(lambda: try_lock(descriptor, fcntl.LOCK_EX), seconds):
            raise TimeoutError(file)
        yield
    finally:
        # Not by closing alone: a process forked meanwhile would go on holding it.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def open_lock(file: Path) -> int:
    """Open a lock file, which other programs do not inherit."""
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int, kind: int) -> bool:
    """Take the lock now, or say that somebody else has it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
