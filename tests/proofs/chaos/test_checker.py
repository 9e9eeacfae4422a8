"""The judge of the proofs is itself tried: each known kind of damage must be named."""

# ruff: noqa: S608 - statements of this file.

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import psycopg2
import pytest
from django.utils import timezone

from stores.models import ChannelDatabase
from tests.proofs.chaos import checker as judge
from tests.proofs.chaos.checker import Breach, Checker
from tests.proofs.chaos.documents import Document
from tests.proofs.chaos.evidence import evidence_of_failed_sales
from tests.proofs.chaos.expected_totals import compare_books
from tests.proofs.chaos.journal import ACK, ATT, ROL, Journal, Promises
from tests.proofs.chaos.observer import observe_channel, observe_hq
from tests.proofs.chaos.places import Place
from tests.support.make import make_customer, make_event, make_sale, run
from tests.support.processes import hq_url

pytestmark = pytest.mark.slow

ANN = "(SELECT min(id) FROM customer WHERE number IS NOT NULL)"
BO = "(SELECT max(id) FROM customer WHERE number IS NOT NULL)"
EVENT = "(SELECT event_id FROM async_customer ORDER BY replication_counter, event_id LIMIT 1)"
PARTS = "DELETE FROM retail_transaction_line; DELETE FROM retail_transaction_payment"

# What must be named, and the statement that does the damage past every guard.
AT_HQ = {
    "I2 account without exactly one GUID": f"DELETE FROM guid_map WHERE customer_id = {ANN}",
    "I3 numbers have gaps": f"UPDATE customer SET number = number + 700 WHERE id = {BO}",
    "I3 numbers have gaps or": "UPDATE number_sequence SET next = next + 1",
    "I5 map was rewritten": f"""UPDATE guid_map SET customer_id = {BO}, origin = 'linked'
                                 WHERE customer_id = {ANN}""",
    "I7 false receipt": f"DELETE FROM async_customer WHERE event_id = {EVENT}",
    "I9 confirmed to a till and lost": f"DELETE FROM async_customer WHERE event_id = {EVENT}",
    "I9 event that no till wrote": """UPDATE async_address SET event_id = gen_random_uuid()
                                       WHERE ctid = (SELECT min(ctid) FROM async_address)""",
    "I10 event differs": f"UPDATE async_customer SET first_name = 'Eve' WHERE event_id = {EVENT}",
    "I10 not the last event's": f"UPDATE customer SET first_name = 'Eve' WHERE id = {ANN}",
    "I7 false receipt of a sale": f"{PARTS}; DELETE FROM retail_transaction",
    "I13 applied without an account": f"DELETE FROM guid_map WHERE customer_id = {BO}",
    "I14 open without a reason": f"""INSERT INTO open_event ("table", event_id, batch_id,
                                        company_id, status, released_at)
                                     SELECT 'async_customer', event_id, batch_id, company_id,
                                            'waiting', now()
                                       FROM async_customer WHERE event_id = {EVENT}""",
    "I18 owed and not delivered": "UPDATE channel_database SET position = 0",
    "good row in quarantine": """INSERT INTO quarantine (database_id, "table", row_key, event_id,
                                        payload_hash, reason, field, raw, session_id)
                                SELECT database_id, 'async_customer', '900', event_id,
                                       sha256('x'), 'too_long', 'first_name', '{}', session_id
                                  FROM staged_customer LIMIT 1""",
    "I29 run has not ended": "UPDATE job_run SET status = 'running', ended_at = NULL",
}
IN_THE_CHANNEL = {
    "I8 not fetched": "UPDATE async_customer SET acknowledged_at = NULL",
    "I8 not": "UPDATE retail_transaction SET acknowledged_at = NULL",
    "I17 channel knows another account": "UPDATE account_map SET account_number = '009999'",
    "I18 map differs": "DELETE FROM account_map",
    "I18 customer is not": "UPDATE customer SET email = 'eve@example.com'",
    "I18 customer_address is not there": "DELETE FROM customer_address",
    "I18 customer_contact is not at HQ": "UPDATE customer_contact SET locator = 'eve@example.com'",
    "I19 noted as delivered, but not there": "DELETE FROM customer",
}


@pytest.fixture
def judged(houston, popup, tmp_path) -> Iterator[Checker]:
    """A clean ring of two shops, looked at once."""
    for shop in (houston, popup):
        for name in ("Ann", "Bo"):
            guid = make_customer(shop, name)
            make_event("address", shop, async_account=guid)
            make_event("contact", shop, async_account=guid)
        make_sale(shop, "10.00")
    assert run("pipeline")["outcome"] == "succeeded"
    places = [Place.of(shop) for shop in (houston, popup)]
    with Journal(tmp_path / "journal") as journal:
        checker = Checker(hq_url(), places, journal)
        written = [*observe_hq(checker.hq).events, *observe_hq(checker.hq).sales]
        journal.note(ATT, written)
        journal.note(ACK, written)
        assert checker.convergence() == []
        yield checker


def named(checker: Checker, kind: str) -> bool:
    # What it remembers of a damage would be a damage to the next one.
    fresh = replace(checker, remembered=dict(checker.remembered))
    return any(breach.kind.startswith(kind) for breach in fresh.convergence())


def test_damage_at_headquarters_is_named(judged, back_up_hq):
    backup = back_up_hq()
    for kind, statement in AT_HQ.items():
        with closing(psycopg2.connect(judged.hq)) as hq, hq, hq.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(statement)
            assert cursor.rowcount, kind

        assert named(judged, kind), kind

        backup.restore()


