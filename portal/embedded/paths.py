"""The paths of the embedded servers of one data folder. Only the `make` methods create anything."""

import hashlib
import os
import re
import stat
import tempfile
from base64 import urlsafe_b64encode
from pathlib import Path
from urllib.parse import quote

from portal.embedded import Unavailable

# sun_path has 108 bytes, the last of them a NUL.
LONGEST_SOCKET_PATH = 107
POSTGRES_PORT = 5432


class Paths:
    """The folders, sockets, locks and logs of the embedded servers of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.pgdata = data_dir / "pgdata"
        self.valkey_dir = data_dir / "valkey"
        # What encrypts the passwords that HQ's database holds.
        self.secrets_key = data_dir / "secrets.key"
        self.logs = data_dir / "log"
        self.run = data_dir / "run"
        # Held shared by commands that use the servers, alone by a running demo.
        self.use_lock = data_dir / "servers.lock"
        # Held for the moment in which servers are started or stopped.
        self.start_lock = data_dir / "start.lock"
        # Held while a demo makes its tables, channels and traffic.
        self.prepare_lock = data_dir / "prepare.lock"
        self.address = self.run / "address"
        self.supervisor_config = self.run / "supervisord.conf"
        self.valkey_pid = self.run / "valkey.pid"
        self.postgres_pid = self.pgdata / "postmaster.pid"
        self.sockets = self.run if fits(self.run) else private_folder(data_dir)
        self.postgres_socket = self.sockets / f".s.PGSQL.{POSTGRES_PORT}"
        self.valkey_socket = self.sockets / "valkey.sock"

    @property
    def redis_url(self) -> str:
        """Address of the embedded Valkey as redis-py reads it: the path is percent-encoded."""
        return f"unix://{quote(str(self.valkey_socket))}?db=0"

    def make(self) -> None:
        """Make the folders that servers need.

        Effects: data folder and its run and log folders; the socket folder is private.
        Errors: Unavailable when a folder belongs to somebody else or cannot be written.
        """
        try:
            for folder in (self.data_dir, self.run, self.logs, self.sockets):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(
                f"Cannot write to {self.data_dir} ({error.strerror}): set SYNCLINE_DATA_DIR "
                "to a folder of your own"
            ) from error
        require_owner(self.data_dir)
        require_private(self.sockets)

    def make_secrets_key(self) -> None:
        """Make a key that only this user may read; one that is there stays.

        The caller holds the start lock. Effects: a file in the data folder, which is whole or not
        there. Errors: Unavailable.
        """
        if self.secrets_key.exists():
            return
        try:
            descriptor, name = tempfile.mkstemp(dir=self.data_dir, prefix="secrets.key.")
            with os.fdopen(descriptor, "wb") as file:
                file.write(urlsafe_b64encode(os.urandom(32)) + b"\n")
                file.flush()
                os.fsync(descriptor)
            Path(name).rename(self.secrets_key)
        except OSError as error:
            raise Unavailable(f"Cannot write to {self.data_dir} ({error.strerror})") from error

    def forget_sockets(self) -> None:
        """Remove the socket folder that lies outside the data folder, once it is empty."""
        if self.sockets != self.run and self.sockets.is_dir() and not any(self.sockets.iterdir()):
            self.sockets.rmdir()


def fits(folder: Path) -> bool:
    """Whether PostgreSQL and its clients can use a socket in the folder.

    A comma separates folders in PostgreSQL's option and hosts in a client's address. Valkey tells
    a worker who it is in words with spaces and = between, its socket's path among them.
    """
    socket = os.fsencode(folder / f".s.PGSQL.{POSTGRES_PORT}")
    return len(socket) <= LONGEST_SOCKET_PATH and not re.search(rb"[\s,=]", socket)


def private_folder(data_dir: Path) -> Path:
    """The short folder that stands in for a path too long for a socket; the same every time.

    /tmp comes first: TMPDIR may differ between two shells that use one data folder.
    """
    shared = Path("/tmp")  # noqa: S108 - the folder in it is made with mode 700 and checked
    if not os.access(shared, os.W_OK):
        shared = Path(tempfile.gettempdir())
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return shared / f"syncline-{os.geteuid()}-{name}"


def require_owner(folder: Path) -> None:
    """Refuse a folder of another user: PostgreSQL could not use it, root's no less.

    Errors: Unavailable.
    """
    if folder.exists() and folder.stat().st_uid != os.geteuid():
        raise Unavailable(
            f"{folder} belongs to {owner_name(folder)}: start as that user or set SYNCLINE_DATA_DIR"
        )


def require_private(folder: Path) -> None:
    """Refuse a socket folder that others could have made or can enter.

    Effects: takes other users' access to it away. Errors: Unavailable.
    """
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise Unavailable(f"{folder} is not a folder of yours: remove it and start again")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def owner_name(folder: Path) -> str:
    """The name of a folder's owner, or its number where it has none."""
    try:
        return folder.owner()
    except KeyError:
        return f"user {folder.stat().st_uid}"
