"""Where a measure happens: a server with fresh databases, channels with rows, processes of ours."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg2
from psycopg2 import sql

from bench import limit
from portal.embedded import postgres, servers, valkey
from portal.embedded.paths import Paths

if TYPE_CHECKING:
    from stores.models import ChannelDatabase

ROOT = Path(__file__).resolve().parent.parent
Options = Namespace
HQ, EMPTY_HQ, EMPTY_CHANNEL = "bench_hq", "bench_hq_empty", "bench_channel_empty"
SHOPS = ("houston", "seattle", "web", "austin")
SEED = 77
FEW = 100
START_S = 60


@dataclass
class Place:
    """A server, and what was made in it; `peak_mb` is the most memory one of our processes took.

    With `is_tiny` nothing is measured: jobs need no process of their own.
    """

    server: str
    folder: Path
    is_tiny: bool = False
    made: list[str] = field(default_factory=list)
    peak_mb: float = 0

    def url(self, name: str) -> str:
        """The address of one of the server's databases."""
        return urlsplit(self.server)._replace(path=f"/{name}").geturl()

    def make(self, name: str, template: str = "template0") -> str:
        """A new database, empty or a copy of another one. Returns its address."""
        self.drop(name)
        self.run("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'", name, template)
        self.made.append(name)
        return self.url(name)

    def renew(self) -> None:
        """Remove what was made and begin with an empty HQ."""
        import django_rq
        from django.db import connections

        connections.close_all()
        self.remove()
        self.make(HQ, EMPTY_HQ)
        django_rq.get_connection("default").flushall()
        for name in ("channels", "journal"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self.peak_mb = 0
        self.settle()

    def remove(self) -> None:
        """Drop the databases that were made."""
        while self.made:
            self.drop(self.made.pop())

    def drop(self, name: str) -> None:
        self.run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def run(self, statement: str, *names: str) -> None:
        """One statement outside of all our databases."""
        execute(self.server, sql.SQL(statement).format(*map(sql.Identifier, names)))

    def settle(self) -> None:
        """Let the server write out what came before, so that nobody pays for it later."""
        self.run("CHECKPOINT")

    def rest(self) -> None:
        """Let the server clear up: it believes then that next to nothing is open, and is right."""
        for name in self.made:
            execute(self.url(name), sql.SQL("VACUUM (ANALYZE)"))

    def shops(self, customers: int, *, made: bool = False) -> "list[ChannelDatabase]":
        """Four channels on PostgreSQL whose tills have written so many customers together."""
        opened = [self.shop(code) for code in SHOPS]
        if customers:
            fill = self.fill_with_made if made else self.fill_with_traffic
            fill(customers)
        for code in SHOPS:
            execute(self.url(f"bench_{code}"), sql.SQL("ANALYZE"))
        self.settle()
        return opened

    def shop(self, code: str, *, url: str = "", company: str = "USRT") -> "ChannelDatabase":
        """A channel of the company of nearly all, on PostgreSQL unless a URL says otherwise.

        Its database may be a copy, because making the tables takes its time.
        """
        from stores.pipeline.register import register_channel

        return register_channel(
            code=code,
            name=code.title(),
            kind="store",
            company=company,
            database=url or self.make(f"bench_{code}", EMPTY_CHANNEL),
            country="USA",
            account_format="C-#########",
            renew_identity=True,
        )

    def fill_with_traffic(self, customers: int, seed: int = SEED) -> None:
        """What generate_traffic invents: names and addresses as long as people's are."""
        each = customers // len(SHOPS)
        with ThreadPoolExecutor() as pool:
            # Where there are few, starting four processes would take longer.
            spread = map if each <= FEW else pool.map
            list(spread(lambda code: self.write_traffic(code, each, seed), SHOPS))

    def write_traffic(self, code: str, customers: int, seed: int = SEED) -> None:
        """Let the tills of a channel serve so many new customers; others for another seed."""
        if customers <= FEW:
            from stores.models import ChannelDatabase
            from stores.traffic import write_traffic

            channel = ChannelDatabase.objects.with_channel().get(channel__code=code)
            write_traffic(channel, customers=customers, seed=seed)
            return
        words = ["generate_traffic", code, "--customers", str(customers), "--seed", str(seed)]
        command = [sys.executable, "manage.py", *words]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)

    def fill_with_made(self, customers: int) -> None:
        """The yardstick's own rows: shorter, and there in seconds."""
        for number, code in enumerate(SHOPS, 1):
            for kind in limit.KINDS:
                rows = limit.source_rows(kind, number, len(SHOPS), customers)
                statement = f"""INSERT INTO public.async_{kind} ({limit.ROW[kind]})
                                OVERRIDING SYSTEM VALUE {rows} ORDER BY 2"""
                execute(self.url(f"bench_{code}"), sql.SQL(statement))

    def job(self, name: str) -> dict[str, Any]:
        """Run a job in a process of its own. Returns its document."""
        document: dict[str, Any]
        if self.is_tiny:
            from stores.jobs.inline import run_inline

            document = run_inline(name)
        else:
            with self.process("run_job", name, "--json", stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                document = json.loads(process.stdout.read())
        if document["outcome"] not in ("succeeded", "nothing_to_do"):
            raise SystemExit(f"{name}: {document['outcome']}, {document['message']}")
        return document

    @contextmanager
    def process(self, *words: str, **options: Any) -> "Iterator[subprocess.Popen[bytes]]":
        """A command of manage.py, waited for at the end; the memory it took is noted."""
        with NamedTemporaryFile("r", dir=self.folder) as peak:
            command = [sys.executable, "-m", "bench.memory", peak.name]
            command += [sys.executable, "manage.py", *words]
            with subprocess.Popen(command, cwd=ROOT, **options) as process:
                yield process
            self.peak_mb = max(self.peak_mb, float(peak.read()))

    @contextmanager
    def served(self, workers: int, *others: str) -> Iterator[None]:
        """Workers that listen already, and other commands; they serve until they are stopped."""
        from stores.jobs.queue import count_workers

        with ExitStack() as stack:
            for words in [("worker", "--processes", str(workers)), *((other,) for other in others)]:
                process = stack.enter_context(self.process(*words))
                stack.callback(os.kill, process.pid, signal.SIGTERM)
            give_up = time.monotonic() + START_S
            while (count_workers() or 0) < workers:
                if time.monotonic() > give_up:
                    raise SystemExit(f"{workers} workers did not start within {START_S} s.")
                time.sleep(0.05)
            yield


@contextmanager
def opened(dsn: str, *, tiny: bool = False) -> Iterator[Place]:
    """A place with an empty HQ; Django is set up for it, and all is gone at the end.

    Without a DSN the server is an embedded one, durable as always. Errors: psycopg2.Error when a
    given server refuses to make databases.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="syncline-bench-"))).resolve()
        paths = Paths(folder)
        needed = [valkey] if dsn else [postgres, valkey]
        stack.enter_context(servers.in_use(paths, lambda _said: None, needed))
        place = Place(dsn or postgres.dsn("postgres", paths), folder, tiny)
        os.environ |= {
            "SYNCLINE_DATA_DIR": str(folder),
            "DATABASE_URL": place.make(HQ),
            "REDIS_URL": paths.redis_url,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
        }
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        from stores.channeldb.provision import migrate_database
        from stores.pipeline.register import new_database

        call_command("migrate", verbosity=0)
        migrate_database(new_database("empty", "", place.make(EMPTY_CHANNEL)))
        connections.close_all()
        place.drop(EMPTY_HQ)
        place.run("ALTER DATABASE {} RENAME TO {}", HQ, EMPTY_HQ)
        place.made.clear()
        try:
            yield place
        finally:
            connections.close_all()
            place.remove()
            for name in (EMPTY_HQ, EMPTY_CHANNEL):
                place.drop(name)


def execute(url: str, statement: sql.Composable) -> None:
    """One statement in the database of that address, committed."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as docs/performance.md shows them."""
    for cells in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print()


def so_many(options: Options, usual: int, tiny: int) -> int:
    """How many of something a measure takes; `--customers` is about customers alone."""
    return tiny if options.tiny else usual


def customers_of(options: Options, usual: int, tiny: int = 40) -> int:
    """How many customers all channels get together."""
    return options.customers or so_many(options, usual, tiny)