@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_damage_in_a_channel_is_named(judged, houston, popup, back_up, engine):
    backup = back_up(popup if engine == "sqlite" else houston)
    [place] = [place for place in judged.places if place.is_file == (engine == "sqlite")]
    for kind, statement in IN_THE_CHANNEL.items():
        with closing(place.open(write=True)) as channel:
            cursor = channel.cursor()
            for unguarding in unguarded(place, cursor):
                cursor.execute(unguarding)
            cursor.execute(statement)
            assert cursor.rowcount, kind
            channel.commit()

        assert named(judged, kind), kind

        backup.restore()


def unguarded(place: Place, cursor) -> list[str]:
    """What switches the guards of a channel off."""
    if not place.is_file:
        return ["SET session_replication_role = replica"]
    cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    return [f"DROP TRIGGER {name}" for (name,) in cursor.fetchall()]


def test_an_event_that_was_taken_back_is_named(judged):
    judged.journal.note(ROL, list(observe_hq(judged.hq).events)[:1])

    assert named(judged, "I9 event that was undone")


def test_a_good_sale_that_was_not_posted_is_told_with_all_that_names_its_customer(judged):
    houston, popup = ChannelDatabase.objects.order_by("pk")
    guid = make_customer(houston, "x" * 61)
    make_sale(houston, "10.00", async_account=guid)
    run("pipeline")
    run("eod")

    [found] = evidence_of_failed_sales(judged.places, bad=set())

    assert [error["rule"] for error in found["errors"]] == ["customer_unknown"]
    assert found["headquarters"]["quarantine.async_account"][0]["reason"] == "too_long"
    assert found["channels"][houston.label].keys() == {"async_customer", "exchange_state"}
    assert found["channels"][popup.label].keys() == {"exchange_state"}


def test_what_the_databases_themselves_refuse_is_named_all_the_same(judged):
    hq, channel = observe_hq(judged.hq), observe_channel(judged.places[0])
    twice = replace(hq, live_runs=[("1010", "*", "a"), ("1010", "*", "b")])
    shown = replace(channel, shown=[*channel.shown, *channel.shown, str(next(iter(hq.events)))])

    kinds = [breach.kind for breach in [*judged.runs(twice), *judge.shown_twice(shown)]]

    assert kinds == ["I28 two live runs of one scope", "I20 shown twice", "I20 shows a GUID"]


@pytest.fixture
def kept_books(houston, popup) -> Promises:
    """Two shops whose day is posted, and what their tills took."""
    documents = {}
    for shop in (houston, popup):
        code, paid = shop.channel.code, (("cash", "USD", "10.70"),)
        guid = make_customer(shop)
        yesterday = timezone.now().date() - timedelta(days=1)
        for kind in ("sale", "customer_order"):
            number = f"{code}-{kind}"
            is_order = kind == "customer_order"
            make_sale(
                shop,
                "10.00",
                transaction_id=number,
                transaction_type=kind,
                business_date=yesterday,
                async_account=guid,
                confirmation_number=number if is_order else None,
            )
            documents[number] = Document(
                number, code, yesterday.isoformat(), kind, True, False, paid
            )
    run("eod")
    run("sync-orders")
    sales = observe_hq(hq_url()).sales
    by_event = {event_id: documents[sale.transaction_id] for event_id, sale in sales.items()}
    promises = Promises(set(sales), set(sales), set(), documents=by_event)
    assert list(compare_books(promises, observe_hq(hq_url()))) == []
    return promises


OF_BOOKS = {
    "I25 statements differ": "UPDATE statement_tender SET amount = amount + 0.01",
    "I25 posted payments differ": """DELETE FROM posted_payment
                                      WHERE id = (SELECT min(id) FROM posted_payment)""",
    "I24 not posted": """UPDATE retail_transaction SET statement_id = NULL, sales_order_id = NULL
                          WHERE transaction_type = 'sale'""",
}


@pytest.mark.parametrize("kind", OF_BOOKS)
def test_a_cent_that_is_missing_in_the_books_is_named(kept_books, kind):
    with closing(psycopg2.connect(hq_url())) as hq, hq, hq.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(OF_BOOKS[kind])
        assert cursor.rowcount

    found = compare_books(kept_books, observe_hq(hq_url()))

    assert any(breach.kind.startswith(kind) for breach in found)


def test_a_sale_whose_customer_the_shop_has_lost_waits(houston):
    guid, paid = str(uuid4()), (("cash", "USD", "10.70"),)
    day = (timezone.now().date() - timedelta(days=1)).isoformat()
    make_sale(houston, "10.00", transaction_id="T-1", business_date=day, async_account=guid)
    run("eod")
    hq = observe_hq(hq_url())
    [event_id] = hq.sales
    sale = Document("T-1", "houston", day, "sale", True, False, paid, guid)
    known = {"tried": {event_id}, "confirmed": {event_id}, "undone": set()}

    expected = Promises(**known, documents={event_id: sale})
    of_lost_customer = Promises(**known, documents={event_id: sale}, gone=[guid])
    posted = replace(hq, sales={event_id: hq.sales[event_id]._replace(statement="posted")})

    assert "I24 not posted" in kinds_of(compare_books(expected, hq))
    assert kinds_of(compare_books(of_lost_customer, hq)) == []
    assert kinds_of(compare_books(of_lost_customer, posted)) == ["I24 posted without its customer"]


def kinds_of(found: Iterable[Breach]) -> list[str]:
    return [breach.kind for breach in found]


def test_a_number_that_is_not_in_the_journal_may_be_taken_back(judged):
    with closing(psycopg2.connect(judged.hq)) as hq, hq, hq.cursor() as cursor:
        cursor.execute("""UPDATE number_journal SET following = '{"USRT": 1}'""")

    assert observe_hq(judged.hq).journaled == set()
    assert judged.remembered.keys() == observe_hq(judged.hq).guid_map.keys()
