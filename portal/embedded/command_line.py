"""The command line of `manage.py`: packages and servers for Django's commands, and the tests."""

import gc
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType, ModuleType
from typing import NoReturn

from portal.embedded import bootstrap, postgres, servers, valkey

# Commands that read only code and files, and `demo`, which starts its servers itself.
NO_SERVERS = {
    *("check", "collectstatic", "compilemessages", "demo", "diffsettings", "findstatic", "help"),
    *("makemessages", "makemigrations", "startapp", "startproject", "version"),
}
# Commands that use the queue, also where HQ's database is elsewhere.
NEED_QUEUE = {"run_job", "runserver", "scheduler", "worker"}
ASKS_FOR_HELP = {"-h", "--help", "--version"}
UNDEFINED_TABLE, UNDEFINED_COLUMN = "42P01", "42703"
# SQLSTATEs of a server that is shutting down, crashed or starting; None if none answered.
NOT_THERE = {"57P01", "57P02", "57P03", None}


def run(root: Path, argv: Sequence[str]) -> None:
    """Run one command of `manage.py`.

    Errors: Unavailable and, for the rest that is expected, SystemExit with one sentence.
    """
    name = argv[1] if len(argv) > 1 else "help"
    bootstrap.ensure(root, extras(name), must_be_current=name in {"demo", "test"})
    if name == "test":
        run_tests(root, argv[2:])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    run_django(name, argv)


def extras(name: str) -> list[str]:
    """The groups of packages a command needs beside the portal's own."""
    if name == "test":
        return ["embedded", "test", "dev"]
    return [] if os.environ.get("DATABASE_URL") and name != "demo" else ["embedded"]


def run_tests(root: Path, argv: Sequence[str]) -> NoReturn:
    """Become pytest, in the checkout wherever the person stands."""
    words = [from_here(word) for word in argv]
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *words])  # noqa: S606 - no shell


def from_here(word: str) -> str:
    """A path as the person meant it; what names no file stays as it is."""
    path, colons, test = word.partition("::")
    return f"{Path(path).resolve()}{colons}{test}" if path and Path(path).exists() else word


def run_django(name: str, argv: Sequence[str]) -> None:
    """Run a command of Django's or ours, with the servers it needs."""
    # What is loaded now stays: there is no garbage to look for, a tenth of a short command's time.
    gc.disable()
    import psycopg2
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError

    try:
        with servers_for(name, argv):
            gc.freeze()
            gc.enable()
            execute_from_command_line(list(argv))
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    except BrokenPipeError:
        # Whoever read our output has enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (DatabaseError, psycopg2.Error) as error:
        if "--traceback" in argv or not (sentence := explain(error)):
            raise
        sys.exit(sentence)


def explain(error: Exception) -> str:
    """One sentence for trouble with HQ's database that a person can mend; else nothing."""
    code = getattr(error.__cause__ or error, "pgcode", "")
    if code in {UNDEFINED_TABLE, UNDEFINED_COLUMN}:
        return "The HQ database lacks tables or columns of this version: run manage.py migrate"
    if code not in NOT_THERE:
        return ""
    if os.environ.get("DATABASE_URL"):
        return "The HQ database does not answer: check DATABASE_URL and its server"
    return "The embedded PostgreSQL stopped while it was in use: run the command again"


def servers_for(name: str, argv: Sequence[str]) -> AbstractContextManager[None]:
    """The servers a command needs, running for as long as the command does."""
    if not needs_servers(name, argv):
        if name == "makemigrations":
            # It would like to compare with the database, which nobody asked it to.
            warnings.filterwarnings("ignore", "Got an error checking a consistent migration")
        return nullcontext()
    with_postgres = not os.environ.get("DATABASE_URL")
    with_valkey = not os.environ.get("REDIS_URL") and (with_postgres or name in NEED_QUEUE)
    needed = [*([postgres] if with_postgres else []), *([valkey] if with_valkey else [])]
    return embedded(needed) if needed else nullcontext()


def needs_servers(name: str, argv: Sequence[str]) -> bool:
    """Whether a command may ask a database; a mistyped one does not."""
    if ASKS_FOR_HELP.intersection(argv):
        return False
    if name == "check" and "--database" in argv:
        return True
    return name not in NO_SERVERS and is_command(name)


def is_command(name: str) -> bool:
    """Whether Django knows the command; code that cannot be loaded is for Django to report."""
    import django
    from django.core.management import get_commands

    if name == "runserver":
        return True  # it reloads code that is broken at first
    try:
        django.setup()
    except Exception:  # Django tells it better, and comes to the same error
        return False
    return name in get_commands()


@contextmanager
def embedded(needed: Sequence[ModuleType]) -> Iterator[None]:
    """These embedded servers of the configured data folder; SIGTERM stops them too."""
    from django.conf import settings

    end_on_signals()
    with servers.in_use(settings.EMBEDDED, bootstrap.say, needed):
        yield


def end_on_signals() -> None:
    """Let SIGTERM and a closed terminal end this process like Ctrl-C does: cleaning up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, leave)


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """End as a killed program does, after the servers were let go."""
    raise SystemExit(128 + number)
