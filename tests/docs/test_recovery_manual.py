"""docs/recovery.md, followed word for word: its commands are run as they stand."""

import os
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db.models import Count

from stores.models import (
    ChannelDatabase,
    Headquarters,
    Incident,
    Quarantine,
    RetailTransaction,
    SalesOrder,
)
from stores.pipeline import number_journal
from tests.support.backups import Backup, HQBackup
from tests.support.make import make_customer, make_sale, query, run
from tests.support.processes import ROOT, environment
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/recovery.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(sh|text|sql)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT = "python3 manage.py "


def blocks(title):
    """The blocks of one section, in order."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return BLOCK.findall(section)


def pattern(text):
    """What the page says comes out; … stands for anything."""
    return re.compile(".*".join(map(re.escape, text.strip().split("…"))), re.DOTALL)


@pytest.fixture
def follow(capsys, popup):
    """Does everything that a section says, and compares what comes out."""

    def do(line):
        words = shlex.split(line.removeprefix(PROMPT))
        if "ID" in words:
            words[words.index("ID")] = str(Incident.objects.open().get().pk)
        capsys.readouterr()
        # A command that says "failed" ends with another status than 0; the page shows its words.
        with suppress(SystemExit):
            call_command(*words)
        return capsys.readouterr().out

    def section(title):
        printed = ""
        for language, text in blocks(title):
            if language == "sh":
                printed = "".join(map(do, text.splitlines()))
            elif language == "sql":
                for statement in text.strip().split(";")[:-1]:
                    query(popup, statement)
            else:
                assert pattern(text).fullmatch(printed.strip()), printed

    return section


def trade(database, number):
    """A new customer's sale, posted, and her order, synchronized."""
    guid = make_customer(database)
    make_sale(database, "10.00", "5.00", async_account=guid)
    order = {"transaction_type": "customer_order", "confirmation_number": f"WEB-{number}"}
    make_sale(database, "20.00", async_account=guid, payments=[], payment_amount="0", **order)
    assert run("eod")["outcome"] == "succeeded"
    assert run("sync-orders")["counts"]["posted"] == 1
    run("pipeline")
    return guid


def sold():
    """How many sales and orders HQ holds, with lines and payments, how many posted; its numbers."""
    documents = RetailTransaction.objects
    numbers = SalesOrder.objects.values_list("number", "invoice_number")
    return (
        documents.count(),
        documents.aggregate(Count("lines"))["lines__count"],
        documents.aggregate(Count("payments"))["payments__count"],
        documents.filter(sales_order__isnull=False).count(),
        {number for pair in numbers for number in pair if number},
    )


@pytest.fixture
def undo():
    """Backups to be removed at the end."""
    made = []
    yield made
    for backup in made:
        backup.remove()


def set_back(database, undo, events=1):
    """Restore a channel to before its latest customers were fetched."""
    backup = Backup(database)
    undo.append(backup)
    for number in range(events):
        trade(database, number)
    backup.restore()


@pytest.mark.fault("F-31")
def test_a_channel_was_restored(follow, popup, undo):
    set_back(popup, undo)
    before = sold()

    follow("A channel was restored")

    told = Incident.objects.get()
    numbers = told.detail["forgotten"]["retail_transaction"]["numbers"]
    assert told.closed_at
    assert numbers == list(RetailTransaction.objects.values_list("transaction_id", flat=True))
    assert sold() == before
    make_sale(popup, transaction_id=numbers[0])
    run("P-0001")
    assert Quarantine.objects.get().reason == "document_conflict"


@pytest.mark.fault("F-32")
def test_a_channel_exists_twice(follow, popup):
    query(popup, f"UPDATE exchange_state SET nonce = '{uuid4()}'")  # noqa: S608
    guid = make_customer(popup)
    make_sale(popup, async_account=guid)
    run("pipeline")

    follow("A channel exists twice")

    assert query(popup, "SELECT async_account FROM account_map") == [(str(guid),)]
    assert run("eod")["counts"]["posted"] == 1
    assert ChannelDatabase.objects.get().generation == 2


@pytest.mark.fault("F-32")
def test_a_copy_becomes_a_new_database(follow, popup, register, houston):
    identity = uuid4()
    query(popup, f"UPDATE exchange_state SET database_id = '{identity}'")  # noqa: S608
    guid = make_customer(popup)
    make_sale(popup, async_account=guid)
    run("P-0001")

    follow("A copy becomes a new database")

    renewed = ChannelDatabase.objects.get(pk=popup.pk)
    assert str(renewed.database_id) != str(identity)
    assert run("eod")["counts"]["posted"] == 1
    assert query(popup, "SELECT count(*) FROM account_map") == [(1,)]


