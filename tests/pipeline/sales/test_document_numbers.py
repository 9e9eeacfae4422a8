"""Order and invoice numbers are issued once, even if HQ and its number journal are restored.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `store` is a store, once on PostgreSQL and once on SQLite; `back_up_hq` backs up HQ;
`recover_hq` calls the command and returns its document.
"""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

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
from stores.models.job import JobCode
from stores.pipeline import number_journal
from tests.support.invariants import Invariant
from tests.support.make import make_customer, make_sale, query, run
from tests.support.promises import broken_promises, get_check

pytestmark = pytest.mark.slow

LONG_AGO = "2026-01-01T00:00Z"


@pytest.fixture
def back_up_journal(tmp_path) -> Callable[[], Callable[[], None]]:
    """Copies the folder of the number journal. Returns a function that restores the copy."""

    def back_up() -> Callable[[], None]:
        copy = tmp_path / "journal"
        shutil.copytree(settings.NUMBER_JOURNAL_DIR, copy)
        return lambda: restore_journal(copy)

    return back_up


def restore_journal(copy: Path) -> None:
    """Restore the journal, on a server that is the same as before and was only restarted."""
    shutil.rmtree(settings.NUMBER_JOURNAL_DIR)
    shutil.copytree(copy, settings.NUMBER_JOURNAL_DIR)
    Headquarters.objects.update(identity=number_journal.server_identity())
    ChannelDatabase.objects.update(recognised_start=LONG_AGO)


def post_sale_and_order(store, confirmation_number):
    """Post a sale and a customer order of a new customer."""
    customer = make_customer(store)
    make_sale(store, "10.00", async_account=customer)
    make_sale(
        store,
        "20.00",
        transaction_type="customer_order",
        confirmation_number=confirmation_number,
        async_account=customer,
        payments=[],
        payment_amount="0",
    )
    assert run(JobCode.END_OF_DAY)["outcome"] == "succeeded"
    assert run(JobCode.ORDERS)["counts"]["posted"] == 1


def issued_numbers():
    """Every order and invoice number that HQ holds."""
    orders = SalesOrder.objects.all()
    invoiced = orders.exclude(invoice_number=None)
    return {
        *orders.values_list("number", flat=True),
        *invoiced.values_list("invoice_number", flat=True),
    }


def account_numbers():
    return dict(Customer.objects.values_list("pk", "account_number"))


def journal_entries():
    """Company, series, number and text of the journal's lines about orders and invoices."""
    lines = [line.split("\t") for line in number_journal.journal_path().read_text().splitlines()]
    return [tuple(line[:4]) for line in lines if len(line) == 6]


def numbers_told_to(store):
    """The highest order and invoice numbers that the channel was told."""
    [(value,)] = query(store, "SELECT value FROM channel_setting WHERE key = 'issued_numbers'")
    # SQLite holds JSON as text.
    return json.loads(value) if isinstance(value, str) else value


@pytest.mark.finding(id="V2")
def test_issued_numbers_are_in_the_journal_and_in_the_channels(store):
    post_sale_and_order(store, "WEB-1")

    assert run(JobCode.PIPELINE)["counts"] == {"distributed": 1}

    assert journal_entries() == [
        ("USRT", "invoice", "1", "INV-000001"),
        ("USRT", "order", "1", "SO-000001"),
        ("USRT", "order", "2", "SO-000002"),
    ]
    assert numbers_told_to(store) == {"USRT/order": 2, "USRT/invoice": 1}
    assert run(JobCode.PIPELINE)["outcome"] == "nothing_to_do"


@pytest.mark.finding(id="V2")
def test_numbers_that_a_channel_cannot_read_are_written_anew(store):
    post_sale_and_order(store, "WEB-1")
    run(JobCode.PIPELINE)
    query(store, "UPDATE channel_setting SET value = '[\"nonsense\"]' WHERE key <> 'company'")

    assert run(JobCode.PIPELINE)["outcome"] == "nothing_to_do"

    assert numbers_told_to(store) == {"USRT/order": 2, "USRT/invoice": 1}
    assert broken_promises() == []


@pytest.mark.fault("F-33")  # HQ was restored from a backup
@pytest.mark.parametrize(
    "journal_is_restored", [False, True], ids=["database_v2", "database_with_its_journal_v9"]
)
def test_after_a_restore_no_document_number_is_issued_twice(
    houston, popup, back_up_hq, back_up_journal, recover_hq, journal_is_restored
):
    post_sale_and_order(houston, "WEB-1")
    backup, restore_copy_of_journal = back_up_hq(), back_up_journal()
    post_sale_and_order(popup, "WEB-2")
    post_sale_and_order(houston, "WEB-3")
    run(JobCode.PIPELINE)
    numbers_before = issued_numbers()
    assert len(numbers_before) == 9
    backup.restore()
    if journal_is_restored:
        restore_copy_of_journal()
    accounts = account_numbers()

    # HQ issues nothing until it is recovered.
    customers, orders, statements = (
        run(job) for job in ("sync-customers", "sync-orders", "post-statements")
    )
    assert customers["outcome"] == "failed"
    assert orders["outcome"] == "failed"
    assert statements["outcome"] == "nothing_to_do"
    if journal_is_restored:
        assert "its database knows more than headquarters" in customers["message"]
    assert "converted" not in run(JobCode.PIPELINE)["counts"]
    series = {row.get("series") for row in get_check(Invariant.NO_NUMBER_IS_AHEAD_OF_HQ).offending}
    assert series >= {"USRT/order", "USRT/invoice"}

    recovery = recover_hq()
    assert recovery["outcome"] == "recovered"
    assert recovery["documents"] == [
        {"company": "USRT", "series": "order", "first": "SO-000003", "last": "SO-000006"},
        {"company": "USRT", "series": "invoice", "first": "INV-000002", "last": "INV-000003"},
    ]
    assert account_numbers().items() >= accounts.items()
    incident = Incident.objects.open().get()
    assert incident.kind == IncidentKind.POSTED_BEFORE
    assert "orders SO-000003 to SO-000006 (USRT)" in incident.message

    # Nothing is posted until a person has dealt with the documents that HQ has lost.
    run(JobCode.PIPELINE)
    for job in ("eod", "sync-orders"):
        blocked = run(job)
        assert blocked["outcome"] in ("partly", "failed")
        message = f"Nothing is posted until incident {incident.pk} is closed"
        assert message in blocked["message"]
    assert SalesOrder.objects.count() == 2
    call_command("incidents", "close", str(incident.pk), "--reason", "Cancelled in the books.")

    assert run(JobCode.END_OF_DAY)["outcome"] == "succeeded"
    assert run(JobCode.ORDERS)["counts"]["posted"] == 2
    assert len(issued_numbers()) == 9
    assert issued_numbers() & numbers_before == {"SO-000001", "SO-000002", "INV-000001"}
    assert Statement.objects.exclude(state="posted").count() == 0
    assert broken_promises() == []


