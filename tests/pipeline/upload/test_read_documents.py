"""A sale is read from its channel with its lines and payments, or not at all."""

from stores.channeldb.exchange.open import visit
from stores.pipeline.events.document_tables import DOCUMENT_SOURCE
from tests.support.make import article, make_sale, query


def read(channel):
    return channel.read_events([DOCUMENT_SOURCE], limit=100, beyond={})[0]


def test_a_sale_is_read_with_its_lines_and_payments(store):
    make_sale(store, "10.00", "5.00")

    with visit(store) as channel:
        found = read(channel)

    assert found.rows == 1
    assert set(found.parts) == {"retail_transaction_line", "retail_transaction_payment"}
    assert all(found.parts.values())


def test_one_broken_line_breaks_its_document_and_no_other(popup):
    make_sale(popup, transaction_id="T-1", lines=[article(), article(quantity="1e3")])
    make_sale(popup, transaction_id="T-2")

    with visit(popup) as channel:
        found = read(channel)

    [broken] = found.unreadable
    assert found.rows == 1
    assert (broken.counter, broken.reason, broken.field) == (1, "amount_format", "quantity")
    assert len(broken.parts["retail_transaction_line"]) == 2


def test_a_floating_amount_is_no_amount(popup):
    for amount, reason in (("inf", "amount_format"), ("123456789012345", "overflow")):
        make_sale(popup, net_amount=amount, transaction_id=f"T-{amount}")

        with visit(popup) as channel:
            assert read(channel).unreadable[-1].reason == reason


def test_the_lines_of_a_sale_are_looked_up_whatever_the_statistics_say(houston):
    make_sale(houston, *["1.00"] * 1000)
    # As the server does by itself; it may do so again only when the day is over.
    query(houston, "ANALYZE retail_transaction_line")
    query(houston, "SET session_replication_role = replica; DELETE FROM retail_transaction_line")
    for _ in range(50):
        make_sale(houston, *["1.00"] * 20)
    before = lines_read(houston)

    with visit(houston) as channel:
        assert read(channel).rows == 51

    # Twice for their sizes in each of five statements, and once to carry them.
    assert lines_read(houston) - before < 20 * 1000


def lines_read(database):
    """How many lines any statement has read so far."""
    [(seen,)] = query(
        database,
        """SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables
            WHERE relname = 'retail_transaction_line'""",
    )
    return seen
