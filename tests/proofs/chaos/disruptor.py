"""What goes wrong: processes killed and frozen, lines cut at a commit, the queue emptied.

With appointments also what happens once: a shop of each engine and headquarters are set back to a
backup, and the server of all databases dies and comes back, also with a clock that is a day ahead.
"""

import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import django_rq
import psycopg2
import redis
from django.db import Error as DatabaseError
from django.db import close_old_connections

from stores.jobs.catalog import JOBS
from stores.jobs.start import start_job
from stores.models import ChannelDatabase
from stores.pipeline.download import sessions
from tests.proofs.chaos.package_kills import POINTS, mark
from tests.proofs.chaos.places import Place
from tests.proofs.chaos.ring import Services
from tests.support.processes import children_of
from tests.support.proxy import Proxy

# What HQ or a till says in the transactions whose commit is cut, delayed or kept secret.
COMMITS = (b"acknowledged_at", b"account_map", b"async_customer", b"retail_transaction", b"")
FROZEN_S = (0.2, 6.0)
BUTTONS = ("pipeline", "P-0001", "sync-customers", "1010", "eod", "eod", "sync-orders", "validate")


@dataclass(frozen=True)
class Appointment:
    """Something that happens once, after a share (0 to 1) of the time."""

    share: float
    word: str
    action: Callable[[], object]


