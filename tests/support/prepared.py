"""The databases with which every test process begins, made once while the tests are collected.

To migrate them takes longer than many a file of tests. `python -m tests.support.prepared FOLDER` is
the process that makes them; whoever needs them waits for it and copies them. A demo that is given
them begins as at its second start.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import MutableMapping
from pathlib import Path

from portal.embedded import postgres
from portal.embedded.paths import Paths

ROOT = Path(__file__).resolve().parents[2]
# The folder of the run's prepared databases, for its workers.
VARIABLE = "SYNCLINE_TEST_PREPARED"
# HQ's database of the tests, a copy of the one that a new installation has.
HQ = "test_syncline"
# A channel's database of each engine, which is copied and never opened again.
CHANNEL, CHANNEL_FILE = "ring_template", "ring_template.sqlite3"
READY, LOG, COMPILED = "ready", "log.txt", "compiled"
GIVE_UP_S = 300


def begin(folder: Path) -> "subprocess.Popen[bytes]":
    """Start the process that makes them in the folder."""
    folder.mkdir()
    os.environ[VARIABLE] = str(folder)
    environ = os.environ | {"SYNCLINE_DATA_DIR": str(folder)}
    keep_compiled(environ)
    with (folder / LOG).open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.support.prepared", str(folder)],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def keep_compiled(environ: MutableMapping[str, str]) -> None:
    """Let the processes of the run share what Python compiles, where it may keep nothing.

    To compile all modules again takes a fifth of the time in which a command starts.
    """
    if environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        environ["PYTHONPYCACHEPREFIX"] = str(Path(environ[VARIABLE]) / COMPILED)


def copy_to(paths: Paths) -> None:
    """Give a data folder without databases those of the run. Waits until they are made."""
    prepared = Paths(Path(os.environ[VARIABLE]))
    give_up = time.monotonic() + GIVE_UP_S
    while not (prepared.data_dir / READY).exists():
        if time.monotonic() > give_up:
            raise RuntimeError((prepared.data_dir / LOG).read_text() or "They take too long.")
        time.sleep(0.05)
    paths.make()
    shutil.copytree(prepared.pgdata, paths.pgdata)
    shutil.copy(prepared.data_dir / CHANNEL_FILE, paths.data_dir)


def main(folder: Path) -> None:
    paths = Paths(folder)
    try:
        postgres.start(paths, durable=False)
        make_databases()
    finally:
        postgres.stop(paths)
    (folder / READY).touch()


def make_databases() -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from stores.channeldb.connect.connection import connect
    from stores.channeldb.provision import create_database, migrate_database, write_company
    from tests.support.channels import Channel
    from tests.support.databases import copy_database
    from tests.support.hq import COMPANY, empty_hq

    call_command("migrate", verbosity=0)
    connection.close()
    copy_database(postgres.HQ_DATABASE, HQ)
    connection.settings_dict["NAME"] = HQ
    # Migrations insert rows; the first test starts without them, like all others.
    empty_hq()
    for number, url in enumerate((f"embedded:{CHANNEL}", f"sqlite:///{CHANNEL_FILE}"), 9001):
        channel = Channel(number, url)
        create_database(channel)
        migrate_database(channel)
        with connect(channel) as alias:
            write_company(alias, COMPANY)


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
    main(Path(sys.argv[1]))
