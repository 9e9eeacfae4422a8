"""docs/channel-schema.md: its blocks of SQL and how each is run, and the columns that it lists."""

import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from django.conf import settings

from stores.channeldb.connect.url import sqlite_path
from stores.models import ChannelDatabase
from tests.support.channels import on_server

PAGE = Path(__file__).parents[2] / "docs/channel-schema.md"
BLOCK = re.compile(r"^```(sql|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST_LINE = re.compile(
    r"-- (PostgreSQL|SQLite|HQ)(?:, (?:as (administrator)|refused: (.*)))?$", re.MULTILINE
)
ENGINE = {"PostgreSQL": "postgresql", "SQLite": "sqlite", "HQ": "", None: ""}


@dataclass(frozen=True)
class Example:
    """A block of SQL: its engine, the role that runs it, and the output that the page prints."""

    sql: str
    engine: str
    role: str
    refusal: str
    result: str

    def runs_on(self, engine: str) -> bool:
        return self.engine in ("", engine)

    @property
    def creates_roles(self) -> bool:
        """Whether an administrator runs the block, rather than a till."""
        return self.role == "syncline" and self.engine == "postgresql"


def examples() -> Iterator[Example]:
    """The blocks of the page; a text block is the result of the SQL before it."""
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    for (language, sql), (next_language, next_text) in pairwise([*blocks, ("", "")]):
        if language == "sql":
            first_line = FIRST_LINE.match(sql)
            engine, administrator, refusal = first_line.groups() if first_line else (None, "", "")
            role = "syncline" if administrator or engine == "HQ" else "houston_till"
            result = next_text if next_language == "text" else ""
            yield Example(sql, ENGINE[engine], role, refusal or "", result)


def database_of(channel: ChannelDatabase) -> str:
    return channel.url.removeprefix("embedded:")


def run_psql(channel: ChannelDatabase, example: Example) -> str:
    """Run the block by psql, as the role that the page names. Returns its output."""
    from portal.embedded.postgres import binary

    server = ["-h", str(settings.EMBEDDED.sockets), "-U", example.role, "-d", database_of(channel)]
    options = ["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-f", "-"]
    process = subprocess.run(
        [binary("psql"), *server, *options],
        input=example.sql,
        capture_output=True,
        text=True,
        check=False,
        env={"PGCONNECT_TIMEOUT": "5"},
    )
    return process.stdout if process.returncode == 0 else f"refused: {process.stderr}"


def run_sqlite(channel: ChannelDatabase, example: Example) -> str:
    """Run the block in SQLite. Returns its output as the command-line tool prints it."""
    connection = sqlite3.connect(sqlite_path(channel), isolation_level=None)
    try:
        if example.sql.lstrip().startswith("SELECT"):
            rows = connection.execute(example.sql).fetchall()
            return "".join("|".join(map(str, row)) + "\n" for row in rows)
        connection.executescript(example.sql)
        return ""
    except sqlite3.Error as error:
        return f"refused: {error}"
    finally:
        connection.close()


@contextmanager
def granted_roles(database: ChannelDatabase) -> Iterator[None]:
    """The roles that the page has an administrator create, with their rights in the database.

    At the end the database is dropped as well: until then the roles cannot be.
    """
    for example in examples():
        if example.creates_roles:
            assert run_psql(database, example) == ""
    name = database_of(database)
    yield
    on_server(f"DROP DATABASE {name} WITH (FORCE)")
    for role in ("houston_till", "syncline_hq"):
        on_server(f"DROP ROLE {role}")


def documented_columns(heading: str) -> dict[str, str]:
    """The columns listed under a heading of the page, and what HQ accepts in each."""
    section = PAGE.read_text(encoding="utf-8").split(f"# {heading}\n")[1].split("\n#")[0]
    columns = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            names, _, accepted = (cell.strip() for cell in line.strip("|").split("|"))
            # Columns that are alike share a row.
            columns |= {name.strip("` "): accepted for name in names.split(",")}
    return columns
