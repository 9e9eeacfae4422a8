"""A PostgreSQL server of a test's own, to be stopped, killed and started again."""

import shutil
import subprocess
from pathlib import Path

import psycopg2
from django.db import connection

from portal.embedded import postgres, processes
from portal.embedded.paths import Paths
from tests.support.processes import children_of, hq_url, kill


class OwnServer:
    """One cluster in a folder; `durable`, because it is killed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.paths = folder, Paths(folder)

    @property
    def sockets(self) -> str:
        return str(self.paths.sockets)

    def start(self) -> None:
        """Start it, after whatever happened, and wait until it answers."""
        if not self.paths.pgdata.exists():
            postgres.prepare(self.paths)
            with (self.paths.pgdata / "postgresql.conf").open("a") as conf:
                conf.write("max_prepared_transactions = 2\n")
        postgres.start(self.paths)

    def url(self, database: str) -> str:
        """The address of one of its databases."""
        return f"postgresql://syncline@/{database}?host={self.sockets}"

    def stop(self) -> None:
        postgres.stop(self.paths)

    def stop_at_once(self) -> None:
        """As `pg_ctl stop -m immediate`: no farewell, a recovery at the next start."""
        pid = postgres.running_pid(self.paths)
        assert pid
        argv = [postgres.binary("pg_ctl"), "stop", "-m", "immediate", "-D", str(self.paths.pgdata)]
        assert processes.run(postgres.as_user(argv)).returncode == 0

    def kill(self) -> None:
        """SIGKILL the server and all its children."""
        pid = postgres.running_pid(self.paths)
        assert pid
        for victim in (*children_of(pid), pid):
            kill(victim)
        processes.wait_until(lambda: postgres.running_pid(self.paths) is None, 10)

    def kill_one(self, database: str) -> None:
        """SIGKILL one backend of a database, which makes the server restart all of them."""
        for (pid,) in self.ask(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND state LIKE 'idle in%%'",
            database,
        ):
            kill(pid)

    def ask(self, statement: str, *params: object, database: str = "postgres") -> list:
        """One statement on a connection of its own, committed."""
        found = psycopg2.connect(host=self.sockets, user="syncline", dbname=database)
        found.autocommit = True
        with found.cursor() as cursor:
            cursor.execute(statement, params or None)
            rows = cursor.fetchall() if cursor.description else []
        found.close()
        return rows

    def copy_hq(self) -> str:
        """An HQ database as the tests have it, with all its rows. Returns its name."""
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
