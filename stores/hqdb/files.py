"""Statements in files: each in folder `sql` beside the module that runs it, with names as holes.

A file opens with a comment that tells what the statement does. A file whose name begins with an
underscore is a part that others include.
"""

from itertools import dropwhile, takewhile
from pathlib import Path

from psycopg2 import sql


def load(module: str, name: str) -> sql.SQL:
    """The statement of `sql/NAME.sql` beside a module, which gives its `__file__`."""
    return sql.SQL("\n".join(statement_lines(Path(module).parent / "sql" / f"{name}.sql")))


def heading(path: Path) -> str:
    return "\n".join(takewhile(is_comment, path.read_text().splitlines()))


def statement_lines(path: Path) -> list[str]:
    """The lines behind the heading: the server need not read it each time."""
    return list(dropwhile(is_comment, path.read_text().splitlines()))


def is_comment(line: str) -> bool:
    return line.startswith("--")
