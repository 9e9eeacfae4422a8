"""What docs/channel-schema.md tells people who write tills is true: its SQL runs as it is printed.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite.
"""

from collections.abc import Iterator

import pytest

from stores.channeldb.schema.tables import EVENT_TABLES, PART_TABLES, TABLE_BY_NAME
from stores.models import (
    ChannelDatabase,
    Quarantine,
    RetailTransaction,
    RetailTransactionLine,
    RetailTransactionPayment,
)
from stores.models.job import JobCode
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.events.document_tables import DOCUMENT_PARTS, HEADER
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.pipeline.events.rules import STAGED_MODELS, Rule, not_in_words, rules_for
from tests.support.channel_page import (
    Example,
    documented_columns,
    examples,
    granted_roles,
    run_psql,
    run_sqlite,
)
from tests.support.make import engine_of, query, run

# The tables that tills write: five of events of customers, and three of sales.
PART_TABLE_NAMES = [table.name for table in PART_TABLES]
TILL_TABLES = [table.name for table in EVENT_TABLES] + PART_TABLE_NAMES
RULES = {kind.event: rules_for(kind) for kind in EVENT_KINDS}
RULES |= {table.event: table.rules for table in (HEADER, *DOCUMENT_PARTS)}
MODELS = {kind.event: STAGED_MODELS[kind.noun] for kind in EVENT_KINDS}
MODELS |= {
    "retail_transaction": RetailTransaction,
    "retail_transaction_line": RetailTransactionLine,
    "retail_transaction_payment": RetailTransactionPayment,
}
# The columns that hold one of a few words, and what the page says of them.
WORDS = {
    "operation": (["create", "update", "deactivate"], "`create`, `update` or `deactivate`"),
    "customer_type": (["person", "organization"], "`person` or `organization`"),
    "purpose": (
        ["home", "business", "delivery", "invoice", "other"],
        "`home`, `business`, `delivery`, `invoice` or `other`",
    ),
    "kind": (["email", "phone", "url"], "`email`, `phone` or `url`"),
    "transaction_type": (
        ["sale", "return", "customer_order"],
        "`sale`, `return` or `customer_order`",
    ),
    "entry_status": (["concluded", "voided"], "`concluded` or `voided`"),
}


def run_page(database: ChannelDatabase) -> list[tuple[Example, str]]:
    """Run the blocks of the page that are for tills. Returns each with its output."""
    engine = engine_of(database)
    run_block = run_sqlite if engine == "sqlite" else run_psql
    return [
        (block, run_block(database, block))
        for block in examples()
        if block.runs_on(engine) and not block.creates_roles
    ]


@pytest.fixture
def till_store(store) -> Iterator[ChannelDatabase]:
    """The store, on PostgreSQL with the role by which its till writes."""
    if engine_of(store) == "sqlite":
        yield store
    else:
        with granted_roles(store):
            yield store


def test_every_block_has_the_output_that_the_page_prints(till_store):
    outputs = run_page(till_store)

    # The page has more blocks than this for either engine.
    assert len(outputs) >= 15
    for block, output in outputs:
        if block.refusal:
            assert output.startswith("refused: "), block.sql
            assert block.refusal in output
        else:
            assert output == block.result, block.sql


def test_the_page_writes_events_to_every_table_of_tills(till_store):
    run_page(till_store)

    counts = {
        table: query(till_store, f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - our names
        for table in TILL_TABLES
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


def test_hq_accepts_every_event_of_the_page(till_store):
    # The account that HQ has given to the customer of the page.
    import_account(till_store.channel.company, "C-000001", deliver=False)
    run_page(till_store)

    document = run(JobCode.UPLOAD)

    assert document["counts"] == {"read": 10, "staged": 10}
    assert Quarantine.objects.count() == 0


def columns_of_the_page(table: str) -> dict[str, str]:
    """The columns that the page lists for a table, each with what it says that HQ accepts."""
    if table in PART_TABLE_NAMES:
        return documented_columns(table)
    return documented_columns("Every event") | documented_columns(table)


@pytest.mark.parametrize("table", TILL_TABLES)
def test_the_page_lists_every_column_in_order(table):
    assert list(columns_of_the_page(table)) == list(TABLE_BY_NAME[table].column_names)


@pytest.mark.parametrize("table", TILL_TABLES)
def test_the_page_tells_how_long_a_text_may_be(table):
    columns = columns_of_the_page(table)
    too_long = {rule.field for rule in RULES[table] if rule.code == "too_long"}
    max_lengths = {
        field.column: field.max_length
        for field in MODELS[table]._meta.concrete_fields
        if field.column in too_long - WORDS.keys()
    }
    if table in PART_TABLE_NAMES:
        # The key of the header; HQ's lines and payments refer to its row instead.
        max_lengths["transaction_id"] = 44

    limited = {column for column, accepted in columns.items() if accepted.startswith("up to ")}
    assert limited == max_lengths.keys()
    for column, max_length in max_lengths.items():
        assert columns[column].startswith(f"up to {max_length:,} characters"), column


@pytest.mark.parametrize("table", TILL_TABLES)
def test_the_page_tells_which_words_a_column_may_hold(table):
    stated = {
        column: accepted
        for column, accepted in columns_of_the_page(table).items()
        if column in WORDS
    }

    assert stated == {column: WORDS[column][1] for column in stated}


def word_rules() -> list[Rule]:
    """The rules of columns that hold one of a few words."""
    return [
        rule
        for rules in RULES.values()
        for rule in rules
        if rule.code == "unknown_word" and "NOT IN" in rule.broken
    ]


def test_hq_accepts_the_words_of_the_page_and_no_others():
    assert {rule.field for rule in word_rules()} == WORDS.keys()
    for rule in word_rules():
        words, _ = WORDS[rule.field]
        # Some of these columns may be empty as well.
        refused = not_in_words(rule.field, *words), not_in_words(rule.field, *words, "")
        assert rule.broken.startswith(refused) or rule.broken.endswith(refused), rule
