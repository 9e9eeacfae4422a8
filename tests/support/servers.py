"""Gives every test process a PostgreSQL and a Valkey of its own; a pytest plugin.

It is named in `addopts`, because it must set the data folder before pytest-django reads the
settings, and that is before any conftest.py. Under xdist each worker has its pair and the
controller none. What a killed run leaves behind, the next one removes.
"""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from portal.embedded import postgres, processes, valkey
from portal.embedded.paths import Paths
from tests.support import prepared

# Short: a socket's path in it must not exceed 107 bytes.
PREFIX = "syncline-test-"
# Tests copy databases all the time, which takes a third less where there is room in memory.
MEMORY, ROOM_BYTES = Path("/dev/shm"), 4 << 30  # noqa: S108 - mkdtemp makes a folder of its own


def parent_folder() -> Path:
    """Where data folders are made: in memory, unless TMPDIR names a place or there is no room."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    return MEMORY if has_room and "TMPDIR" not in os.environ else Path(tempfile.gettempdir())


def leftovers() -> Iterator[Path]:
    """Data folders of test runs that ended without removing them."""
    for folder in parent_folder().glob(PREFIX + "*"):
        with suppress(OSError, ValueError):
            owner = int((folder / "owner").read_text())
            if folder.stat().st_uid == os.geteuid() and not processes.command_line(owner):
                yield folder


def remove(folder: Path) -> None:
    """Stop the servers of a data folder and remove it."""
    paths = Paths(folder)
    valkey.stop(paths)
    postgres.stop(paths)
    shutil.rmtree(folder, ignore_errors=True)


def start(paths: Paths) -> None:
    """Start servers with the databases of the run."""
    prepared.keep_compiled(os.environ)
    prepared.copy_to(paths)
    postgres.start(paths, durable=False)
    valkey.start(paths)


def make_folder() -> Path:
    """Make the data folder of this process and point the settings at it."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent_folder())).resolve()
    (folder / "owner").write_text(str(os.getpid()))
    os.environ["SYNCLINE_DATA_DIR"] = str(folder)
    for name in ("DATABASE_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    # A browser test has a running event loop, and Django would refuse the database beside it.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    return folder


FOLDER = make_folder()


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three workers on two cores: for a fifth of the time a test waits for processes of its own."""
    return max(1, len(os.sched_getaffinity(0)) * 3 // 2)


def is_worker(config: pytest.Config) -> bool:
    """Whether this process does tests that another one hands to it."""
    return hasattr(config, "workerinput")


def pytest_sessionstart(session: pytest.Session) -> None:
    for folder in leftovers():
        remove(folder)
    if not session.config.option.collectonly and not is_worker(session.config):
        process = prepared.begin(FOLDER / "prepared")
        session.config.add_cleanup(process.wait)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the servers, which nothing needs before.

    And let the garbage collector pass over what is loaded now and stays: a tenth of the time.
    """
    if not session.config.option.collectonly:
        start(Paths(FOLDER))
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 100)


def pytest_unconfigure() -> None:
    remove(FOLDER)
