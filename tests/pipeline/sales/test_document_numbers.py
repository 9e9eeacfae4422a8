"""No order or invoice number is given twice, also when HQ and its journal are set back."""

import json
import shutil
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from stores.channeldb.connect.url import sqlite_path
from stores.models import (
    ChannelDatabase,
    Customer,
    Headquarters,
    Incident,
    NumberSequence,
    OrderSequence,
    SalesOrder,
    Statement,
)
from stores.models.incident import IncidentKind
from stores.pipeline import number_journal
from tests.support.backups import HQBackup
from tests.support.damage import broken, check
from tests.support.make import make_customer, make_sale, query, run

pytestmark = pytest.mark.slow


@pytest.fixture
def set_back(tmp_path):
    """A block after which HQ's database is again as it was, and with `folder` its journal too.

    A folder that comes back leaves database and server with the identity that they had; only the
    server was started anew.
    """

    @contextmanager
    def block(*, folder=False):
        backup, kept = HQBackup(), tmp_path / "journal"
        shutil.copytree(settings.NUMBER_JOURNAL_DIR, kept)
        yield
        backup.restore()
        backup.remove()
        if folder:
            shutil.rmtree(settings.NUMBER_JOURNAL_DIR)
            shutil.copytree(kept, settings.NUMBER_JOURNAL_DIR)
            Headquarters.objects.update(identity=number_journal.server_identity())
            ChannelDatabase.objects.update(recognised_start="2026-01-01T00:00Z")

    return block


@pytest.fixture
def recover_hq(command):
    """The command; its document."""
    return lambda *words: json.loads(command("recover_hq", "--json", *words))


def sell(store, number):
    """A sale and a customer order of Ann, until both are posted."""
    ann = make_customer(store)
    make_sale(store, "10.00", async_account=ann)
    order = {"transaction_type": "customer_order", "confirmation_number": f"WEB-{number}"}
    make_sale(store, "20.00", async_account=ann, payments=[], payment_amount="0", **order)
    assert run("eod")["outcome"] == "succeeded"
    assert run("sync-orders")["counts"]["posted"] == 1


def numbers():
    """Every order and invoice number that HQ knows."""
    found = SalesOrder.objects.values_list("number", "invoice_number")
    return {number for pair in found for number in pair if number}


def heights():
    """The journal's lines about orders and invoices."""
    lines = [line.split("\t") for line in number_journal.journal_path().read_text().splitlines()]
    return [tuple(line[:4]) for line in lines if len(line) == 6]


def test_v2_numbers_of_orders_and_invoices_are_in_the_journal_and_in_the_channels(store):
    sell(store, 1)
    issued = {"USRT/order": 2, "USRT/invoice": 1}

    assert heights() == [
        ("USRT", "invoice", "1", "INV-000001"),
        ("USRT", "order", "1", "SO-000001"),
        ("USRT", "order", "2", "SO-000002"),
    ]
    assert run("pipeline")["counts"] == {"distributed": 1}
    setting = "SELECT value FROM channel_setting WHERE key = 'issued_numbers'"
    [(told,)] = query(store, setting)
    assert (told if isinstance(told, dict) else json.loads(told)) == issued
    assert run("pipeline")["outcome"] == "nothing_to_do"

    query(store, "UPDATE channel_setting SET value = '[\"nonsense\"]' WHERE key <> 'company'")
    assert run("pipeline")["outcome"] == "nothing_to_do"
    [(told,)] = query(store, setting)
    assert (told if isinstance(told, dict) else json.loads(told)) == issued
    assert broken() == {}


@pytest.mark.fault("F-33")
@pytest.mark.parametrize("folder", [False, True], ids=["v2_database", "v9_with_its_journal"])
def test_after_a_restore_no_number_of_an_order_or_invoice_is_given_twice(
    houston, popup, set_back, recover_hq, folder
):
    sell(houston, 1)
    with set_back(folder=folder):
        sell(popup, 2)
        sell(houston, 3)
        # Tells the channels.
        run("pipeline")
        before = numbers()
    accounts = dict(Customer.objects.values_list("pk", "account_number"))

    early = [run(job) for job in ("sync-customers", "sync-orders", "post-statements")]
    stopped = run("pipeline")
    ahead = check("I31")
    found = recover_hq()

    assert len(before) == 9
    assert dict(Customer.objects.filter(pk__in=accounts).values_list("pk", "account_number")) == (
        accounts
    )
    assert [one["outcome"] for one in early] == ["failed", "failed", "nothing_to_do"]
    if folder:
        assert "its database knows more than headquarters" in early[0]["message"]
    assert "converted" not in stopped["counts"]
    assert {row.get("series") for row in ahead.offending} >= {"USRT/order", "USRT/invoice"}
    assert found["outcome"] == "recovered"
    assert found["documents"] == [
        {"company": "USRT", "series": "order", "first": "SO-000003", "last": "SO-000006"},
        {"company": "USRT", "series": "invoice", "first": "INV-000002", "last": "INV-000003"},
    ]
    told = Incident.objects.open().get()
    assert told.kind == IncidentKind.POSTED_BEFORE
    assert "orders SO-000003 to SO-000006 (USRT)" in told.message

    run("pipeline")
    for job in ("eod", "sync-orders"):
        held = run(job)
        assert held["outcome"] in ("partly", "failed")
        assert f"Nothing is posted until incident {told.pk} is closed" in held["message"]
    assert SalesOrder.objects.count() == 2

    call_command("incidents", "close", str(told.pk), "--reason", "Cancelled in the books.")
    assert run("eod")["outcome"] == "succeeded"
    assert run("sync-orders")["counts"]["posted"] == 2
    known = {"SO-000001", "SO-000002", "INV-000001"}
    assert numbers() & before == known
    assert len(numbers()) == 9
    assert Statement.objects.exclude(state="posted").count() == 0
    assert broken() == {}


