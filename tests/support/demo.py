"""A demo in a data folder of its own, as a person starts and ends it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal.embedded import servers
from portal.embedded.paths import Paths
from tests.support.processes import ROOT, hear_signals


def stopped_later(folder: Path) -> Iterator[Paths]:
    """The paths of a data folder; what still runs in it is ended afterwards."""
    paths = Paths(folder)
    yield paths
    servers.end_children(paths)
    servers.stop(paths)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(data_dir: Path) -> dict[str, str]:
    """What a process needs to work in a data folder, and in no other."""
    unwanted = ("DATABASE_URL", "REDIS_URL", "PYTEST_CURRENT_TEST")
    environ = {name: value for name, value in os.environ.items() if name not in unwanted}
    return environ | {"SYNCLINE_DATA_DIR": str(data_dir)}


@contextmanager
def running_demo(data_dir: Path, port: int) -> "Iterator[tuple[str, subprocess.Popen[str]]]":
    """A demo that answers, and what it told; ended as Ctrl-C does."""
    words = [sys.executable, str(ROOT / "manage.py"), "demo", "--port", str(port)]
    words += ["--workers", "1", "--customers", "10"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    demo = subprocess.Popen(
        words, env=environment(data_dir), text=True, preexec_fn=hear_signals, **pipes
    )
    try:
        yield read_until(demo, "Ctrl-C stops everything"), demo
    finally:
        if demo.poll() is None:
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=90)


def read_until(process: "subprocess.Popen[str]", words: str) -> str:
    assert process.stdout
    told = ""
    while words not in told and (line := process.stdout.readline()):
        told += line
    return told
