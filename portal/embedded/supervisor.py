"""Run the web server, workers, scheduler and database servers of a demo until Ctrl-C.

`serve` writes the configuration and becomes supervisord by exec: a child could outlive the demo.
`python -m portal.embedded.supervisor DATA_DIR` is that supervisord.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from portal.embedded import postgres, servers, valkey
from portal.embedded.paths import Paths

ROOT = Path(__file__).resolve().parents[2]
# Importing Django costs seconds of processor time: let the web server start first.
WORKERS_WAIT_S = 2
STOPPING = b"\nStopping web, scheduler, workers and servers ...\n"


@dataclass(frozen=True)
class Program:
    """One supervised program; those with the lowest priority start first and stop last."""

    name: str
    argv: Sequence[str]
    priority: int
    processes: int = 1
    wait_s: int = 0
    stop_signal: str = "TERM"
    stop_wait_s: int = 15


def programs(paths: Paths, *, port: int, workers: int) -> list[Program]:
    """Everything a demo runs. Errors: Unavailable."""
    # Python ignores an unknown -X option: it marks the process as a child of this data folder's.
    python = [sys.executable, "-X", servers.child_mark(paths)]
    manage = [*python, str(ROOT / "manage.py")]
    worker = ["worker", "--processes", str(workers)]
    gunicorn = ["-m", "gunicorn", "portal.wsgi", "--chdir", str(ROOT), "--bind"]
    gunicorn += [f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "8", "--preload"]
    gunicorn += ["--graceful-timeout", "5", "--no-control-socket"]
    return [
        Program("postgres", postgres.argv(paths), 1, stop_signal="INT", stop_wait_s=60),
        Program("valkey", valkey.argv(paths), 2),
        Program("worker", [*manage, *worker], 10, wait_s=WORKERS_WAIT_S, stop_wait_s=30),
        Program("scheduler", [*manage, "scheduler"], 20, wait_s=WORKERS_WAIT_S),
        Program("web", [*python, *gunicorn], 30),
    ]


def serve(
    paths: Paths, lock: int, programs: Sequence[Program], *, port: int, greeting: str
) -> NoReturn:
    """Become the supervisor of the programs; the greeting is printed once the port answers.

    Shape: lock as `servers.claim` gave it. Effects: files in the run folder; this process is
    replaced.
    """
    write(paths, programs)
    os.environ["SYNCLINE_DATA_DIR"] = str(paths.data_dir)
    os.set_inheritable(lock, True)
    os.chdir(ROOT)
    greet(port, greeting)
    sys.stdout.flush()
    sys.stderr.flush()
    argv = [sys.executable, "-m", "portal.embedded.supervisor", str(paths.data_dir)]
    os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted


def greet(port: int, greeting: str) -> None:
    """Start the program that prints the greeting; its sign-in links must not show in `ps`."""
    argv = [sys.executable, "-m", "portal.embedded.greeting", str(port)]
    greeter = subprocess.Popen(argv, stdin=subprocess.PIPE, text=True)  # noqa: S603
    if greeter.stdin:
        greeter.stdin.write(greeting)
        greeter.stdin.close()


def write(paths: Paths, programs: Sequence[Program]) -> None:
    """Write the configuration and one launcher per program.

    Effects: files in the run folder. Paths stand in the launchers only, quoted for the shell: in
    the configuration a percent sign or " #" in one would be read as something else.
    """
    for program in programs:
        launcher = paths.run / f"{program.name}.sh"
        launcher.write_text(launcher_text(program))
    paths.supervisor_config.write_text(config_text(programs, servers.child_mark(paths)))


def launcher_text(program: Program) -> str:
    """A shell script that leaves its pid for the next start to find and becomes the program."""
    wait = [f"sleep {program.wait_s}"] if program.wait_s else []
    lines = ['echo $$ >"run/child-$1.pid"', *wait, f"exec {shlex.join(program.argv)}"]
    return "\n".join([*lines, ""])


def config_text(programs: Sequence[Program], mark: str) -> str:
    """The supervisor's configuration, read in the data folder; it holds no secret."""
    head: dict[str, object] = {
        "nodaemon": "true",
        "silent": "true",
        "logfile": "log/supervisord.log",
        "pidfile": "run/supervisord.pid",
        "childlogdir": "log",
    }
    if os.geteuid() == 0:
        head["user"] = "root"
    sections = {"supervisord": head}
    sections |= {f"program:{program.name}": program_section(program, mark) for program in programs}
    return "\n".join(section(name, values) for name, values in sections.items())


def program_section(program: Program, mark: str) -> dict[str, object]:
    """The supervisor's settings for one program, which it restarts as often as needed."""
    name = "%(program_name)s-%(process_num)d"
    return {
        "command": f"/bin/sh run/{program.name}.sh {name} {mark}",
        "process_name": name,
        "numprocs": program.processes,
        "numprocs_start": 1,
        "priority": program.priority,
        "autorestart": "true",
        "startretries": 1_000_000,
        "stopsignal": program.stop_signal,
        "stopwaitsecs": program.stop_wait_s,
        # A launcher's sleep must not outlive a stop.
        "stopasgroup": "true" if program.wait_s else "false",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": f"log/{name}.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 1,
    }


def section(name: str, values: dict[str, object]) -> str:
    return "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in values.items()), ""])


def main(data_dir: str) -> None:
    """Run supervisord, which here says that it stops, and stops when its terminal is closed."""
    from supervisor.options import ServerOptions
    from supervisor.supervisord import go

    class Options(ServerOptions):  # type: ignore[misc]
        def setsignals(self) -> None:
            hangup = signal.getsignal(signal.SIGHUP)
            super().setsignals()
            signal.signal(signal.SIGINT, self.stop)
            # Its own answer to a closed terminal would be to read its files and go on. Whoever
            # started us with nohup wants exactly that.
            signal.signal(signal.SIGHUP, hangup if hangup is signal.SIG_IGN else self.stop)

        def stop(self, number: int, frame: FrameType | None) -> None:
            with suppress(OSError):
                os.write(sys.stderr.fileno(), STOPPING)
            self.signal_receiver.receive(signal.SIGTERM, frame)

    os.chdir(data_dir)
    options = Options()
    options.realize(["-c", "run/supervisord.conf"])
    options.first = True
    options.test = False
    go(options)
    options.close_logger()


if __name__ == "__main__":
    main(sys.argv[1])