def test_an_address_leads_to_another_database(follow, popup):
    query(popup, f"UPDATE exchange_state SET database_id = '{uuid4()}'")  # noqa: S608
    guid = make_customer(popup)
    make_sale(popup, async_account=guid)
    run("P-0001")
    # What correcting the address does.
    query(popup, f"UPDATE exchange_state SET database_id = '{popup_id(popup)}'")  # noqa: S608

    follow("An address leads to another database")

    assert run("eod")["counts"]["posted"] == 1
    assert query(popup, "SELECT count(*) FROM account_map") == [(1,)]


def popup_id(popup):
    return ChannelDatabase.objects.get(pk=popup.pk).database_id


@pytest.mark.fault("F-34")
def test_a_second_headquarters(follow, popup, undo, tmp_path):
    make_customer(popup)
    run("pipeline")
    second = HQBackup()
    undo.append(second)
    guid = make_customer(popup)
    make_sale(popup, "10.00", "5.00", async_account=guid)
    url = environment()["DATABASE_URL"].replace(second.original, second.name, 1)
    theirs = {"DATABASE_URL": url, "SYNCLINE_JOURNAL_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "manage.py", "run_job", "P-0001"],
        cwd=ROOT,
        env=os.environ | environment() | theirs,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "2 staged" in done.stdout

    follow("A second headquarters")

    assert run("eod")["counts"]["posted"] == 1
    assert RetailTransaction.objects.get().lines.count() == 2
    assert query(popup, "SELECT count(*) FROM account_map") == [(2,)]


@pytest.mark.fault("F-33")
def test_headquarters_was_restored(follow, popup, undo):
    trade(popup, 1)
    early = sold()
    backup = HQBackup()
    undo.append(backup)
    guid = trade(popup, 2)
    before = sold()
    backup.restore()

    follow("Headquarters was restored")

    assert (str(guid),) in query(popup, "SELECT async_account FROM account_map")
    # All is there and posted again, the new ones under numbers that nobody has had.
    assert sold()[:4] == before[:4] == (4, 6, 2, 4)
    assert sold()[4] & before[4] == early[4]
    assert run("eod")["outcome"] == "nothing_to_do"
    assert broken_promises() == []


@pytest.mark.fault("F-35")
def test_both_were_restored(follow, popup, undo):
    make_customer(popup)
    early = Backup(popup)
    undo.append(early)
    run("pipeline")
    backup = HQBackup()
    undo.append(backup)
    trade(popup, 1)
    backup.restore()
    early.restore()

    follow("Both were restored")

    assert query(popup, "SELECT count(*) FROM account_map") == [(2,)]


def test_sources_contradict_each_other(follow, popup):
    make_customer(popup)
    run("pipeline")
    query(popup, "UPDATE account_map SET account_number = '005002'")

    follow("Sources contradict each other")


def test_a_channel_claims_a_number(follow, popup):
    trade(popup, 1)
    query(popup, """UPDATE exchange_state SET account_high = '{"USRT": 9998}'""")

    follow("A channel claims a number")

    trade(popup, 2)
    assert query(popup, "SELECT max(account_number) FROM account_map") == [("005002",)]


def test_the_server_was_started(follow, popup):
    trade(popup, 1)
    make_customer(popup)
    run("P-0001")
    ChannelDatabase.objects.update(recognised_start="2026-01-01T00:00Z")

    follow("The server was started")

    assert query(popup, "SELECT count(*) FROM account_map") == [(2,)]


def test_headquarters_was_moved(follow, popup):
    trade(popup, 1)
    Headquarters.objects.update(identity={"database": 1})
    make_customer(popup)

    follow("Headquarters was moved")


def test_the_number_journal_was_lost(follow, popup):
    trade(popup, 1)
    number_journal.journal_path().unlink()

    follow("The number journal was lost")

    # Its name, a customer, and how far orders and invoices are numbered.
    assert len(number_journal.journal_path().read_text().splitlines()) == 4


def test_every_section_with_commands_is_followed():
    titles = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    followed = {name.removeprefix("test_").replace("_", " ") for name in globals()}

    assert [title for title in titles if title.lower() not in followed] == []
