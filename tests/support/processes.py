"""Real processes on the servers of the test: `manage.py` commands, and processes to be killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from stores import failpoints
from stores.hqdb.locks import living
from stores.models import JobRun, RunStep
from stores.models.run import RunStatus

ROOT = Path(__file__).resolve().parents[2]


class Died(BaseException):
    """The process ends here: no handler of the code under test catches it."""


def die() -> None:
    raise Died


@contextmanager
def dying_at(failpoint: str) -> Iterator[None]:
    """The code inside the block must reach the failpoint, and ends there as if it was killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(failpoints.actions, failpoint, die)
        with pytest.raises(Died):
            yield


def hear_signals() -> None:
    """Before a process of ours begins: whoever runs the tests may ignore a signal that they send.

    Under nohup that is SIGHUP, in a shell's background SIGINT too; a child would ignore them too.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def environment(*, hq: str = "") -> dict[str, str]:
    """What a process of its own needs to find the servers and the database of this test.

    Or another one of HQ, by its address.
    """
    return os.environ | {
        "DATABASE_URL": hq or hq_url(),
        "REDIS_URL": settings.REDIS_URL,
        "SYNCLINE_DATA_DIR": str(settings.SYNCLINE_DATA_DIR),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
    }


def hq_url() -> str:
    """The address of HQ's test database."""
    found = connection.settings_dict
    secret = f":{quote(found['PASSWORD'], safe='')}" if found["PASSWORD"] else ""
    user, name = f"{quote(found['USER'], safe='')}{secret}@", quote(found["NAME"], safe="")
    if found["HOST"].startswith("/"):
        return f"postgresql://{user}/{name}?host={found['HOST']}&port={found['PORT'] or 5432}"
    return f"postgresql://{user}{found['HOST']}:{found['PORT'] or 5432}/{name}"


def manage(*words: str, hq: str = "") -> "subprocess.CompletedProcess[str]":
    """A command of manage.py in a process of its own, to its end; HQ may be at another address."""
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=environment(hq=hq),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def running(*words: str) -> Iterator["subprocess.Popen[str]"]:
    """A command of manage.py while it runs; killed at the end if it has not ended by itself."""
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hear_signals,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def until(condition: Callable[[], object], seconds: float = 60, *, every_s: float = 0.02) -> None:
    """Wait for something that another process does.

    It is looked for so often: each look takes time from that process.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(every_s)


def kill(pid: int) -> None:
    """End a process as the power does; one that is gone already is fine."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def is_running(run: JobRun) -> bool:
    """Whether a worker has begun the run and none has ended it."""
    return JobRun.objects.filter(pk=run.pk, status=RunStatus.RUNNING).exists()


def is_executed(run: JobRun) -> bool:
    """Whether a process lives that does a step of the run."""
    steps = run.steps.filter(status=RunStatus.RUNNING)
    return bool(living(steps.values_list("worker", flat=True)))


def pid_of(step: RunStep) -> int:
    """The process that does the step."""
    return int(step.worker.rpartition(":")[2].partition("-")[0])


def children_of(pid: int) -> list[int]:
    """The processes that a process has forked."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def forking(answer: Path, **variables: str) -> Iterator[Callable[..., int]]:
    """Start a process that forks a child for each task, with environment variables of its own.

    Yields a function that runs one task in a child and returns the child's exit status. With
    `dies_at` the child dies at that failpoint: by SIGKILL (the status is minus the signal) or,
    with `by="raise"`, by an exception. What the task returns is written to the file `answer`.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (variables | {"KILLABLE_ANSWER": str(answer)}).items():
            patch.setenv(name, value)
        with running("-m", "tests.support.forked") as process:

            def run_task(task: str, *, dies_at: str = "", by: str = "kill") -> int:
                line = f"{task} {dies_at} {by}" if dies_at else task
                process.stdin.write(line + "\n")
                process.stdin.flush()
                process.stdout.readline()  # the child's process id
                return int(process.stdout.readline())

            yield run_task