def test_v9_after_a_start_channels_are_asked_and_those_that_are_away_stop_nobody(houston, popup):
    for store in (houston, popup):
        make_customer(store)
    run("P-0001")
    ChannelDatabase.objects.update(recognised_start="2026-01-01T00:00Z")
    path = sqlite_path(popup)
    path.rename(path.with_suffix(".away"))
    try:
        with_one = run("sync-customers")
        ChannelDatabase.objects.update(recognised_start=None)
        in_trouble = ChannelDatabase.objects.filter(pk=houston.pk)
        in_trouble.update(next_try_at=timezone.now() + timedelta(seconds=30))
        with_none = run("sync-customers")
        # By a clock that has been set back since: long ago.
        in_trouble.update(next_try_at="2999-01-01T00:00Z")
        with_one_again = run("sync-customers")
    finally:
        path.with_suffix(".away").rename(path)

    assert with_one["counts"]["converted"] == 2
    assert with_none["message"].endswith("no channel could be visited.")
    assert with_one_again["outcome"] == "nothing_to_do"
    assert not Incident.objects.exists()


def test_s12_a_height_that_nothing_else_supports_is_not_believed(houston, store, recover_hq):
    make_customer(houston)
    run("pipeline")
    query(store, """UPDATE exchange_state SET account_high = '{"USRT": 9998}'""")

    run("pipeline")
    told = Incident.objects.open().get()
    with pytest.raises(SystemExit) as refused:
        call_command("recover_hq", "--json")

    assert "It has seen account number 9998 of USRT (here: 5001)." in told.message
    assert refused.value.code == 1
    assert NumberSequence.objects.get().next == 5002
    assert Customer.objects.filter(state="void").count() == 0


@pytest.mark.parametrize("wrong", ["account", "order"])
def test_s12_a_person_may_reject_a_channels_height_or_believe_it(houston, popup, capsys, wrong):
    make_customer(houston)
    run("pipeline")
    statement = (
        """UPDATE exchange_state SET account_high = '{"USRT": 5301}'"""
        if wrong == "account"
        else "INSERT INTO channel_setting (key, value)"
        """ VALUES ('issued_numbers', '{"USRT/order": 300}')"""
    )
    beyond = 300
    for store in (popup, houston):
        query(store, statement)
        run("pipeline")
        capsys.readouterr()
        with pytest.raises(SystemExit):
            call_command("recover_hq", "--dry-run")
        said = capsys.readouterr().out
        assert f"--distrust {store} sets it right there; --void {beyond} believes it" in said
        if store == popup:
            call_command("recover_hq", "--distrust", "popup")
            assert "recover_hq: recovered." in capsys.readouterr().out
            assert not Incident.objects.open().exists()
            assert broken() == {}

    call_command("recover_hq", "--void", str(beyond))

    if wrong == "account":
        assert Customer.objects.filter(state="void").count() == beyond
    else:
        assert OrderSequence.objects.get().next_order == beyond + 1
        assert Incident.objects.open().get().kind == IncidentKind.POSTED_BEFORE


def test_two_channels_that_have_seen_the_same_height_are_believed(houston, popup, recover_hq):
    make_customer(houston)
    run("pipeline")
    for store in (houston, popup):
        query(store, """UPDATE exchange_state SET account_high = '{"USRT": 5301}'""")

    assert recover_hq()["void"] == 300


def test_wrong_options_of_a_recovery_are_wrong_arguments(houston):
    for words in (["--void", "-1"], ["--distrust", "nowhere"]):
        with pytest.raises(CommandError) as refused:
            call_command("recover_hq", *words)
        assert refused.value.returncode == 2
