"""Statements that are read whole: each in a file, in folder `sql` beside the module that runs it.

A file opens with a comment that tells what the statement does. Its holes are in braces and filled
by name; a file whose name begins with an underscore is a part that others include.
"""

from collections.abc import Iterator
from pathlib import Path

from psycopg2 import sql

COMMENT = "--"


def load(module: str, name: str) -> sql.SQL:
    """The statement of `sql/NAME.sql` beside a module, which gives its `__file__`."""
    return sql.SQL("\n".join(statement_lines(path_of(module, name))))


def path_of(module: str, name: str) -> Path:
    return Path(module).parent / "sql" / f"{name}.sql"


def heading(path: Path) -> str:
    """The comment with which a file opens."""
    lines = path.read_text().splitlines()
    return "\n".join(lines[: len(lines) - len(list(statement_lines(path)))])


def statement_lines(path: Path) -> Iterator[str]:
    """The lines behind the heading: the server need not read it each time."""
    has_begun = False
    for line in path.read_text().splitlines():
        has_begun = has_begun or not line.startswith(COMMENT)
        if has_begun:
            yield line
