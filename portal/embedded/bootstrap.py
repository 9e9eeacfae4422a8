"""Make the packages of a command available: in this environment, or in `.venv`.

The user's own environment is never written to. `.venv/installed` is written last and tells what
`.venv` holds; without it, what is there is half a start and is made anew.
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from portal.embedded import Unavailable

REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*)")
STDERR = 2
# Set for the program that `.venv` was just filled for: it must not install again.
GUARD = "SYNCLINE_BOOTSTRAPPED"


def ensure(root: Path, extras: Sequence[str], *, must_be_current: bool) -> None:
    """Return if this interpreter has the packages, else start the program again in `.venv`.

    Shape: must_be_current says that `.venv` must match pyproject.toml and constraints.txt; else one
    that was finished once will do. Effects: may make and fill `.venv` and replace this process.
    Errors: Unavailable.
    """
    filled = os.environ.pop(GUARD, "")
    missing = list(unsatisfied(root, extras))
    if not missing:
        return
    if filled:
        raise Unavailable(
            f".venv was filled, but still lacks {', '.join(missing)}: remove .venv and start again"
        )
    inside = Path(sys.prefix).resolve() == (root / ".venv").resolve()
    to_fill = inside or must_be_current or read_stamp(root) is None
    if to_fill and fill(root, extras, again=inside):
        os.environ[GUARD] = "1"
    start_again(root)


def unsatisfied(root: Path, extras: Iterable[str]) -> Iterator[str]:
    """Names of wanted packages that are not installed here, or not in a wanted version."""
    project = pyproject(root)["project"]
    requirements = list(project["dependencies"])
    for extra in extras:
        requirements += project["optional-dependencies"][extra]
    for requirement in requirements:
        name, versions = REQUIREMENT.fullmatch(requirement).groups()  # type: ignore[union-attr]
        if not is_installed(name, versions):
            yield name


def is_installed(name: str, versions: str) -> bool:
    """Whether a package is here in one of the versions, written like ">=5.2,<6"."""
    try:
        installed = numbers(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False
    tests = {
        ">=": lambda a, b: a >= b,
        "==": lambda a, b: a == b,
        "<": lambda a, b: a < b,
    }
    clauses = re.findall(r"(>=|==|<)\s*([^,\s]+)", versions)
    return all(tests[sign](installed, numbers(version)) for sign, version in clauses)


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, without the zeros that mean nothing at its end."""
    parts = [int(number) for number in re.findall(r"\d+", version)]
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)


def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


def python_in(root: Path) -> Path:
    return root / ".venv" / "bin" / "python"


def start_again(root: Path) -> NoReturn:
    python = str(python_in(root))
    arguments = [str(root / "manage.py"), *sys.argv[1:]]
    sys.stderr.flush()
    os.execv(python, [python, *arguments])  # noqa: S606 - no shell is wanted


def fill(root: Path, extras: Sequence[str], *, again: bool) -> bool:
    """See that `.venv` holds the packages of the extras, and those it held before.

    Shape: False when nothing had to be done. Effects: makes, mends or completes `.venv`, one
    process at a time. Errors: Unavailable.
    """
    with alone(root / "pyproject.toml"):
        stamp = read_stamp(root) or {}
        new = new_stamp(root, sorted({*extras, *stamp.get("extras", [])}))
        if stamp == new and not again:
            return False
        try:
            stamp_file(root).unlink(missing_ok=True)
            if stamp.get("place") != new["place"]:
                make(root)
            install(root, new["extras"])
            stamp_file(root).write_text(json.dumps(new) + "\n")
        except OSError as error:
            raise Unavailable(f"Cannot write to {root / '.venv'}: {error.strerror}") from error
        return True


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold a file against other starts; it is not written to."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def stamp_file(root: Path) -> Path:
    """The file that says with what `.venv` was filled; it is written last."""
    return root / ".venv" / "installed"


def read_stamp(root: Path) -> dict[str, Any] | None:
    """Read with what `.venv` was filled; None if it is half filled or its Python is gone."""
    try:
        stamp = json.loads(stamp_file(root).read_text())
    except (OSError, ValueError):
        return None
    fits = isinstance(stamp, dict) and {"wanted", "extras", "place"} <= stamp.keys()
    return stamp if fits and python_in(root).exists() else None


def new_stamp(root: Path, extras: Sequence[str]) -> dict[str, Any]:
    """The stamp that `.venv` would get now; it differs in another place or with another Python."""
    files = [(root / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return {
        "wanted": hashlib.sha256(b"\0".join(files)).hexdigest(),
        "extras": list(extras),
        "place": [str(root), sys.version.split()[0]],
    }


def make(root: Path) -> None:
    """Make an empty `.venv`. Errors: Unavailable."""
    if importlib.util.find_spec("venv") is None:
        raise Unavailable(
            "This Python has no venv module: install it (Debian: apt-get install python3-venv) "
            "and start again"
        )
    say("Making .venv")
    call(
        [base_python(), "-m", "venv", "--clear", *without_pip(), str(root / ".venv")],
        root,
        "Cannot make .venv; Python says why above",
    )


def base_python() -> str:
    """The interpreter beneath this one: an environment cannot remake itself."""
    return str(getattr(sys, "_base_executable", sys.executable))


def without_pip() -> list[str]:
    """The option for a Python that cannot put pip into a new environment, as Debian's own."""
    return [] if importlib.util.find_spec("ensurepip") else ["--without-pip"]


def install(root: Path, extras: Sequence[str]) -> None:
    """Install the project and the extras into `.venv`. Errors: Unavailable."""
    say(f"Installing the packages for {', '.join(extras) or 'the portal'} (half a minute) ...")
    target = f".[{','.join(extras)}]" if extras else "."
    words = ["install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt"]
    call(
        [*pip(root), *words, "-e", target],
        root,
        "The packages could not be installed; pip says why above",
    )


def pip(root: Path) -> list[str]:
    """The command line of pip for `.venv`: its own pip, or ours. Errors: Unavailable."""
    python = str(python_in(root))
    if list((root / ".venv" / "lib").glob("python*/site-packages/pip")):
        return [python, "-m", "pip"]
    return [python_with_pip(), "-m", "pip", "--python", python]


def python_with_pip() -> str:
    """An interpreter that has pip: this one, or the one beneath it. Errors: Unavailable."""
    for python in (sys.executable, base_python()):
        ask = [python, "-m", "pip", "--version"]
        if not subprocess.run(ask, capture_output=True, check=False).returncode:  # noqa: S603
            return python
    raise Unavailable(
        "This Python has no pip: install it (Debian: apt-get install python3-pip) and start again"
    )


def call(argv: Sequence[str], root: Path, failure: str) -> None:
    """Run a program whose output goes to stderr: stdout belongs to the command.

    Errors: Unavailable.
    """
    try:
        completed = subprocess.run(argv, cwd=root, stdout=STDERR, check=False)  # noqa: S603
    except OSError as error:
        raise Unavailable(f"{failure}: {error.strerror}") from error
    if completed.returncode:
        raise Unavailable(failure)


def say(sentence: str) -> None:
    """Print a line on stderr, for the person who waits; stdout belongs to the command."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()
