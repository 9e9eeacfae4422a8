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
# The columns that hold one of a few words, whichever table they are in.
WORDS = {
    "operation": ["create", "update", "deactivate"],
    "customer_type": ["person", "organization"],
    "purpose": ["home", "business", "delivery", "invoice", "other"],
    "kind": ["email", "phone", "url"],
    "transaction_type": ["sale", "return", "customer_order"],
    "entry_status": ["concluded", "voided"],
}
# The most characters of all other texts.
EVERY_EVENT = {"account_number": 20, "staff_id": 25, "terminal_id": 10}
MAX_LENGTHS = {
    "async_customer": EVERY_EVENT
    | {"first_name": 60, "middle_name": 60, "last_name": 60, "name": 300, "title": 20}
    | {"language": 7, "currency": 3, "customer_group": 20, "vat_number": 30}
    | {"email": 255, "phone": 60, "receipt_email": 255},
    "async_address": EVERY_EVENT
    | {"description": 60, "street": 250, "street_number": 20, "building": 60, "city": 60}
    | {"county": 10, "state": 10, "postal_code": 10, "country": 3},
    "async_contact": EVERY_EVENT | {"locator": 255, "description": 60},
    "async_affiliation": EVERY_EVENT | {"affiliation": 20},
    "async_attribute": EVERY_EVENT | {"attribute": 60, "value": 1000},
    "retail_transaction": EVERY_EVENT
    | {"transaction_id": 44, "confirmation_number": 50, "store_number": 10, "currency": 3}
    | {"delivery_mode": 10, "receipt_number": 18},
    "retail_transaction_line": {
        "transaction_id": 44,
        "item_id": 20,
        "description": 120,
        "unit": 10,
    },
    "retail_transaction_payment": {"transaction_id": 44, "tender_type": 20, "currency": 3},
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
    limited = {
        # More may follow: "up to 300 characters; an organization needs it".
        column: int(accepted.removeprefix("up to ").split(" ")[0].replace(",", ""))
        for column, accepted in columns_of_the_page(table).items()
        if accepted.startswith("up to ")
    }

    assert limited == MAX_LENGTHS[table]


@pytest.mark.parametrize("table", TILL_TABLES)
def test_hq_refuses_texts_beyond_the_lengths_of_the_page(table):
    max_lengths = dict(MAX_LENGTHS[table])
    if table in PART_TABLE_NAMES:
        # HQ checks the transaction id in the header, to which lines and payments refer.
        del max_lengths["transaction_id"]

    checked = {rule.field for rule in RULES[table] if rule.code == "too_long"}
    held = {field.column: field.max_length for field in MODELS[table]._meta.concrete_fields}
    assert checked - WORDS.keys() == max_lengths.keys()
    assert {column: held[column] for column in max_lengths} == max_lengths


def in_a_sentence(words: list[str]) -> str:
    """The words as the page lists them: `create`, `update` or `deactivate`."""
    *others, last = [f"`{word}`" for word in words]
    return f"{', '.join(others)} or {last}"


@pytest.mark.parametrize("table", TILL_TABLES)
def test_the_page_tells_which_words_a_column_may_hold(table):
    for column, accepted in columns_of_the_page(table).items():
        if column in WORDS:
            assert accepted == in_a_sentence(WORDS[column]), column


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
        words = WORDS[rule.field]
        # Some of these columns may be empty as well.
        refused = not_in_words(rule.field, *words), not_in_words(rule.field, *words, "")
        assert rule.broken.startswith(refused) or rule.broken.endswith(refused), rule
