"""The embedded servers: started, shared, recovered and stopped; and the demo around them."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

import psycopg2
import pytest
import redis
from django.core.management import call_command
from django.core.management.base import CommandError

from portal.embedded import Unavailable, postgres, processes, servers, valkey
from portal.embedded.paths import Paths
from stores.heartbeat import heartbeat
from tests.support import prepared
from tests.support.demo import environment, running_demo, stopped_later, unused_port
from tests.support.processes import hear_signals

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
USERS = ("viewer", "operator", "manager", "auditor", "administrator")
# What a demo is, with programs that need no Django.
SUPERVISED = """
import sys
import time
from pathlib import Path
from portal.embedded import postgres, servers, supervisor, valkey
from portal.embedded.paths import Paths
from portal.embedded.supervisor import Program

paths, port = Paths(Path(sys.argv[1])), int(sys.argv[2])
lock = servers.claim(paths)
if lock is None:
    sys.exit("a demo runs already")
with servers.running(paths):
    pass
python = [sys.executable, "-X", servers.child_mark(paths)]
serve = ["-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(paths.run)]
programs = [
    Program("postgres", postgres.argv(paths), 1, stop_signal="INT"),
    Program("valkey", valkey.argv(paths), 2),
    Program("worker", [*python, "-c", "import time; time.sleep(600)"], 10, processes=2, wait_s=1),
    Program("web", [*python, *serve], 30),
]
supervisor.serve(paths, lock, programs, port=port, greeting="the page answers")
"""


def nobody_speaks(sentence: str) -> None:
    pass


def use(paths: Paths, *, heard: list[str] | None = None) -> AbstractContextManager[None]:
    return servers.in_use(paths, nobody_speaks if heard is None else heard.append)


def living(paths: Paths) -> list[str]:
    """Command lines of processes that belong to a data folder."""
    marks = (str(paths.data_dir), servers.child_mark(paths))
    pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    lines = [processes.command_line(pid) for pid in pids if pid != os.getpid()]
    return [line for line in lines if any(mark in line for mark in marks)]


def ask(paths: Paths, statement: str, database: str = "syncline") -> list[tuple[object, ...]]:
    connection = psycopg2.connect(postgres.dsn(database, paths))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    yield from stopped_later(tmp_path / "data")


@pytest.fixture
def migrated(paths: Paths) -> None:
    """HQ's database in the data folder has its tables already."""
    prepared.copy_to(paths)


# ------------------------------------------------------------------ servers


def test_servers_run_inside_the_block_and_not_after_it(paths: Paths) -> None:
    heard: list[str] = []

    with use(paths, heard=heard):
        assert ask(paths, "SHOW server_encoding") == [("UTF8",)]
        with redis.from_url(paths.redis_url) as queue:
            assert queue.ping()

    assert heard == [f"Starting the embedded servers in {paths.data_dir}"]
    assert living(paths) == []


def test_the_last_of_two_commands_stops_the_servers(paths: Paths) -> None:
    heard: list[str] = []

    with use(paths, heard=heard):
        with use(paths, heard=heard):
            pass
        assert postgres.is_ready(paths)
        assert valkey.is_ready(paths)

    assert len(heard) == 1
    assert living(paths) == []


def test_committed_data_survives_kill_9_of_both_servers(paths: Paths) -> None:
    with use(paths), redis.from_url(paths.redis_url) as queue:
        ask(paths, "CREATE TABLE kept AS SELECT 7 AS number")
        queue.config_set("appendfsync", "always")
        queue.set("kept", "7")
        kill_servers(paths)

    with use(paths), redis.from_url(paths.redis_url) as queue:
        assert ask(paths, "SELECT number FROM kept") == [(7,)]
        assert queue.get("kept") == b"7"


@pytest.mark.parametrize(("name", "holds_sockets"), [("été100%#1?&", True), ("my shop=1", False)])
def test_a_path_with_blanks_works_for_servers_and_clients(
    tmp_path: Path, name: str, holds_sockets: bool
) -> None:
    for paths in stopped_later(tmp_path / name):
        with use(paths):
            assert (paths.sockets == paths.run) is holds_sockets
            assert ask(paths, "SELECT 1") == [(1,)]
            with redis.from_url(paths.redis_url) as queue:
                assert queue.ping()


def test_a_long_path_gets_a_short_private_socket_folder(tmp_path: Path) -> None:
    for paths in stopped_later(tmp_path / ("é" * 60)):
        with use(paths):
            assert paths.sockets.stat().st_uid == os.geteuid()
            assert stat.S_IMODE(paths.sockets.stat().st_mode) == 0o700
            assert ask(paths, "SELECT 1") == [(1,)]
        assert not paths.sockets.exists()


def test_a_data_folder_of_at_most_89_bytes_is_accepted() -> None:
    longest, longer = Path("/" + "d" * 88), Path("/" + "d" * 89)

    assert Paths(longest).sockets == longest / "run"
    assert Paths(longer).sockets != longer / "run"


def test_a_socket_folder_made_by_others_is_refused(tmp_path: Path) -> None:
    paths = Paths(tmp_path / ("x" * 100))
    paths.sockets.symlink_to(tmp_path)

    try:
        with pytest.raises(Unavailable, match="is not a folder of yours"), use(paths):
            pass
    finally:
        paths.sockets.unlink()


def test_a_half_made_cluster_is_made_again(paths: Paths) -> None:
    half = paths.data_dir / "pgdata.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")

    with use(paths):
        assert ask(paths, "SELECT 1") == [(1,)]

    assert not half.exists()


