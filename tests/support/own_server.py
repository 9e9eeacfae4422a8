"""A PostgreSQL server that a test may stop, kill and start again."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import psycopg2
from django.db import connection

from portal.embedded import postgres, processes
from portal.embedded.paths import Paths
from tests.support.processes import children_of, hq_url, kill

# Another one after each restart of the server's processes.
CHECKPOINTER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
RESTART_S = 30


class OwnServer:
    """A server with its cluster in a folder; it writes durably, because tests kill it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.paths = folder, Paths(folder)

    @property
    def sockets(self) -> str:
        return str(self.paths.sockets)

    def start(self) -> None:
        """Start the server, also after a crash, and wait until it accepts connections."""
        if not self.paths.pgdata.exists():
            postgres.prepare(self.paths)
            with (self.paths.pgdata / "postgresql.conf").open("a") as conf:
                conf.write("max_prepared_transactions = 2\n")
        postgres.start(self.paths)

    def url(self, database: str) -> str:
        """The URL of a database of the server."""
        return f"postgresql://syncline@/{database}?host={self.sockets}"

    def stop(self) -> None:
        postgres.stop(self.paths)

    def stop_at_once(self) -> None:
        """Stop without a checkpoint; the next start needs a recovery."""
        pid = postgres.running_pid(self.paths)
        assert pid
        argv = [postgres.binary("pg_ctl"), "stop", "-m", "immediate", "-D", str(self.paths.pgdata)]
        assert processes.run(postgres.as_user(argv)).returncode == 0

    def kill(self) -> None:
        """SIGKILL the server and all its children."""
        pid = postgres.running_pid(self.paths)
        assert pid
        for process in (*children_of(pid), pid):
            kill(process)
        processes.wait_until(lambda: postgres.running_pid(self.paths) is None, 10)

    def kill_one(self, database: str) -> None:
        """SIGKILL the idle backends of a database. Returns when the server has restarted all."""
        idle = self.ask(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND state LIKE 'idle in%%'",
            database,
        )
        assert idle
        before = self.ask(CHECKPOINTER)
        for (pid,) in idle:
            kill(pid)
        assert processes.wait_until(lambda: self.has_restarted_since(before), RESTART_S)

    def has_restarted_since(self, checkpointer: list) -> bool:
        """Whether the server takes connections, and has another checkpointer than this one."""
        with suppress(psycopg2.OperationalError):
            return self.ask(CHECKPOINTER) not in ([], checkpointer)
        return False

    def ask(self, statement: str, *params: object, database: str = "postgres") -> list:
        """Execute and commit a statement on a connection of its own. Returns its rows."""
        session = psycopg2.connect(host=self.sockets, user="syncline", dbname=database)
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(statement, params or None)
            rows = cursor.fetchall() if cursor.description else []
        session.close()
        return rows

    def copy_hq(self) -> str:
        """Copy HQ's test database to this server. Returns its name."""
        name = connection.settings_dict["NAME"]
        self.ask(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self.ask(f'CREATE DATABASE "{name}"')
        dump = subprocess.run(
            [postgres.binary("pg_dump"), "-d", hq_url()], capture_output=True, check=True
        )
        psql = [postgres.binary("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", name]
        subprocess.run(
            [*psql, "-h", self.sockets, "-U", "syncline"],
            input=dump.stdout,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return name

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
