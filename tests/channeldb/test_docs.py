"""docs/channel-schema.md does what it says: its SQL is run as it stands, on both engines."""

import re
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections

from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.url import sqlite_path
from stores.channeldb.schema.tables import LIMITS, PART_TABLES, TABLE, WORDS
from tests.channeldb.make import Channel, Till, event, full_row, on_server

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


@pytest.fixture
def roles(templates):
    """Removes the roles that the page makes, after the databases in which they have rights."""
    yield
    for role in ("houston_till", "syncline_hq"):
        on_server(f"DROP ROLE IF EXISTS {role}")


def grant(channel: Channel) -> None:
    """What an administrator does first; the page says it last."""
    for example in examples():
        if example.role == "syncline" and example.engine == "postgresql":
            assert run_psql(channel, example) == ""


@pytest.fixture(params=["postgresql", "sqlite"])
def told(request, roles, templates):
    """A channel with everything on the page done in it, and what came out of each block."""
    channel = request.getfixturevalue(
        {"postgresql": "houston", "sqlite": "register"}[request.param]
    )
    run = run_psql
    if request.param == "sqlite":
        run = run_sqlite
    else:
        grant(channel)
    done = [
        (example, run(channel, example))
        for example in examples()
        if example.runs_on(request.param) and "administrator" not in example.sql.split("\n")[0]
    ]
    return channel, done


def test_every_block_does_what_the_page_says(told):
    _, done = told

    assert len(done) >= 15
    for example, output in done:
        if example.refusal:
            assert output.startswith("refused: "), example.sql
            assert example.refusal in output
        else:
            assert output == example.result, example.sql


def test_customer_of_the_page_arrives_whole(told):
    channel, _ = told

    with connect(channel) as alias:
        till = Till(alias)
        counts = {
            table: till.one(f"SELECT count(*) FROM {table}")  # noqa: S608 - names of the schema
            for table in TABLE
            if table.startswith(("async_", "retail_"))
        }
        assert counts == {
            "async_customer": 3,
            "async_address": 3,
            "async_contact": 1,
            "async_affiliation": 1,
            "async_attribute": 1,
            "retail_transaction": 1,
            "retail_transaction_line": 1,
            "retail_transaction_payment": 1,
        }


def test_nothing_on_the_page_would_be_quarantined_for_its_length_or_words(told):
    channel, _ = told

    with connect(channel) as alias, connections[alias].cursor() as cursor:
        for table, limits in LIMITS.items():
            cursor.execute(f"SELECT * FROM {table}")  # noqa: S608 - names of the schema
            columns = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                values = dict(zip(columns, row, strict=True))
                for column, limit in limits.items():
                    assert len(values[column] or "") <= limit
                for column, words in WORDS[table].items():
                    assert values[column] in (None, *words)


def test_role_of_hq_can_do_its_work_and_no_more(roles, houston):
    grant(houston)
    url = f"postgresql://syncline_hq@/{database_of(houston)}?host={settings.EMBEDDED.sockets}"
    with connect(houston) as alias:
        Till(alias).insert("async_customer", **event())

    with connect(Channel(houston.pk, url)) as alias:
        hq = Till(alias)
        hq.sql("UPDATE async_customer SET acknowledged_at = now()")
        hq.sql("UPDATE exchange_state SET epoch = epoch + 1")
        hq.insert("customer", **full_row("customer"))
        hq.sql("UPDATE customer SET hq_version = 9")
        for statement in (
            "DELETE FROM async_customer",
            "UPDATE async_customer SET staff_id = 'x'",
            "UPDATE retail_transaction_line SET unit = 'x'",
            "DROP TABLE account_map",
        ):
            with hq.refused("permission denied|must be owner"):
                hq.sql(statement)


# ------------------------------------------------------------ tables of limits


def sections() -> dict[str, list[tuple[str, str]]]:
    """Heading -> (column, what HQ accepts), from the tables of the page."""
    found: dict[str, list[tuple[str, str]]] = {}
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.strip("# ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 3:
            for column in re.findall(r"`(\w+)`", cells[0]):
                found.setdefault(heading, []).append((column, cells[2]))
    return found


@pytest.mark.parametrize("table", [name for name in TABLE if TABLE[name].guard])
def test_page_lists_every_column_with_its_limit(table):
    page = sections()
    parts = {part.name for part in PART_TABLES}
    rows = page[table] if table in parts else page["Every event"] + page[table]

    assert [column for column, _ in rows] == list(TABLE[table].column_names)
    for column, accepted in rows:
        limit = re.match(r"up to (\d+) characters", accepted)
        assert (int(limit[1]) if limit else None) == LIMITS[table].get(column), column
        words = WORDS[table].get(column)
        assert not words or re.findall(r"`(\w+)`", accepted) == list(words), column
