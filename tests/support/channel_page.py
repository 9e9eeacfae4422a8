"""docs/channel-schema.md, block by block, and how each is run."""

import re
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from stores.channeldb.connect.url import sqlite_path
from tests.support.channels import Channel

PAGE = Path(__file__).parents[2] / "docs/channel-schema.md"
BLOCK = re.compile(r"^```(sql|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST_LINE = re.compile(
    r"-- (PostgreSQL|SQLite|HQ)(?:, (?:as (administrator)|refused: (.*)))?$", re.MULTILINE
)
ENGINE = {"PostgreSQL": "postgresql", "SQLite": "sqlite", "HQ": "", None: ""}


@dataclass(frozen=True)
class Example:
    """One block of SQL, who runs it where, and what the page says comes out."""

    sql: str
    engine: str
    role: str
    refusal: str
    result: str

    def runs_on(self, engine):
        return self.engine in ("", engine)


def examples() -> Iterator[Example]:
    """The blocks of the page; a text block is the result of the SQL before it."""
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    for (language, text), (following, result) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "sql":
            found = FIRST_LINE.match(text)
            engine, administrator, refusal = found.groups() if found else (None, "", "")
            role = "syncline" if administrator or engine == "HQ" else "houston_till"
            expected = result if following == "text" else ""
            yield Example(text, ENGINE[engine], role, refusal or "", expected)


def database_of(channel: Channel) -> str:
    return channel.url.removeprefix("embedded:")


def run_psql(channel: Channel, example: Example) -> str:
    """The block through psql, as the role that the page names."""
    from portal.embedded.postgres import binary

    server = ["-h", str(settings.EMBEDDED.sockets), "-U", example.role, "-d", database_of(channel)]
    options = ["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-f", "-"]
    done = subprocess.run(
        [binary("psql"), *server, *options],
        input=example.sql,
        capture_output=True,
        text=True,
        check=False,
        env={"PGCONNECT_TIMEOUT": "5"},
    )
    return done.stdout if done.returncode == 0 else f"refused: {done.stderr}"


def run_sqlite(channel: Channel, example: Example) -> str:
    """The block through SQLite, printed as its command line tool does."""
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


def grant(channel: Channel) -> None:
    """What an administrator does first; the page says it last."""
    for example in examples():
        if example.role == "syncline" and example.engine == "postgresql":
            assert run_psql(channel, example) == ""
