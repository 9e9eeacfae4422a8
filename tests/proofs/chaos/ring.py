"""A whole ring on this computer: servers, four channels, a worker, a pool of two, a scheduler.

The pool is on a machine of its own: as the manual says, it shares the folder with the files of
shops, and has its own number journal.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from django.conf import settings
from django.core.management import call_command

from stores.models import Channel, ChannelDatabase
from stores.models.channel import StatementMode
from stores.pipeline import number_journal
from stores.pipeline.register import register_channel
from tests.proofs.chaos.documents import ON_TRICKLE_FEED
from tests.proofs.chaos.places import Place
from tests.support.processes import ROOT, environment
from tests.support.proxy import Proxy

SHOPS = {
    "houston": ("store", "embedded"),
    "web": ("online", "embedded"),
    "popup": ("store", "sqlite:///channels/popup.sqlite3"),
    "kiosk": ("store", "sqlite:///channels/kiosk.sqlite3"),
}
FIRST_NUMBER = 5001
SERVICES = {
    "worker 1": ("-m", "tests.proofs.chaos.worker", "1"),
    "worker 2": ("-m", "tests.proofs.chaos.worker", "2"),
    "scheduler": ("manage.py", "scheduler"),
}
ON_SECOND_MACHINE = ("worker 2",)


def open_shops(lines: Sequence[Proxy]) -> list[Place]:
    """Register the four channels; HQ reaches those on PostgreSQL over the lines, one each."""
    call_command("migrate", verbosity=0)
    places = []
    for code, (kind, url) in SHOPS.items():
        database = register_channel(
            code=code,
            name=code.title(),
            kind=kind,
            company="USRT",
            database=url,
            account_format="C-######",
            first_number=FIRST_NUMBER,
        )
        places.append(Place.of(database))
    Channel.objects.filter(code__in=ON_TRICKLE_FEED).update(
        statement_mode=StatementMode.TRICKLE_FEED
    )
    for place, line in zip(places, lines, strict=False):
        ChannelDatabase.objects.filter(pk=place.pk).update(url=line.url(f"ch_{place.label}"))
    return places


# How many of the processes begin with a wrong clock.
WRONG = 0.2
# The library that shifts a process's clock; without it all clocks are right.
FAKETIME = next(Path("/").glob("usr/lib/*/faketime/libfaketime.so.1"), None)


def wrong_clock(shift: str) -> dict[str, str]:
    """What a process is told so that it takes another time of day for now."""
    if FAKETIME is None:
        return {}
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME": shift,
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }


def second_journal() -> Path:
    """The number journal of the second machine."""
    return Path(settings.SYNCLINE_DATA_DIR) / "machine-2" / number_journal.FILE_NAME


class Services:
    """The processes, kept running as a supervisor would, until `close`; some have a wrong clock."""

    def __init__(self, log: Path, clocks: Random | None = None) -> None:
        self.log = log.open("ab")
        self.clocks, self.wrong_clocks = clocks, 0
        self.pausing = threading.Lock()
        self.retired: set[str] = set()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.started = 0
        self.closed = threading.Event()
        self.watching = threading.Thread(target=self.watch, daemon=True)
        self.watching.start()

    def watch(self) -> None:
        while not self.closed.wait(0.1):
            with self.pausing:
                for name in SERVICES.keys() - self.retired:
                    process = self.running.get(name)
                    if process is None or process.poll() is not None:
                        self.running[name] = self.start(name)

    def retire(self, name: str) -> None:
        """Have one of them start nothing any more."""
        with self.pausing:
            self.retired.add(name)
            self.end(self.running[name])

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """No process runs inside."""
        with self.pausing:
            self.end_all()
            yield

    def start(self, name: str) -> "subprocess.Popen[bytes]":
        self.started += 1
        clock, machine = {}, {}
        if self.clocks and self.clocks.random() < WRONG:
            clock = wrong_clock(self.clocks.choice(["+1d", "-1d"]))
        self.wrong_clocks += bool(clock)
        if name in ON_SECOND_MACHINE:
            machine = {"SYNCLINE_JOURNAL_DIR": str(second_journal().parent)}
        return subprocess.Popen(
            [sys.executable, *SERVICES[name]],
            cwd=ROOT,
            env=environment() | clock | machine,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def pids(self, kind: str) -> list[int]:
        """The processes of one kind that run at this moment."""
        return [
            process.pid
            for name, process in list(self.running.items())
            if name.startswith(kind) and process.poll() is None
        ]

    def send(self, pid: int, number: int) -> None:
        """A signal to one process; one that is gone already is fine."""
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def close(self) -> None:
        """Ask them to end and wait until they have."""
        self.closed.set()
        self.watching.join()
        self.end_all()
        self.log.close()

    def end_all(self) -> None:
        for process in self.running.values():
            self.send(process.pid, signal.SIGCONT)
            process.terminate()
        for process in self.running.values():
            self.end(process)

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """Ask it to end, and kill it if it does not."""
        self.send(process.pid, signal.SIGCONT)
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
