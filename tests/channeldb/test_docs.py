"""docs/channel-schema.md does what it says: its SQL is run as it stands, on both engines."""

import re

import pytest
from django.conf import settings
from django.db import connections

from stores.channeldb.connect.connection import connect
from stores.channeldb.schema.tables import LIMITS, PART_TABLES, TABLE_BY_NAME, WORDS
from tests.support.channel_page import PAGE, database_of, examples, grant, run_psql, run_sqlite
from tests.support.channels import Channel, Till, event, full_row, on_server


@pytest.fixture
def roles(templates):
    """Removes the roles that the page makes, after the databases in which they have rights."""
    yield
    for role in ("houston_till", "syncline_hq"):
        on_server(f"DROP ROLE IF EXISTS {role}")


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
            for table in TABLE_BY_NAME
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


@pytest.mark.parametrize("table", [name for name in TABLE_BY_NAME if TABLE_BY_NAME[name].triggers])
def test_page_lists_every_column_with_its_limit(table):
    page = sections()
    parts = {part.name for part in PART_TABLES}
    rows = page[table] if table in parts else page["Every event"] + page[table]

    assert [column for column, _ in rows] == list(TABLE_BY_NAME[table].column_names)
    for column, accepted in rows:
        limit = re.match(r"up to (\d+) characters", accepted)
        assert (int(limit[1]) if limit else None) == LIMITS[table].get(column), column
        words = WORDS[table].get(column)
        assert not words or re.findall(r"`(\w+)`", accepted) == list(words), column
