"""The SQL of docs/channel-schema.md is run as it is printed, and does what the page says.

From conftest.py: `houston` is a channel on PostgreSQL; `register` is a channel on SQLite.
"""

import re
from dataclasses import dataclass

import pytest
from django.conf import settings
from django.db import connections

from stores.channeldb.connect.connection import connect
from stores.channeldb.schema.tables import EVENT_TABLES, PART_TABLES, TABLE_BY_NAME
from stores.pipeline.events.document_tables import DOCUMENT_KEY, DOCUMENT_PARTS, HEADER
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.pipeline.events.rules import Rule, rules_for
from tests.support.channel_page import (
    PAGE,
    Example,
    database_of,
    examples,
    grant,
    run_psql,
    run_sqlite,
)
from tests.support.channels import Channel, Till, event, full_row, on_server

RULES = {kind.event: rules_for(kind) for kind in EVENT_KINDS}
RULES |= {part.event: part.rules for part in (HEADER, *DOCUMENT_PARTS)}


def rule_of(code: str, table: str, column: str) -> Rule | None:
    rules = RULES[table]
    if column == DOCUMENT_KEY:
        rules = HEADER.rules
    return next((rule for rule in rules if (rule.code, rule.field) == (code, column)), None)


def limit_of(table: str, column: str) -> int | None:
    """How many characters HQ's rule for the column lets through."""
    rule = rule_of("too_long", table, column)
    if rule is None or words_of(table, column):
        return None
    return int(re.search(r"char_length\(.*\) > (\d+)", rule.broken)[1])


def words_of(table: str, column: str) -> list[str]:
    """The only words that HQ's rule for the column lets through."""
    if column == "operation" and table == HEADER.event:
        return words_of("async_customer", column)
    rule = rule_of("unknown_word", table, column)
    listed = re.search(r"NOT IN \((.*?)\)", rule.broken) if rule else None
    return re.findall(r"'(\w+)'", listed[1]) if listed else []


@pytest.fixture
def roles(templates):
    """Drops the roles that the page creates, after the databases in which they have rights."""
    yield
    for role in ("houston_till", "syncline_hq"):
        on_server(f"DROP ROLE IF EXISTS {role}")


def is_for_tills(example):
    """Whether a till runs the block, rather than the administrator who creates the roles."""
    first_line, *_ = example.sql.split("\n")
    return "administrator" not in first_line


@dataclass
class PageChannel:
    """A channel in which the blocks of the page were run, and what each printed."""

    channel: Channel
    outputs: list[tuple[Example, str]]


@pytest.fixture(params=["postgresql", "sqlite"])
def page_channel(request, roles, templates) -> PageChannel:
    if request.param == "sqlite":
        channel, run = request.getfixturevalue("register"), run_sqlite
    else:
        channel, run = request.getfixturevalue("houston"), run_psql
        grant(channel)
    blocks = [block for block in examples() if block.runs_on(request.param) and is_for_tills(block)]
    return PageChannel(channel, [(block, run(channel, block)) for block in blocks])


def test_every_block_has_the_output_that_the_page_prints(page_channel):
    assert len(page_channel.outputs) >= 15
    for block, output in page_channel.outputs:
        if block.refusal:
            assert output.startswith("refused: "), block.sql
            assert block.refusal in output
        else:
            assert output == block.result, block.sql


def test_the_page_writes_every_event_of_a_customer_and_a_sale(page_channel):
    with connect(page_channel.channel) as alias:
        till = Till(alias)
        counts = {
            table: till.value(f"SELECT count(*) FROM {table}")  # noqa: S608 - names of the schema
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


def test_values_of_the_page_have_lengths_and_words_that_hq_accepts(page_channel):
    with connect(page_channel.channel) as alias, connections[alias].cursor() as cursor:
        for table in (table.name for table in EVENT_TABLES + PART_TABLES):
            cursor.execute(f"SELECT * FROM {table}")  # noqa: S608 - names of the schema
            columns = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                for column, value in zip(columns, row, strict=True):
                    limit, words = limit_of(table, column), words_of(table, column)
                    assert limit is None or len(value or "") <= limit
                    assert not words or value in (None, *words)


def test_the_role_of_hq_can_do_its_work_and_no_more(roles, houston):
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


def columns_by_heading() -> dict[str, list[tuple[str, str]]]:
    """The columns below each heading of the page, with the text that says what HQ accepts."""
    columns: dict[str, list[tuple[str, str]]] = {}
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.strip("# ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 3:
            names, _, accepted = cells
            for column in re.findall(r"`(\w+)`", names):
                columns.setdefault(heading, []).append((column, accepted))
    return columns


@pytest.mark.parametrize("table", [name for name in TABLE_BY_NAME if TABLE_BY_NAME[name].triggers])
def test_the_page_lists_every_column_with_its_limit_and_words(table):
    page = columns_by_heading()
    is_event = table not in {part.name for part in PART_TABLES}
    columns = page["Every event"] + page[table] if is_event else page[table]

    assert [column for column, _ in columns] == list(TABLE_BY_NAME[table].column_names)
    for column, accepted in columns:
        limit = re.match(r"up to ([\d,]+) characters", accepted)
        characters = int(limit[1].replace(",", "")) if limit else None
        assert characters == limit_of(table, column), column
        words = words_of(table, column)
        assert not words or re.findall(r"`(\w+)`", accepted) == words, column