class Disruptor:
    """One action after the other, chosen by a seed; counts what it did."""

    def __init__(
        self,
        seed: int,
        services: Services,
        places: Sequence[Place],
        lines: Sequence[Proxy],
        hq: str,
        appointments: Sequence[Appointment] = (),
    ) -> None:
        self.dice = Random(f"mayhem {seed}")  # noqa: S311 - no secret
        self.services, self.places, self.lines, self.hq = services, places, lines, hq
        self.appointments = sorted(appointments, key=lambda one: one.share)
        self.done: Counter[str] = Counter()
        self.over = threading.Event()
        self.frozen: dict[int, threading.Timer] = {}
        # Where the next process that comes by dies, and the word for it.
        self.marked: dict[Path, str] = {}
        self.actions: dict[Callable[[], object], int] = {
            self.press_a_button: 10,
            self.kill_a_horse: 5,
            self.kill_a_worker: 2,
            self.kill_a_worker_and_its_horse: 1,
            self.ask_a_worker_to_end: 1,
            self.kill_the_scheduler: 1,
            self.kill_at_a_package: 6,
            self.pause_or_resume: 3,
            self.freeze_a_horse: 4,
            self.freeze_a_worker: 2,
            self.empty_the_queue: 3,
            self.cut_a_line: 3,
            self.cut_before_a_commit: 5,
            self.cut_after_a_commit: 5,
            self.hold_a_commit: 2,
            self.refuse_a_line: 1,
            self.heal_a_line: 4,
            self.end_a_backend: 2,
            self.lock_a_file: 1,
        }

    def rage(self, seconds: float) -> None:
        """Act for so long, then let everything run again."""
        began = time.monotonic()
        threading.Timer(seconds, self.over.set).start()
        # Both happen, also where there are few runs because the machine is busy: then in peace.
        for word in POINTS:
            self.mark_packages(word)
        while not self.over.wait(self.dice.uniform(0.1, 0.7)):
            past = (time.monotonic() - began) / seconds
            if self.appointments and past > self.appointments[0].share:
                self.keep_next_appointment()
                continue
            [action] = self.dice.choices([*self.actions], [*self.actions.values()])
            with suppress(redis.RedisError, psycopg2.Error, DatabaseError, sqlite3.Error):
                action()
        while self.appointments:
            self.keep_next_appointment()
        self.make_peace()

    def keep_next_appointment(self) -> None:
        appointment = self.appointments.pop(0)
        appointment.action()
        self.done[appointment.word] += 1

    def make_peace(self) -> None:
        """Nothing stays frozen, cut, slow or paused, and no mark but of what has not happened."""
        self.remove_marks(of_new=False)
        for pid, timer in list(self.frozen.items()):
            timer.cancel()
            self.thaw(pid)
        for line in self.lines:
            line.heal()
        close_old_connections()
        for database in ChannelDatabase.objects.filter(downloads_paused_at__isnull=False):
            sessions.resume_downloads(database)

    @property
    def cuts(self) -> int:
        """Connections that were cut, at a commit or anywhere."""
        return self.done["cut"] + sum(line.cuts for line in self.lines)

    # -------------------------------------------------------------- processes

    def press_a_button(self) -> None:
        """Somebody starts a job, for all channels or for one."""
        job = JOBS[self.dice.choice(BUTTONS)]
        channels = [self.dice.choice(self.places).label] if self.dice.random() < 0.3 else []
        close_old_connections()
        if start_job(job, channels=channels).is_new:
            self.done["started"] += 1

    def pause_or_resume(self) -> None:
        """Somebody pauses the downloads to a shop, or ends that."""
        close_old_connections()
        databases = ChannelDatabase.objects.with_channel()
        database = databases.get(pk=self.dice.choice(self.places).pk)
        if database.downloads_paused:
            sessions.resume_downloads(database)
        else:
            sessions.pause_downloads(database, "Stocktaking.")
            self.done["paused"] += 1

    def kill_a_horse(self) -> None:
        self.hit(self.horse(), signal.SIGKILL, "killed")

    def kill_a_worker(self) -> None:
        self.hit(self.worker(), signal.SIGKILL, "killed")

    def kill_a_worker_and_its_horse(self) -> None:
        worker = self.worker()
        for horse in children(worker):
            self.hit(horse, signal.SIGKILL, "killed")
        self.hit(worker, signal.SIGKILL, "killed")

    def ask_a_worker_to_end(self) -> None:
        self.hit(self.worker(), signal.SIGTERM, "asked to end")

    def kill_the_scheduler(self) -> None:
        for pid in self.services.pids("scheduler"):
            self.hit(pid, signal.SIGKILL, "killed")

    def kill_at_a_package(self) -> None:
        self.count_kills_at_packages()
        self.mark_packages(self.dice.choice([*POINTS]))

    def mark_packages(self, word: str) -> None:
        """The next process that makes a package, or brings one to a channel, dies at it."""
        path = mark(self.dice.choice(POINTS[word]))
        if path not in self.marked:
            path.touch()
            self.marked[path] = word

    def count_kills_at_packages(self) -> None:
        for path in [path for path in self.marked if not path.exists()]:
            self.done[self.marked.pop(path)] += 1

    def remove_marks(self, *, of_new: bool) -> None:
        """Remove the marks; those of what has not happened yet only if asked to."""
        self.count_kills_at_packages()
        for path, word in list(self.marked.items()):
            if of_new or self.done[word]:
                path.unlink(missing_ok=True)
                del self.marked[path]

    def freeze_a_horse(self) -> None:
        self.freeze(self.horse())

    def freeze_a_worker(self) -> None:
        self.freeze(self.worker())

    def worker(self) -> int:
        """A worker, or 0 when none runs."""
        found = self.services.pids("worker")
        return self.dice.choice(found) if found else 0

    def horse(self) -> int:
        """A process that executes a run, or 0 when none does."""
        found = [horse for pid in self.services.pids("worker") for horse in children(pid)]
        return self.dice.choice(found) if found else 0

    def hit(self, pid: int, number: int, word: str) -> None:
        if pid:
            self.services.send(pid, number)
            self.done[word] += 1

    def freeze(self, pid: int) -> None:
        """Stop a process in the middle of what it does, and let it go on later."""
        if pid and pid not in self.frozen:
            self.hit(pid, signal.SIGSTOP, "frozen")
            timer = threading.Timer(self.dice.uniform(*FROZEN_S), self.thaw, [pid])
            self.frozen[pid] = timer
            timer.start()

    def thaw(self, pid: int) -> None:
        self.frozen.pop(pid, None)
        self.services.send(pid, signal.SIGCONT)

    # ----------------------------------------------------------------- lines

    def empty_the_queue(self) -> None:
        django_rq.get_connection("default").flushall()
        self.done["flushed"] += 1

    def cut_a_line(self) -> None:
        self.dice.choice(self.lines).cut()
        self.done["cut"] += 1

    def cut_before_a_commit(self) -> None:
        self.dice.choice(self.lines).cut_before_commit(self.dice.choice(COMMITS))

    def cut_after_a_commit(self) -> None:
        self.dice.choice(self.lines).cut_after_commit(self.dice.choice(COMMITS))

    def hold_a_commit(self) -> None:
        self.dice.choice(self.lines).hold_commit(
            self.dice.uniform(0.2, 2), self.dice.choice(COMMITS)
        )

    def refuse_a_line(self) -> None:
        line = self.dice.choice(self.lines)
        line.refuse()
        threading.Timer(self.dice.uniform(0.5, 2), line.heal).start()
        self.done["refused"] += 1

    def heal_a_line(self) -> None:
        self.dice.choice(self.lines).heal()

    def end_a_backend(self) -> None:
        """HQ's server drops one of the connections of a worker; they bear its name."""
        with closing(psycopg2.connect(self.hq)) as connection, connection.cursor() as cursor:
            cursor.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name ~ ':[0-9]+-' ORDER BY md5(pid::text || %s) LIMIT 1""",
                [str(self.dice.random())],
            )
            self.done["backends ended"] += cursor.rowcount

    def lock_a_file(self) -> None:
        """Somebody holds a SQLite file for longer than anybody likes to wait."""
        place = self.dice.choice([place for place in self.places if place.is_file])
        seconds = self.dice.uniform(0.5, 7)

        def hold() -> None:
            with suppress(sqlite3.Error), closing(place.open(write=True)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                self.over.wait(seconds)

        threading.Thread(target=hold, daemon=True).start()
        self.done["locked"] += 1


def children(pid: int) -> list[int]:
    """The horses of a worker that may just have died."""
    try:
        return children_of(pid) if pid else []
    except FileNotFoundError:
        return []