@pytest.mark.finding(id="V9")
def test_after_a_restart_numbers_wait_for_a_visited_channel(houston, popup):
    for store in (houston, popup):
        make_customer(store)
    run(JobCode.UPLOAD)
    popup_file = sqlite_path(popup)
    popup_file.rename(popup_file.with_suffix(".away"))
    try:
        ChannelDatabase.objects.update(recognised_start=LONG_AGO)
        with_one_channel = run(JobCode.CONVERT)

        ChannelDatabase.objects.update(recognised_start=None)
        houston_row = ChannelDatabase.objects.filter(pk=houston.pk)
        houston_row.update(next_try_at=timezone.now() + timedelta(seconds=30))
        with_no_channel = run(JobCode.CONVERT)

        # The clock was set back: the next try seems to be centuries away, and is made now.
        houston_row.update(next_try_at="2999-01-01T00:00Z")
        with_one_again = run(JobCode.CONVERT)
    finally:
        popup_file.with_suffix(".away").rename(popup_file)

    assert with_one_channel["counts"]["converted"] == 2
    assert with_no_channel["message"].endswith("no channel could be visited.")
    assert with_one_again["outcome"] == "nothing_to_do"
    assert not Incident.objects.exists()


@pytest.mark.finding(id="S12")
def test_a_number_seen_by_only_one_channel_is_not_believed(houston, store, recover_hq):
    make_customer(houston)
    run(JobCode.PIPELINE)
    query(store, """UPDATE exchange_state SET account_high = '{"USRT": 9998}'""")
    run(JobCode.PIPELINE)

    assert recover_hq(fails=True) == 1

    incident = Incident.objects.open().get()
    assert "It has seen account number 9998 of USRT (here: 5001)." in incident.message
    assert NumberSequence.objects.get().next == 5002
    assert Customer.objects.filter(state="void").count() == 0


def test_two_channels_that_have_seen_the_same_number_are_believed(houston, popup, recover_hq):
    make_customer(houston)
    run(JobCode.PIPELINE)
    for store in (houston, popup):
        query(store, """UPDATE exchange_state SET account_high = '{"USRT": 5301}'""")

    assert recover_hq()["void"] == 300


WRONG_NUMBERS = {
    "account": """UPDATE exchange_state SET account_high = '{"USRT": 5301}'""",
    "order": """INSERT INTO channel_setting (key, value)
                VALUES ('issued_numbers', '{"USRT/order": 300}')""",
}


@pytest.mark.finding(id="S12")
@pytest.mark.parametrize("kind", WRONG_NUMBERS)
def test_a_person_may_distrust_the_number_of_a_channel(houston, popup, capsys, kind):
    make_customer(houston)
    run(JobCode.PIPELINE)
    query(popup, WRONG_NUMBERS[kind])
    run(JobCode.PIPELINE)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        call_command("recover_hq", "--dry-run")
    hint = "--distrust popup sets it right there; --void 300 believes it"
    assert hint in capsys.readouterr().out

    call_command("recover_hq", "--distrust", "popup")

    assert "recover_hq: recovered." in capsys.readouterr().out
    assert not Incident.objects.open().exists()
    assert broken_promises() == []


@pytest.mark.finding(id="S12")
@pytest.mark.parametrize("kind", WRONG_NUMBERS)
def test_a_person_may_believe_the_number_of_a_channel(houston, capsys, kind):
    make_customer(houston)
    run(JobCode.PIPELINE)
    query(houston, WRONG_NUMBERS[kind])
    run(JobCode.PIPELINE)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        call_command("recover_hq", "--dry-run")
    hint = "--distrust houston sets it right there; --void 300 believes it"
    assert hint in capsys.readouterr().out

    call_command("recover_hq", "--void", "300")

    if kind == "account":
        assert Customer.objects.filter(state="void").count() == 300
    else:
        assert OrderSequence.objects.get().next_order == 301
        assert Incident.objects.open().get().kind == IncidentKind.POSTED_BEFORE


@pytest.mark.parametrize(("option", "value"), [("--void", "-1"), ("--distrust", "nowhere")])
def test_recovery_refuses_a_wrong_option(houston, option, value):
    with pytest.raises(CommandError) as refusal:
        call_command("recover_hq", option, value)

    assert refusal.value.returncode == 2
