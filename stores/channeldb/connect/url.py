"""Turn the URL of a channel's database into connection settings, or refuse it in one sentence.

Four forms: `postgresql://user@host:port/name?sslmode=…`, whose password may be kept apart,
`sqlite:///relative/path` (below SYNCLINE_DATA_DIR), `embedded:name` (a database of the embedded
server), and a reference to one of the first two, `env:CHANNEL_DSN_NAME` or `file:NAME`.

Nothing here connects, and settings are fixed fields: what stands in a password stays a password.
"""

import re
import stat
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from django.conf import settings

from stores.channeldb.connect.secrets import SecretRefused, is_reference, read_secret
from stores.channeldb.connect.timeouts import LimitedConnection, WatchedConnection, WatchedCursor
from stores.channeldb.errors import ChannelMisconfigured
from stores.messages.message import Message

# What a URL may say beyond the address; hostaddr, options, service and passfile are not among it.
URL_PARAMETERS = {"host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "require_auth"}
DATABASE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
# One folder or file name: letters of any language, no URL syntax, nothing that hides or ascends.
PATH_PART = re.compile(r"(?!\.)[\w.+=@, -]{1,200}")
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}


class Database(Protocol):
    """What must be known of a channel's database to open it: HQ's ChannelDatabase has it."""

    @property
    def pk(self) -> Any:
        """HQ's number of the database."""

    @property
    def url(self) -> str:
        """Its address, in one of the four forms."""

    @property
    def secret(self) -> str:
        """Where the password of its address is kept, in one of the forms of secrets.py, or ""."""

    @property
    def label(self) -> str:
        """Its name for people, such as "houston" or "houston/till-1"."""


def postgresql_options() -> dict[str, Any]:
    """Time limits, and messages and dates as Django expects them, whatever the server's defaults.

    Longer work says limits.extend_timeout() for itself.
    """
    session = {
        "statement_timeout": f"{settings.CHANNEL_STATEMENT_S}s",
        "lock_timeout": f"{settings.CHANNEL_LOCK_S}s",
        "idle_in_transaction_session_timeout": f"{settings.CHANNEL_IDLE_S}s",
        # pg_catalog comes before it by itself; a channel with things of its own there is refused.
        "search_path": "public",
        "TimeZone": "UTC",
        "DateStyle": "ISO",
        "IntervalStyle": "postgres",
        # What HQ notes as delivered must be on the channel's disk, however its server is tuned.
        "synchronous_commit": "on",
    }
    return {
        "connection_factory": WatchedConnection,
        "cursor_factory": WatchedCursor,
        "connect_timeout": settings.CHANNEL_CONNECT_S,
        "application_name": "syncline-channel",
        "client_encoding": "UTF8",
        "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
    }


def sqlite_options() -> dict[str, Any]:
    """Time limits, and a file that is not ours: its schema calls nothing that reaches outside."""
    return {
        "factory": LimitedConnection,
        "timeout": settings.CHANNEL_LOCK_S,
        "transaction_mode": "IMMEDIATE",
        # A register's power may fail: FULL keeps what was committed. Damaged pages must be noticed.
        "init_command": "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"
        " PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
    }


def connection_settings(database: Database) -> dict[str, Any]:
    """Django's settings for the database. Errors: ChannelMisconfigured."""
    url = resolved_url(database)
    if is_sqlite(url):
        return sqlite_settings(sqlite_path(database))
    if url.startswith("embedded:"):
        return embedded_settings(embedded_name(database))
    return postgresql_settings(database, url)


def till_url(database: Database) -> str:
    """The address for a till: a URL that PostgreSQL and SQLite clients read, or the reference.

    Errors: ChannelMisconfigured.
    """
    if database.url.startswith("sqlite:"):
        return f"sqlite:///{sqlite_path(database)}"
    if database.url.startswith("embedded:"):
        server = embedded_settings(embedded_name(database))
        return f"postgresql://{server['USER']}@/{server['NAME']}?host={quote(server['HOST'])}"
    return database.url


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite:")


def is_embedded(database: Database) -> bool:
    """Whether the database is one of the embedded server, which HQ may make by itself."""
    return database.url.startswith("embedded:")


def resolved_url(database: Database) -> str:
    """The address itself, read from where the URL refers to. Errors: ChannelMisconfigured."""
    if not is_reference(database.url):
        return database.url
    url = readable_secret(database, database.url)
    if not url.startswith(("postgresql://", "postgres://", "sqlite:///")):
        name = database.url.partition(":")[2]
        raise refusal(database, Message("environment_value_invalid", name=name))
    return url


def readable_secret(database: Database, secret: str) -> str:
    """What a reference or an encrypted password of the channel holds.

    Errors: ChannelMisconfigured.
    """
    try:
        return read_secret(secret)
    except SecretRefused as error:
        raise refusal(database, error.message) from None