def test_another_program_s_pid_file_does_not_stop_a_start(paths: Paths) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with use(paths):
            pass
        paths.postgres_pid.write_text(f"{other.pid}\n{paths.pgdata}\n")
        paths.valkey_pid.write_text(f"{other.pid}\n")

        with use(paths):
            assert postgres.running_pid(paths) not in (None, other.pid)
            assert valkey.running_pid(paths) not in (None, other.pid)

        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_data_of_another_major_version_is_refused(paths: Paths) -> None:
    paths.pgdata.mkdir(parents=True)
    (paths.pgdata / "PG_VERSION").write_text("15\n")

    with pytest.raises(Unavailable, match=r"was written by PostgreSQL 15, installed is \d+"):
        postgres.start(paths)


def test_a_folder_of_another_user_is_refused(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.geteuid()
    paths.make()
    monkeypatch.setattr("portal.embedded.paths.os.geteuid", lambda: me + 1)

    with pytest.raises(Unavailable, match="start as that user or set SYNCLINE_DATA_DIR"):
        paths.make()


def test_the_data_folder_gets_a_key_once_that_only_its_owner_may_read(paths: Paths) -> None:
    paths.make()
    paths.make_secrets_key()
    key = paths.secrets_key.read_bytes()
    paths.make_secrets_key()

    assert paths.secrets_key.read_bytes() == key
    assert len(urlsafe_b64decode(key)) == 32
    assert stat.S_IMODE(paths.secrets_key.stat().st_mode) == 0o600


def test_root_without_user_namespaces_is_told_what_to_do(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = tmp_path / "unshare"
    refuses.write_text("#!/bin/sh\nexit 1\n")
    refuses.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    postgres.version.cache_clear()

    with pytest.raises(Unavailable) as trouble:
        postgres.version()

    assert str(trouble.value) == (
        "PostgreSQL does not run as root here: start as a normal user or set DATABASE_URL"
    )


def test_a_database_is_made_once_under_a_plain_name(paths: Paths) -> None:
    with use(paths):
        postgres.create_database("houston", paths)
        postgres.create_database("houston", paths)

        assert ask(paths, "SELECT current_database()", "houston") == [("houston",)]
        for name in ("", "Houston", "1st", "a b", "postgres", "a" * 64, "x; drop"):
            with pytest.raises(ValueError, match="not the name"):
                postgres.create_database(name, paths)


def test_the_queue_server_is_where_we_look_for_it() -> None:
    assert os.access(valkey.binary(), os.X_OK)


# --------------------------------------------------------------------- lock


def test_a_command_beside_a_demo_only_connects(paths: Paths) -> None:
    heard: list[str] = []
    lock = servers.claim(paths)
    assert lock is not None
    with servers.running(paths):
        with use(paths, heard=heard):
            assert ask(paths, "SELECT 1") == [(1,)]

        assert heard == []
        assert postgres.is_ready(paths)
    os.close(lock)


def test_a_demo_waits_for_commands_and_then_refuses(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "OTHERS_S", 1)

    with use(paths):
        with pytest.raises(Unavailable, match="Another command is using the servers"):
            servers.claim(paths)
        assert postgres.is_ready(paths)


def test_the_next_command_stops_what_a_killed_one_left(paths: Paths) -> None:
    with servers.deciding(paths_made(paths)):
        postgres.start(paths)
        valkey.start(paths)

    with use(paths):
        pass

    assert living(paths) == []


def paths_made(paths: Paths) -> Paths:
    paths.make()
    return paths


# ----------------------------------------------------------------- watchdog

# A command as `manage.py` runs it, which soon loses its patience.
IMPATIENT = """
import sys
import manage
from portal.embedded import watchdog
watchdog.PATIENCE_S = 2
sys.argv = ["manage.py", *sys.argv[1:]]
manage.main()
"""


def running(paths: Paths) -> list[int]:
    return [pid for pid in (postgres.running_pid(paths), valkey.running_pid(paths)) if pid]


def kill_servers(paths: Paths) -> list[int]:
    # Not while a command is still starting them.
    with servers.deciding(paths):
        killed = running(paths)
        assert len(killed) == 2
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert processes.wait_until(lambda: set(killed).isdisjoint(running(paths)), 10)
    return killed


def are_ready(paths: Paths) -> bool:
    return postgres.is_ready(paths) and valkey.is_ready(paths)


@pytest.mark.finding(id="V16")
def test_killed_servers_are_started_again_while_commands_use_them(paths: Paths) -> None:
    heard: list[str] = []

    with use(paths, heard=heard), use(paths, heard=heard):
        ask(paths, "CREATE TABLE kept AS SELECT 7 AS number")
        killed = kill_servers(paths)
        assert processes.wait_until(lambda: are_ready(paths), 30)

        assert ask(paths, "SELECT number FROM kept") == [(7,)]
        assert set(killed).isdisjoint(running(paths))

    assert heard == [
        f"Starting the embedded servers in {paths.data_dir}",
        f"A server had stopped: restarted the embedded servers in {paths.data_dir}",
    ]
    assert living(paths) == []


class Lease:
    """A duty of the heartbeat: when it was done."""

    def __init__(self) -> None:
        self.renewals: list[float] = []

    def renew(self) -> float:
        self.renewals.append(time.monotonic())
        return 0.1


def test_leases_are_renewed_while_servers_are_started_again(paths: Paths) -> None:
    lease = Lease()

    with use(paths):
        killed = kill_servers(paths)
        # Another command decides for longer than the watchdog needs to look.
        with servers.deciding(paths):
            heartbeat.add(lease.renew, 0)
            time.sleep(4)
            renewed = len(lease.renewals)
        heartbeat.remove(lease.renew)
        assert processes.wait_until(lambda: are_ready(paths), 30)

    assert renewed > 20
    assert set(killed).isdisjoint(running(paths))


def test_servers_that_are_started_again_are_stopped_with_their_command(paths: Paths) -> None:
    with use(paths):
        kill_servers(paths)
        with servers.deciding(paths):
            # The watchdog has begun, and waits as we do.
            assert processes.wait_until(lambda: len(starts_of(paths)) == 1, 10)

    assert (starts_of(paths), living(paths)) == ([], [])


def starts_of(paths: Paths) -> list[int]:
    """The processes that start servers again."""
    found = subprocess.run(
        ["pgrep", "-f", f"portal.embedded.servers {paths.data_dir}"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return [int(pid) for pid in found.stdout.split()]


@pytest.mark.finding(id="V16")
def test_a_command_outlives_a_demo_beside_it(paths: Paths) -> None:
    lock = servers.claim(paths)
    assert lock is not None
    with ExitStack() as command:
        with servers.running(paths):
            command.enter_context(use(paths))
        assert not postgres.is_ready(paths)
        os.close(lock)

        assert processes.wait_until(lambda: are_ready(paths), 30)

    assert living(paths) == []


@pytest.mark.finding(id="V16")
@pytest.mark.parametrize("name", ["scheduler", "worker"])
def test_a_command_that_cannot_start_its_servers_says_so(paths: Paths, name: str) -> None:
    words = [sys.executable, "-c", IMPATIENT, name]
    environ = environment(paths.data_dir) | {"PYTHONPATH": str(ROOT)}
    command = subprocess.Popen(words, cwd=ROOT, env=environ, text=True, stderr=subprocess.PIPE)
    with command:
        assert processes.wait_until(lambda: are_ready(paths), 60)
        (paths.pgdata / "PG_VERSION").write_text("15\n")
        kill_servers(paths)
        _, said = command.communicate(timeout=60)

    assert command.returncode == 1
    assert "was written by PostgreSQL 15" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert living(paths) == []


def started(paths: Paths, *words: str) -> "subprocess.Popen[str]":
    """A command of manage.py that goes on by itself."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), *words],
        env=environment(paths.data_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_signals,
    )


def is_so(paths: Paths, question: str) -> bool:
    """The answer to a yes-or-no question; no while nobody answers."""
    try:
        return ask(paths, f"SELECT {question}") == [(True,)]
    except psycopg2.Error:
        return False


AT_WORK = "EXISTS (SELECT FROM run_step WHERE status = 'running' AND step <> 'upload')"
# Every account is known in all channels.
DISTRIBUTED = """(SELECT min(position) FROM channel_database)
                 >= (SELECT max(change_no) FROM customer)"""
ALL_CONVERTED = "(SELECT count(*) FROM guid_map) = 300"


@pytest.mark.finding(id="V16")
@pytest.mark.usefixtures("migrated")
def test_jobs_go_on_after_the_servers_of_commands_were_killed(paths: Paths) -> None:
    def call(*words: str) -> str:
        answer = manage(paths.data_dir, *words)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    call("demo", "--once", "--customers", "0")
    call("generate_traffic", "houston", "--customers", "300", "--seed", "1")
    with started(paths, "run_job", "pipeline") as job:
        assert processes.wait_until(lambda: is_so(paths, AT_WORK), 60)
        kill_servers(paths)
        _, said = job.communicate(timeout=60)

    assert job.returncode == 1
    assert said.splitlines()[-1] == (
        "The embedded PostgreSQL stopped while it was in use: run the command again"
    )
    assert "Traceback" not in said

    with started(paths, "worker") as worker, started(paths, "scheduler") as scheduler:
        try:
            # Not the run of before, which nobody leads any more: the one that follows it.
            follows = "(SELECT count(*) FROM job_run) > 2"
            assert processes.wait_until(lambda: is_so(paths, f"{follows} AND {AT_WORK}"), 60)
            kill_servers(paths)
            at_home = f"{ALL_CONVERTED} AND {DISTRIBUTED}"
            assert processes.wait_until(lambda: is_so(paths, at_home), 120)
        finally:
            for one in (worker, scheduler):
                one.terminate()
                one.communicate(timeout=60)

    assert (worker.returncode, scheduler.returncode) == (0, 0)
    assert json.loads(call("verify", "--json"))["ok"]
    assert living(paths) == []


# --------------------------------------------------------------- supervisor


class Supervised:
    """A demo with stand-ins for web and workers, started as a person would start it."""

    def __init__(self, paths: Paths, port: int) -> None:
        self.paths, self.port = paths, port
        self.process = self.start()
        assert self.process.stdout
        assert self.process.stdout.readline() == "the page answers\n"

    def start(self) -> "subprocess.Popen[str]":
        words = [sys.executable, "-c", SUPERVISED, str(self.paths.data_dir), str(self.port)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(words, cwd=ROOT, text=True, preexec_fn=hear_signals, **pipes)

    def child(self, name: str) -> int | None:
        return processes.pid_in(
            self.paths.run / f"child-{name}.pid", (servers.child_mark(self.paths),)
        )

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)


@pytest.fixture
def supervised(paths: Paths, free_port: int) -> Iterator[Supervised]:
    demo = Supervised(paths, free_port)
    yield demo
    demo.end()


@pytest.fixture
def free_port() -> int:
    return unused_port()


@pytest.mark.finding(id="A17")
@pytest.mark.usefixtures("ignored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["ctrl-c", "hang-up"])
def test_the_end_of_a_demo_leaves_no_process(
    supervised: Supervised, number: signal.Signals
) -> None:
    supervised.process.send_signal(number)
    _, stderr = supervised.process.communicate(timeout=60)

    assert "Stopping web" in stderr
    assert "Traceback" not in stderr
    assert living(supervised.paths) == []


def test_a_killed_program_restarts_and_a_second_demo_does_not_start(
    supervised: Supervised,
) -> None:
    before = supervised.child("web-1")
    assert before
    os.kill(before, signal.SIGKILL)

    came_back = processes.wait_until(lambda: supervised.child("web-1") not in (None, before), 20)
    _, second = supervised.start().communicate(timeout=60)

    assert came_back
    assert second == "a demo runs already\n"
    assert supervised.child("worker-1") != supervised.child("worker-2")


@pytest.mark.finding(id="V16")
def test_killed_servers_of_a_demo_come_back(supervised: Supervised) -> None:
    assert processes.wait_until(lambda: are_ready(supervised.paths), 30)
    killed = kill_servers(supervised.paths)

    assert processes.wait_until(lambda: are_ready(supervised.paths), 30)
    assert set(killed).isdisjoint(running(supervised.paths))


def test_the_next_demo_ends_what_a_killed_supervisor_left(supervised: Supervised) -> None:
    supervised.process.kill()
    supervised.process.communicate(timeout=60)
    assert supervised.child("web-1")

    lock = servers.claim(supervised.paths)

    assert lock is not None
    os.close(lock)
    assert living(supervised.paths) == []


def test_launchers_quote_what_a_shell_would_read_otherwise(tmp_path: Path) -> None:
    from portal.embedded import supervisor

    program = supervisor.Program("web", ["/bin/echo", "a b", "$HOME", "100%", "#"], 1)

    text = supervisor.launcher_text(program)

    assert text.endswith("exec /bin/echo 'a b' '$HOME' 100% '#'\n")
    assert "%" not in supervisor.config_text([program], "mark").replace("%(pro", "")


# ----------------------------------------------------------------- commands


def manage(data_dir: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *words],
        env=environment(data_dir),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("words", ["demo --port 0", "demo --json"])
def test_a_wrong_argument_is_told_in_one_line(tmp_path: Path, words: str) -> None:
    answer = manage(tmp_path / "data", *words.split())

    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("words", ["--port web", "--workers 0", "--customers -1"])
def test_a_demo_refuses_a_wrong_argument(words: str) -> None:
    with pytest.raises(CommandError, match=r"^argument --"):
        call_command("demo", *words.split())


@pytest.mark.parametrize("words", ["help", "migrate --help", "migrat", "diffsettings"])
def test_commands_that_need_no_database_start_none(tmp_path: Path, words: str) -> None:
    answer = manage(tmp_path / "data", *words.split())

    assert "Starting" not in answer.stderr
    assert not (tmp_path / "data").exists()


def test_a_command_says_that_it_starts_the_database(paths: Paths) -> None:
    answer = manage(paths.data_dir, "showmigrations", "stores")

    assert answer.returncode == 0
    assert answer.stderr == f"Starting the embedded servers in {paths.data_dir}\n"
    assert living(paths) == []


def test_missing_tables_are_told_in_one_sentence(paths: Paths) -> None:
    answer = manage(paths.data_dir, "clearsessions")

    assert answer.returncode == 1
    assert answer.stderr.splitlines()[1:] == [
        "The HQ database lacks tables or columns of this version: run manage.py migrate"
    ]


def test_a_taken_port_is_told_before_anything_starts(paths: Paths) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        answer = manage(paths.data_dir, "demo", "--port", str(port))

    assert answer.returncode == 1
    assert answer.stderr == (
        f"CommandError: Port {port} is taken by another program: choose another with --port.\n"
    )
    assert not paths.pgdata.exists()


def test_a_second_demo_once_finds_nothing_to_do(paths: Paths) -> None:
    first = manage(paths.data_dir, "demo", "--once", "--customers", "20", "--json")
    second = manage(paths.data_dir, "demo", "--once")

    assert first.returncode == 0, first.stderr
    counts = json.loads(first.stdout)["run"]["counts"]
    assert counts["converted"] == 20
    assert not counts.get("quarantined")
    assert second.returncode == 0, second.stderr
    assert "nothing" in second.stdout.lower()
    assert living(paths) == []


@pytest.fixture
def paths_with_spaces(tmp_path: Path) -> Iterator[Paths]:
    yield from stopped_later(tmp_path / "my shop = ours")


def test_a_demo_in_a_folder_with_spaces_distributes_gives_links_and_ends_with_ctrl_c(
    paths_with_spaces: Paths, free_port: int
) -> None:
    folder = paths_with_spaces.data_dir
    prepared.copy_to(paths_with_spaces)

    with running_demo(folder, free_port) as (told, demo):
        second = manage(folder, "demo")
        # As a person would: the first of the links, all the way to a page.
        link = next(word for word in told.split() if word.startswith("http://127.0.0.1:"))
        with urllib.request.urlopen(link, timeout=30) as page:  # noqa: S310
            status = page.status
        assert processes.wait_until(lambda: is_so(paths_with_spaces, DISTRIBUTED), 60)
        trace = manage(folder, "trace", "C-000001", "--json")
        demo.send_signal(signal.SIGINT)
        _, stderr = demo.communicate(timeout=90)

    assert [name for name in USERS if f"  {name} " not in told] == []
    assert second.stdout == f"Already running at http://127.0.0.1:{free_port}\n"
    assert second.returncode == 0
    assert status == 200
    assert json.loads(trace.stdout)["state"] == "distributed"
    assert "Traceback" not in stderr
    assert living(paths_with_spaces) == []
