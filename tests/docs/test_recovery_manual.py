"""The commands in docs/recovery.md work and print what the page says.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `register` registers a channel by its code.
"""

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
from stores.models.job import JobCode
from stores.pipeline import number_journal
from tests.support.backups import Backup, HQBackup
from tests.support.make import make_customer, make_sale, query, run
from tests.support.orders import make_order
from tests.support.processes import ROOT, environment
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/recovery.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(sh|text|sql)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT = "python3 manage.py "


def blocks_of(title):
    """The code blocks of a section, in order, each with its language."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return BLOCK.findall(section)


def output_pattern(text):
    """A pattern of the output that the page shows; … stands for any text."""
    return re.compile(".*".join(map(re.escape, text.strip().split("…"))), re.DOTALL)


@pytest.fixture
def follow(capsys, popup):
    """Runs the commands and statements of a section, and compares the output with the page."""

    def run_line(line):
        arguments = shlex.split(line.removeprefix(PROMPT))
        if "ID" in arguments:
            arguments[arguments.index("ID")] = str(Incident.objects.open().get().pk)
        capsys.readouterr()
        # A command that prints "failed" has an exit status other than 0.
        with suppress(SystemExit):
            call_command(*arguments)
        return capsys.readouterr().out

    def follow_section(title):
        output = ""
        for language, text in blocks_of(title):
            if language == "sh":
                output = "".join(map(run_line, text.splitlines()))
            elif language == "sql":
                for statement in text.strip().split(";")[:-1]:
                    query(popup, statement)
            else:
                assert output_pattern(text).fullmatch(output.strip()), output

    return follow_section


def post_sale_and_order(database, number):
    """Post a sale of a new customer and synchronize an order. Returns the GUID."""
    guid = make_customer(database)
    make_sale(database, "10.00", "5.00", async_account=guid)
    make_order(database, f"WEB-{number}", async_account=guid)
    assert run("eod")["outcome"] == "succeeded"
    assert run("sync-orders")["counts"]["posted"] == 1
    run("pipeline")
    return guid


def count_documents():
    """How many sales and orders HQ has, with lines and payments, and how many are posted."""
    documents = RetailTransaction.objects
    return {
        "documents": documents.count(),
        "lines": documents.aggregate(Count("lines"))["lines__count"],
        "payments": documents.aggregate(Count("payments"))["payments__count"],
        "posted": documents.filter(sales_order__isnull=False).count(),
    }


def document_numbers():
    """All order and invoice numbers."""
    numbers = SalesOrder.objects.values_list("number", "invoice_number")
    return {number for pair in numbers for number in pair if number}


@pytest.fixture
def backups():
    """A list of backups, which are removed after the test."""
    backups = []
    yield backups
    for backup in backups:
        backup.remove()


@pytest.mark.fault("F-31")  # a channel was restored from a backup
def test_a_channel_was_restored(follow, popup, backups):
    backups.append(Backup(popup))
    post_sale_and_order(popup, 0)
    backups[0].restore()
    counts, issued = count_documents(), document_numbers()

    follow("A channel was restored")

    incident = Incident.objects.get()
    numbers = incident.detail["forgotten"]["retail_transaction"]["numbers"]
    assert incident.closed_at
    sales = RetailTransaction.objects.order_by("replication_counter")
    assert numbers == list(sales.values_list("transaction_id", flat=True))
    assert (count_documents(), document_numbers()) == (counts, issued)
    make_sale(popup, transaction_id=numbers[0])
    run(JobCode.UPLOAD)
    assert Quarantine.objects.get().reason == "document_conflict"


@pytest.mark.fault("F-32")  # a channel database was copied
def test_a_channel_exists_twice(follow, popup):
    query(popup, f"UPDATE exchange_state SET nonce = '{uuid4()}'")  # noqa: S608
    guid = make_customer(popup)
    make_sale(popup, async_account=guid)
    run("pipeline")

    follow("A channel exists twice")

    assert query(popup, "SELECT async_account FROM account_map") == [(str(guid),)]
    assert run("eod")["counts"]["posted"] == 1
    assert ChannelDatabase.objects.get().generation == 2


@pytest.mark.fault("F-32")  # a channel database was copied
def test_a_copy_becomes_a_new_database(follow, popup, register, houston):
    identity = uuid4()
    query(popup, f"UPDATE exchange_state SET database_id = '{identity}'")  # noqa: S608
    guid = make_customer(popup)
    make_sale(popup, async_account=guid)
    run(JobCode.UPLOAD)

    follow("A copy becomes a new database")

    renewed = ChannelDatabase.objects.get(pk=popup.pk)
    assert str(renewed.database_id) != str(identity)
    assert run("eod")["counts"]["posted"] == 1
    assert query(popup, "SELECT count(*) FROM account_map") == [(1,)]


def test_an_address_leads_to_another_database(follow, popup):
    query(popup, f"UPDATE exchange_state SET database_id = '{uuid4()}'")  # noqa: S608
    guid = make_customer(popup)
    make_sale(popup, async_account=guid)
    run(JobCode.UPLOAD)
    # The URL is corrected: it leads to the registered database again.
    query(popup, f"UPDATE exchange_state SET database_id = '{popup_id(popup)}'")  # noqa: S608

    follow("An address leads to another database")

    assert run("eod")["counts"]["posted"] == 1
    assert query(popup, "SELECT count(*) FROM account_map") == [(1,)]


def popup_id(popup):
    return ChannelDatabase.objects.get(pk=popup.pk).database_id


@pytest.mark.fault("F-34")  # two HQs use the same channels
def test_a_second_headquarters(follow, popup, backups, tmp_path):
    make_customer(popup)
    run("pipeline")
    second = HQBackup()
    backups.append(second)
    guid = make_customer(popup)
    make_sale(popup, "10.00", "5.00", async_account=guid)
    url = environment()["DATABASE_URL"].replace(second.original, second.name, 1)
    second_hq = {"DATABASE_URL": url, "SYNCLINE_JOURNAL_DIR": str(tmp_path)}
    process = subprocess.run(
        [sys.executable, "manage.py", "run_job", "P-0001"],
        cwd=ROOT,
        env=os.environ | environment() | second_hq,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "2 staged" in process.stdout

    follow("A second headquarters")

    assert run("eod")["counts"]["posted"] == 1
    assert RetailTransaction.objects.get().lines.count() == 2
    assert query(popup, "SELECT count(*) FROM account_map") == [(2,)]


@pytest.mark.fault("F-33")  # HQ was restored from a backup
def test_headquarters_was_restored(follow, popup, backups):
    post_sale_and_order(popup, 1)
    numbers_in_backup = document_numbers()
    backup = HQBackup()
    backups.append(backup)
    guid = post_sale_and_order(popup, 2)
    lost_counts, lost_numbers = count_documents(), document_numbers()
    backup.restore()

    follow("Headquarters was restored")

    assert (str(guid),) in query(popup, "SELECT async_account FROM account_map")
    expected = {"documents": 4, "lines": 6, "payments": 2, "posted": 4}
    assert count_documents() == lost_counts == expected
    # What was lost is posted again, under numbers that were not used before.
    assert document_numbers() & lost_numbers == numbers_in_backup
    assert run("eod")["outcome"] == "nothing_to_do"
    assert broken_promises() == []


@pytest.mark.fault("F-35")  # HQ and a channel were both restored
def test_both_were_restored(follow, popup, backups):
    make_customer(popup)
    channel_backup = Backup(popup)
    backups.append(channel_backup)
    run("pipeline")
    hq_backup = HQBackup()
    backups.append(hq_backup)
    post_sale_and_order(popup, 1)
    hq_backup.restore()
    channel_backup.restore()

    follow("Both were restored")

    assert query(popup, "SELECT count(*) FROM account_map") == [(2,)]


def test_sources_contradict_each_other(follow, popup):
    make_customer(popup)
    run("pipeline")
    query(popup, "UPDATE account_map SET account_number = '005002'")

    follow("Sources contradict each other")


def test_a_channel_claims_a_number(follow, popup):
    post_sale_and_order(popup, 1)
    query(popup, """UPDATE exchange_state SET account_high = '{"USRT": 9998}'""")

    follow("A channel claims a number")

    post_sale_and_order(popup, 2)
    assert query(popup, "SELECT max(account_number) FROM account_map") == [("005002",)]


def test_the_server_was_started(follow, popup):
    post_sale_and_order(popup, 1)
    make_customer(popup)
    run(JobCode.UPLOAD)
    ChannelDatabase.objects.update(recognised_start="2026-01-01T00:00Z")

    follow("The server was started")

    assert query(popup, "SELECT count(*) FROM account_map") == [(2,)]


def test_headquarters_was_moved(follow, popup):
    post_sale_and_order(popup, 1)
    Headquarters.objects.update(identity={"database": 1})
    make_customer(popup)

    follow("Headquarters was moved")


def test_the_number_journal_was_lost(follow, popup):
    post_sale_and_order(popup, 1)
    number_journal.journal_path().unlink()

    follow("The number journal was lost")

    lines = number_journal.journal_path().read_text().splitlines()
    # A header, a customer, and the last numbers of orders and invoices.
    assert len(lines) == 4


def test_every_section_has_a_test():
    titles = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    tested = {name.removeprefix("test_").replace("_", " ") for name in globals()}

    assert [title for title in titles if title.lower() not in tested] == []
