"""A visit reads a sale from its channel with all of its lines and payments.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `store` is a store,
once on PostgreSQL and once on SQLite.
"""

import pytest

from stores.channeldb.exchange.open import visit
from stores.pipeline.events.document_tables import DOCUMENT_SOURCE
from tests.support.make import article, make_sale, query


def read_documents(database):
    with visit(database) as channel:
        [documents] = channel.read_events([DOCUMENT_SOURCE], limit=100, beyond={})
        return documents


def test_a_sale_is_read_with_its_lines_and_payments(store):
    make_sale(store, "10.00", "5.00")

    documents = read_documents(store)

    assert documents.rows == 1
    assert set(documents.parts) == {"retail_transaction_line", "retail_transaction_payment"}
    assert all(documents.parts.values())


def test_an_unreadable_line_spoils_only_its_own_sale(popup):
    make_sale(popup, transaction_id="T-1", lines=[article(), article(quantity="1e3")])
    make_sale(popup, transaction_id="T-2")

    documents = read_documents(popup)

    assert documents.rows == 1
    [unreadable] = documents.unreadable
    assert (unreadable.counter, unreadable.reason) == (1, "amount_format")
    assert unreadable.field == "quantity"
    assert len(unreadable.parts["retail_transaction_line"]) == 2


@pytest.mark.parametrize(
    ("amount", "reason"), [("inf", "amount_format"), ("123456789012345", "overflow")]
)
def test_an_amount_that_hq_cannot_hold_makes_its_sale_unreadable(popup, amount, reason):
    make_sale(popup, net_amount=amount)

    [unreadable] = read_documents(popup).unreadable

    assert unreadable.reason == reason


def test_lines_are_found_by_index_whatever_the_statistics_say(houston):
    make_sale(houston, *["1.00"] * 1000)
    # The server analyzes the table by itself as well, and then perhaps not again that day.
    query(houston, "ANALYZE retail_transaction_line")
    query(houston, "SET session_replication_role = replica; DELETE FROM retail_transaction_line")
    for _ in range(50):
        make_sale(houston, *["1.00"] * 20)
    before = count_lines_read(houston)

    documents = read_documents(houston)

    assert documents.rows == 51
    # Twice for their sizes in each of five statements, and once to carry them.
    assert count_lines_read(houston) - before < 20 * 1000


def count_lines_read(database):
    """The number of lines that all statements have read so far."""
    [(count,)] = query(
        database,
        """SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables
            WHERE relname = 'retail_transaction_line'""",
    )
    return count