def refusal(database: Database, why: Message) -> ChannelMisconfigured:
    """The error that names the channel and the rule, and repeats nothing from the address."""
    return ChannelMisconfigured(Message("address_refused", channel=database.label, why=why))


# ------------------------------------------------------------------- SQLite


def sqlite_path(database: Database) -> Path:
    """The real path of the file, which lies below SYNCLINE_DATA_DIR; it need not exist yet.

    Errors: ChannelMisconfigured for any path that leads elsewhere or to something else.
    """
    relative = resolved_url(database).removeprefix("sqlite:///")
    if not all(PATH_PART.fullmatch(part) for part in relative.split("/")):
        raise refusal(database, Message("path_invalid"))
    root = Path(settings.SYNCLINE_DATA_DIR).resolve()
    try:
        path = (root / relative).resolve()
        is_file = not path.exists() or stat.S_ISREG(path.stat().st_mode)
    except (OSError, RuntimeError):
        raise refusal(database, Message("path_unfollowable")) from None
    if not path.is_relative_to(root):
        raise refusal(database, Message("file_outside"))
    if not is_file:
        raise refusal(database, Message("file_is_no_file"))
    return path


def sqlite_settings(path: Path) -> dict[str, Any]:
    """Settings that open an existing file: mode=rw never makes one."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{path.as_uri()}?mode=rw",
        "OPTIONS": sqlite_options(),
    }


# --------------------------------------------------------------- PostgreSQL


def embedded_name(database: Database) -> str:
    """The name of a database in the embedded server. Errors: ChannelMisconfigured."""
    name = database.url.removeprefix("embedded:")
    if not DATABASE_NAME.fullmatch(name):
        raise refusal(database, Message("embedded_name_invalid"))
    return name


def embedded_settings(name: str) -> dict[str, Any]:
    """Settings for a database of the embedded server, which answers on its socket only."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": "syncline",
        "HOST": str(settings.EMBEDDED.sockets),
        "PORT": "5432",
        "OPTIONS": postgresql_options(),
    }


def postgresql_settings(database: Database, url: str) -> dict[str, Any]:
    """Settings for a server of the channel's own. Errors: ChannelMisconfigured."""
    password = readable_secret(database, database.secret) if database.secret else ""
    try:
        return read_postgresql_url(url, password)
    except InvalidAddress as error:
        raise refusal(database, error.message) from None


class InvalidAddress(ValueError):
    """A URL breaks a rule. The message names the rule, and repeats nothing of the URL."""

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message


def read_postgresql_url(url: str, password: str = "") -> dict[str, Any]:
    """Take a postgresql:// URL apart, whose password may be elsewhere. Errors: InvalidAddress."""
    try:
        parts = urlsplit(url)
        port, query = parts.port, dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise InvalidAddress(Message("address_not_a_url")) from None
    # A variable may hold any bytes; those that are not UTF-8 Python reads as lone surrogates.
    if any("\ud800" <= character <= "\udfff" for character in url):
        raise InvalidAddress(Message("address_not_a_url"))
    if parts.scheme not in ("postgresql", "postgres") or parts.fragment:
        raise InvalidAddress(Message("scheme_unknown"))
    if set(query) - URL_PARAMETERS:
        raise InvalidAddress(Message("parameters_not_allowed", allowed=sorted(URL_PARAMETERS)))
    name = unquote(parts.path.removeprefix("/"))
    # Bytes, as PostgreSQL counts; a longer name would be cut to that of another database.
    if not name or "\0" in unquote(url) or len(name.encode()) > 63:
        raise InvalidAddress(Message("address_needs_database"))
    host = host_of(parts.netloc) or query.get("host", "")
    password = password or unquote(parts.password or "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": password,
        "HOST": one_host(host),
        "PORT": str(port or query.get("port", "")),
        "OPTIONS": postgresql_options() | transport(host, bool(password), query),
    }


def host_of(netloc: str) -> str:
    """The host as written: urlsplit would turn the path of a socket into small letters."""
    address = netloc.rpartition("@")[2]
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return unquote(address.partition(":")[0])


def one_host(host: str) -> str:
    """The host, if it is one: libpq reads a comma as a list. Errors: InvalidAddress."""
    if not host or "," in host:
        raise InvalidAddress(Message("address_needs_one_host"))
    return host


def transport(host: str, has_password: bool, query: dict[str, str]) -> dict[str, str]:
    """How the connection is secured: a password goes to nobody unproven, remote only by TLS.

    A socket needs neither. A URL may say otherwise, but not for a remote host in production.
    Errors: InvalidAddress.
    """
    options = {name: query[name] for name in query if name not in ("host", "port")}
    if host.startswith("/"):
        return options
    if has_password:
        options.setdefault("require_auth", "scram-sha-256")
    if host not in LOCAL_HOSTS:
        options.setdefault("sslmode", "verify-full")
        if settings.PRODUCTION and options["sslmode"] != "verify-full":
            raise InvalidAddress(Message("tls_required"))
    return options
