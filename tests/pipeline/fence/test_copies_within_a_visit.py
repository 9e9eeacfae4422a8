"""Copies of a channel that were made while HQ visited it, put back later: none goes unnoticed."""

from threading import Thread

import pytest
from django.db import connections

from stores import failpoints
from stores.models import AsyncCustomer, ChannelDatabase, Customer, Incident
from stores.models.incident import IncidentKind
from stores.pipeline.download import packages
from stores.pipeline.integrity.verify import verify
from stores.pipeline.upload import upload
from tests.support.make import make_customer, query, run
from tests.support.processes import Died, die

pytestmark = pytest.mark.slow

RESTORED = [IncidentKind.CHANNEL_RESTORED]


def told(database: ChannelDatabase) -> list[str]:
    return [row.kind for row in Incident.objects.filter(database=database).order_by("pk")]


def at_point(monkeypatch: pytest.MonkeyPatch, point: str, times: int, work) -> None:
    """Have work done when a failpoint is passed for the n-th time."""
    passed = []

    def pass_by() -> None:
        passed.append(None)
        if len(passed) == times:
            work()

    monkeypatch.setitem(failpoints.actions, point, pass_by)


def apart(work):
    """Work with connections of its own, as another process would."""

    def do() -> None:
        thread = Thread(target=lambda: (work(), connections.close_all()))
        thread.start()
        thread.join()

    return do


@pytest.mark.parametrize(
    ("point", "part"),
    [
        ("download:after_delivered", 1),
        ("download:after_delivered", 2),
        ("fence:after_intention", 1),
        ("fence:after_intention", 3),
    ],
)
def test_v7_a_copy_made_between_two_parts_of_a_download_is_noticed(
    popup, backed_up, monkeypatch, point, part
):
    # Only of a file: while HQ is in a database of PostgreSQL its server makes no copy of it.
    for name in ("Ann", "Bo", "Cy", "Di", "Eve", "Flo"):
        make_customer(popup, name)
    run("P-0001")
    run("sync-customers")
    monkeypatch.setattr(packages, "CUSTOMERS_PER_CHUNK", 2)
    copies = []
    at_point(monkeypatch, point, part, lambda: copies.append(backed_up(popup)))
    assert run("1010")["counts"]["distributed"] == 6
    monkeypatch.undo()
    copies[0].restore()
    held = query(popup, "SELECT count(*) FROM customer WHERE hq_version > 0")[0][0]

    run("pipeline")

    assert held < 6
    assert told(popup) == RESTORED
    assert query(popup, "SELECT count(*) FROM account_map") == [(6,)]
    assert [check.id for check in verify() if not check.ok] == []


def test_v7_each_part_leaves_a_pair_of_its_own_with_what_it_brings(store, monkeypatch):
    for name in ("Ann", "Bo", "Cy"):
        make_customer(store, name)
    run("P-0001")
    run("sync-customers")
    monkeypatch.setattr(packages, "CUSTOMERS_PER_CHUNK", 1)
    seen = []

    def look() -> None:
        seen.append(
            query(store, "SELECT epoch, (SELECT count(*) FROM customer) FROM exchange_state")
        )

    monkeypatch.setitem(failpoints.actions, "fence:after_channel", apart(look))
    run("1010")

    epochs, held = zip(*(rows[0] for rows in seen), strict=True)
    assert held == (1, 2, 3)
    assert [epoch - epochs[0] for epoch in epochs] == [0, 1, 2]


def test_v7_a_copy_made_between_two_batches_of_an_upload_is_noticed(popup, backed_up, monkeypatch):
    store = popup
    for name in ("Ann", "Bo"):
        make_customer(store, name)
    monkeypatch.setattr(upload, "EVENTS_PER_CHUNK", 1)
    copies = []

    def copy() -> None:
        copies.append(backed_up(store))
        make_customer(store, "Cy")

    at_point(monkeypatch, "upload:after_acknowledge", 1, apart(copy))
    run("P-0001")
    monkeypatch.undo()
    copies[0].restore()
    make_customer(store, "Di")

    run("pipeline")

    assert told(store) == RESTORED
    # The counter that Cy had is Di's now.
    known = dict(AsyncCustomer.objects.values_list("first_name", "generation"))
    assert known == {"Ann": 1, "Bo": 1, "Cy": 1, "Di": 2}
    counters = AsyncCustomer.objects.filter(first_name__in=["Cy", "Di"])
    assert len({event.replication_counter for event in counters}) == 1


def test_v7b_what_hq_has_read_is_in_every_copy_that_it_takes_for_the_latest(
    store, backed_up, monkeypatch
):
    ann = make_customer(store, "Ann")
    run("pipeline")
    backup = backed_up(store)
    for name in ("Ann 2", "Ann 3"):
        make_customer(store, name, guid=ann, operation="update")
    # HQ has read and staged them, and cannot write.
    monkeypatch.setitem(failpoints.actions, "upload:after_hq_commit", die)
    with pytest.raises(Died):
        run("P-0001")
    monkeypatch.undo()
    backup.restore()
    make_customer(store, "Ann after the restore", guid=ann, operation="update")

    run("pipeline")

    assert told(store) == RESTORED
    assert Customer.objects.get(account_number="005001").first_name == "Ann after the restore"
    assert query(store, "SELECT first_name FROM customer WHERE account_number = '005001'") == [
        ("Ann after the restore",)
    ]
    assert [check.id for check in verify() if not check.ok] == []


def test_v7b_a_channel_that_cannot_be_fenced_is_not_read(store, monkeypatch):
    make_customer(store)

    def refuse(*args: object) -> None:
        raise Died

    engine = "PostgreSQLVisit" if store.channel.code == "houston" else "SQLiteVisit"
    module = "postgresql" if store.channel.code == "houston" else "sqlite"
    monkeypatch.setattr(f"stores.channeldb.exchange.{module}.{engine}.fence", refuse)
    with pytest.raises(Died):
        run("P-0001")

    assert not AsyncCustomer.objects.exists()


def test_v7b_a_channel_that_counts_lower_than_what_hq_has_staged_was_set_back(
    store, backed_up, monkeypatch
):
    backup = backed_up(store)
    make_customer(store, "Ann")
    run("pipeline")
    latest = query(store, "SELECT epoch, nonce, account_high FROM exchange_state")[0]
    backup.restore()
    # The pair of the latest visit, as a careless copy of single tables would bring it.
    query(
        store,
        "UPDATE exchange_state SET epoch = %s, nonce = %s, account_high = %s",
        latest[0],
        str(latest[1]),
        latest[2] if isinstance(latest[2], str) else '{"USRT": 5001}',
    )

    run("pipeline")

    assert told(store) == RESTORED
    assert ChannelDatabase.objects.get(pk=store.pk).generation == 2
    assert query(store, "SELECT count(*) FROM account_map") == [(1,)]
    assert run("pipeline")["outcome"] == "nothing_to_do"


def test_v7b_events_that_their_owner_cleared_away_are_no_restore(store):
    make_customer(store, "Ann")
    run("pipeline")
    query(store, "DELETE FROM async_customer")

    assert run("pipeline")["outcome"] == "nothing_to_do"
    assert told(store) == []
    assert ChannelDatabase.objects.get(pk=store.pk).staged == {"async_customer": 1}
