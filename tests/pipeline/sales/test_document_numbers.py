"""Order and invoice numbers are issued once, even if HQ and its number journal are restored.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `store` is a store, once on PostgreSQL and once on SQLite; `back_up_hq` backs up HQ;
`recover_hq` calls the command and returns its document.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

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
from tests.support.make import make_customer, make_sale, out_of_reach, query, run
from tests.support.orders import make_order
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
    make_order(store, confirmation_number, async_account=customer)
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


@dataclass(frozen=True)
class Documents:
    """What HQ held before it was restored, and whether its journal was restored with it."""

    numbers: set[str]
    journal_is_restored: bool


@pytest.fixture(params=[False, True], ids=["database", "database with its journal"])
def lost_documents(houston, popup, back_up_hq, back_up_journal, request) -> Documents:
    """HQ was restored to a backup from before it issued SO-000003 and INV-000002."""
    post_sale_and_order(houston, "WEB-1")
    backup, restore_copy_of_journal = back_up_hq(), back_up_journal()
    post_sale_and_order(popup, "WEB-2")
    post_sale_and_order(houston, "WEB-3")
    # The channels are told the numbers.
    run(JobCode.PIPELINE)
    numbers = issued_numbers()
    backup.restore()
    if request.param:
        restore_copy_of_journal()
    return Documents(numbers, journal_is_restored=request.param)


@pytest.mark.finding(id="V2")
@pytest.mark.finding(id="V9")
@pytest.mark.fault("F-33")  # HQ was restored from a backup
def test_a_restored_hq_issues_no_number_until_it_is_recovered(lost_documents):
    customers = run(JobCode.CONVERT)
    orders = run(JobCode.ORDERS)
    statements = run(JobCode.POST)

    assert customers["outcome"] == "failed"
    assert orders["outcome"] == "failed"
    assert statements["outcome"] == "nothing_to_do"
    if lost_documents.journal_is_restored:
        assert "its database knows more than headquarters" in customers["message"]
    assert "converted" not in run(JobCode.PIPELINE)["counts"]
    series = {row.get("series") for row in get_check(Invariant.NO_NUMBER_IS_AHEAD_OF_HQ).offending}
    assert series >= {"USRT/order", "USRT/invoice"}


@pytest.mark.finding(id="V2")
@pytest.mark.finding(id="V9")
@pytest.mark.fault("F-33")  # HQ was restored from a backup
def test_a_recovery_names_the_documents_that_were_lost(lost_documents, recover_hq):
    accounts = account_numbers()

    recovery = recover_hq()

    assert recovery["outcome"] == "recovered"
    assert recovery["documents"] == [
        {"company": "USRT", "series": "order", "first": "SO-000003", "last": "SO-000006"},
        {"company": "USRT", "series": "invoice", "first": "INV-000002", "last": "INV-000003"},
    ]
    assert account_numbers().items() >= accounts.items()
    incident = Incident.objects.open().get()
    assert incident.kind == IncidentKind.POSTED_BEFORE
    assert "orders SO-000003 to SO-000006 (USRT)" in str(incident.message)


@pytest.mark.finding(id="V2")
@pytest.mark.finding(id="V9")
@pytest.mark.fault("F-33")  # HQ was restored from a backup
def test_documents_are_posted_once_somebody_has_dealt_with_lost_ones(lost_documents, recover_hq):
    recover_hq()
    incident = Incident.objects.open().get()
    run(JobCode.PIPELINE)
    for job in (JobCode.END_OF_DAY, JobCode.ORDERS):
        blocked = run(job)
        assert blocked["outcome"] in ("partly", "failed")
        message = f"Nothing is posted until incident {incident.pk} is closed"
        assert message in blocked["message"]
    assert SalesOrder.objects.count() == 2

    call_command("incidents", "close", str(incident.pk), "--reason", "Cancelled in the books.")

    assert run(JobCode.END_OF_DAY)["outcome"] == "succeeded"
    assert run(JobCode.ORDERS)["counts"]["posted"] == 2
    # Three sales and three orders: six order numbers, three invoice numbers; none is issued twice.
    assert len(lost_documents.numbers) == 9
    assert len(issued_numbers()) == 9
    assert issued_numbers() & lost_documents.numbers == {"SO-000001", "SO-000002", "INV-000001"}
    assert Statement.objects.exclude(state="posted").count() == 0
    assert broken_promises() == []


@pytest.fixture
def restarted(houston, popup) -> Iterator[None]:
    """HQ's server was restarted; `popup` is away, and its new customer and Houston's wait."""
    for store in (houston, popup):
        make_customer(store)
    run(JobCode.UPLOAD)
    ChannelDatabase.objects.update(recognised_start=LONG_AGO)
    with out_of_reach(popup):
        yield


@pytest.mark.finding(id="V9")
def test_after_a_restart_numbers_are_issued_once_a_channel_was_visited(restarted):
    conversion = run(JobCode.CONVERT)

    assert conversion["counts"]["converted"] == 2
    assert not Incident.objects.exists()


@pytest.mark.finding(id="V9")
def test_after_a_restart_no_number_is_issued_without_a_visit(houston, restarted):
    next_try = timezone.now() + timedelta(seconds=30)
    ChannelDatabase.objects.filter(pk=houston.pk).update(next_try_at=next_try)

    conversion = run(JobCode.CONVERT)

    assert conversion["message"].endswith("no channel could be visited.")
    assert not Customer.objects.filter(number__isnull=False).exists()


@pytest.mark.finding(id="V9")
def test_after_a_restart_a_channel_is_visited_though_the_clock_was_set_back(houston, restarted):
    # The next try seems to be centuries away, and is made now.
    ChannelDatabase.objects.filter(pk=houston.pk).update(next_try_at="2999-01-01T00:00Z")

    conversion = run(JobCode.CONVERT)

    assert conversion["counts"]["converted"] == 2
    assert not Incident.objects.exists()


@pytest.mark.finding(id="S12")
def test_a_number_seen_by_only_one_channel_is_not_believed(houston, store, recover_hq):
    make_customer(houston)
    run(JobCode.PIPELINE)
    query(store, """UPDATE exchange_state SET account_high = '{"USRT": 9998}'""")
    run(JobCode.PIPELINE)

    assert recover_hq(fails=True) == 1

    incident = Incident.objects.open().get()
    assert "It has seen account number 9998 of USRT (here: 5001)." in str(incident.message)
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


@pytest.fixture(params=WRONG_NUMBERS)
def wrong_number(houston, request) -> str:
    """A channel says that a number was issued which HQ does not know. Returns its kind."""
    make_customer(houston)
    run(JobCode.PIPELINE)
    query(houston, WRONG_NUMBERS[request.param])
    run(JobCode.PIPELINE)
    return request.param


@pytest.mark.finding(id="S12")
def test_a_recovery_that_needs_a_decision_says_how_to_take_it(wrong_number, capsys):
    with pytest.raises(SystemExit):
        call_command("recover_hq", "--dry-run")

    hint = "--distrust houston sets it right there; --void 300 believes it"
    assert hint in capsys.readouterr().out


@pytest.mark.finding(id="S12")
def test_a_person_may_distrust_the_number_of_a_channel(popup, wrong_number, recover_hq):
    assert recover_hq("--distrust", "houston")["outcome"] == "recovered"

    assert not Incident.objects.open().exists()
    assert broken_promises() == []


@pytest.mark.finding(id="S12")
def test_a_person_may_believe_the_number_of_a_channel(wrong_number, recover_hq):
    assert recover_hq("--void", "300")["outcome"] == "recovered"

    if wrong_number == "account":
        assert Customer.objects.filter(state="void").count() == 300
    else:
        assert OrderSequence.objects.get().next_order == 301
        assert Incident.objects.open().get().kind == IncidentKind.POSTED_BEFORE


@pytest.mark.parametrize(("option", "value"), [("--void", "-1"), ("--distrust", "nowhere")])
def test_recovery_refuses_a_wrong_option(houston, option, value):
    with pytest.raises(CommandError) as refusal:
        call_command("recover_hq", option, value)

    assert refusal.value.returncode == 2
