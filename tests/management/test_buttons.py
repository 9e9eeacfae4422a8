"""Every button has its command, which does the same by the same functions.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `popup` is one on SQLite; `hq_user` is robin, a user at headquarters.
"""

import json
import re
from argparse import _SubParsersAction
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.management import load_command_class
from django.core.management.base import CommandParser
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from stores.channeldb.connect.secrets import decrypt
from stores.channeldb.connect.url import sqlite_path
from stores.jobs.catalog import JOBS
from stores.jobs.start import create_run
from stores.messages.message import Message
from stores.models import (
    AsyncCustomer,
    Channel,
    ChannelDatabase,
    Customer,
    DownloadSession,
    EditConflict,
    Incident,
    JobRun,
    Quarantine,
    RetailTransaction,
    SalesOrder,
    Schedule,
    SchedulerJob,
    Statement,
    TransactionChange,
)
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.pipeline.corrections import customer as customer_corrections
from stores.pipeline.corrections.sale import lease_transaction
from stores.pipeline.sales.refused import record_refusals, refusals_of
from stores.urls import urlpatterns
from tests.support.concurrency import other_session
from tests.support.make import (
    carry_out,
    lookup,
    make_customer,
    make_event,
    make_sale,
    make_schedule,
    out_of_reach,
    run,
)
from tests.support.orders import make_order

pytestmark = [pytest.mark.slow, pytest.mark.finding(id="A10")]

MANUAL = Path(__file__).parents[2] / "docs/commands.md"
COMMANDS = {
    "start-run": "run_job",
    "cancel-run": "runs cancel",
    "change-customer": "customers change",
    "close-conflict": "conflicts close",
    "quarantine-release": "quarantine release",
    "quarantine-correct": "quarantine correct",
    "quarantine-dismiss": "quarantine dismiss",
    "quarantine-reopen": "quarantine reopen",
    "close-incident": "incidents close",
    "cancel-download": "downloads cancel",
    "rerun-download": "downloads rerun",
    "delete-download": "downloads delete",
    "resend-customer": "downloads resend",
    "push-customer": "downloads push",
    "send-everything": "downloads full",
    "pause-channel": "channels pause",
    "archive-channel": "channels archive",
    "add-channel": "create_channel",
    "add-database": "create_channel",
    "change-address": "channels address",
    "tokens": "rts_token",
    "till": "till create-customer",
    "correct-transaction": "transactions correct",
    "failed-cause": "transactions correct-alike",
    "undo-correction": "transactions undo",
    "let-go": "transactions let-go",
    "release-order": "orders release",
    "cancel-statement": "statements cancel",
    "add-schedule": "schedules add",
    "change-schedule": "schedules change",
    "pause-schedule": "schedules pause",
    "remove-schedule": "schedules remove",
    "restore-schedules": "schedules restore",
}
# What the set-up pages do, and jobs cannot be without.
IN_THE_SET_UP = ("schedules add", "schedules change", "schedules remove")
# What only a browser has: its session.
OF_A_BROWSER = {"sign-in", "sign-in-link", "sign-out"}


def actions_of(parser: CommandParser) -> dict[str, CommandParser]:
    """The parsers of a command's actions, by the names of the actions."""
    (subparsers,) = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    return subparsers.choices


@pytest.fixture
def call(hq, capsys) -> Callable[..., tuple[int, Any]]:
    """Calls a command with --json as manage.py does.

    Returns its exit status and its document, or the error that it prints.
    """

    def run_command(name: str, *words: str) -> tuple[int, Any]:
        capsys.readouterr()
        status = 0
        try:
            load_command_class("stores", name).run_from_argv(["manage.py", name, *words, "--json"])
        except SystemExit as end:
            status = int(end.code or 0)
        printed = capsys.readouterr()
        return status, json.loads(printed.out) if printed.out else printed.err

    return run_command


def test_every_button_has_a_documented_command_that_prints_json(hq):
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    buttons = set()
    for pattern in urlpatterns:
        kwargs: dict[str, Any] = dict.fromkeys(pattern.pattern.converters, 1)
        if pattern.name in ("run", "cancel-run") or kwargs.keys() & {"correction", "session"}:
            kwargs = dict.fromkeys(kwargs, uuid4())
        # Views refuse this method with the list of those that they know.
        allowed = client.options(reverse(pattern.name, kwargs=kwargs)).headers.get("Allow", "")
        if "POST" in allowed:
            buttons.add(pattern.name)

    assert buttons - OF_A_BROWSER == set(COMMANDS)
    for words in (*COMMANDS.values(), *IN_THE_SET_UP):
        name, *action = words.split()
        parser = load_command_class("stores", name).create_parser("manage.py", name)
        described = MANUAL.read_text().split(f"\n### {name}\n")[1].split("\n### ")[0]
        if action:
            assert re.search(rf"\b{action[0]}\b", described), words
            parser = actions_of(parser)[action[0]]
        assert "--json" in parser.format_help(), words


def test_a_run_is_cancelled_once(houston, call):
    run_id = str(create_run(JOBS["pipeline"]).run.pk)

    _, listed = call("runs", "list")
    first_status, document = call("runs", "cancel", run_id)
    second_status, error = call("runs", "cancel", run_id)

    assert [job_run["id"] for job_run in listed["runs"]] == [run_id]
    assert (first_status, document["status"]) == (0, "cancelled")
    assert JobRun.objects.get().status == "cancelled"
    assert second_status == 1
    assert "has already ended" in error


def test_a_run_is_cancelled_by_the_id_that_pages_show(houston, call):
    job_run = create_run(JOBS["pipeline"]).run

    status, document = call("runs", "cancel", job_run.short_id)

    assert (status, document["id"], document["status"]) == (0, str(job_run.pk), "cancelled")


def test_a_short_id_of_several_runs_is_refused(houston, call):
    for last in ("1", "2"):
        JobRun.objects.create(pk=f"00000000-0000-0000-0000-00000000000{last}", job=last)

    status, error = call("runs", "cancel", "00000000")

    assert status == 2
    assert "Several runs begin with 00000000: give the whole id." in error


@pytest.fixture
def row_id(houston) -> str:
    """The id of a quarantined row: Ann, with an e-mail address that is none."""
    make_customer(houston, "Ann", email="nobody")
    run(JobCode.UPLOAD)
    return str(Quarantine.objects.get().pk)


def test_a_quarantined_row_is_corrected_once(row_id, call):
    first_status, document = call("quarantine", "correct", row_id, "--set", "email=ann@example.com")
    second_status, _ = call("quarantine", "correct", row_id, "--set", "email=a@example.com")

    assert (first_status, document["corrected"]) == (0, row_id)
    assert str(AsyncCustomer.objects.get(email="ann@example.com").pk) == document["event"]
    assert second_status == 1


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("email=still nobody", "E-mail: not an e-mail address."),
        ("shoe=1", "shoe"),
    ],
    ids=["invalid value", "unknown field"],
)
def test_a_correction_with_a_wrong_field_changes_nothing(row_id, call, field, sentence):
    status, error = call("quarantine", "correct", row_id, "--set", field)

    assert status == 2
    assert sentence in error
    assert not AsyncCustomer.objects.exists()


def test_a_quarantined_row_is_dismissed_and_reopened(row_id, hq_user, call):
    reason = ("--reason", "A test.", "--user", "robin")

    assert call("quarantine", "dismiss", row_id, *reason)[0] == 0
    assert Quarantine.objects.get().settled_by == hq_user

    assert call("quarantine", "reopen", row_id) == (0, {"reopened": 1})
    assert Quarantine.objects.get().status == "open"


def test_a_quarantined_sale_is_corrected(houston, call):
    make_sale(houston, transaction_id="T-1", currency="usd")
    run(JobCode.UPLOAD)
    case = str(Quarantine.objects.get().pk)

    status, _ = call("quarantine", "correct", case, "--set", "header-currency=USD")

    assert status == 0
    assert RetailTransaction.objects.get().currency == "USD"


def make_wrong_sales(houston, *transaction_ids: str) -> None:
    """Sales that validation has refused for their gross amount of 99.00."""
    for transaction_id in transaction_ids:
        make_sale(houston, transaction_id=transaction_id, gross_amount="99.00")
    run(JobCode.UPLOAD)
    run("validate")


CORRECT_T1 = (
    *("transactions", "correct", "T-1", "--set", "header-gross_amount=10.70"),
    *("--reason", "Typo.", "--user", "robin"),
)


def test_a_sale_is_shown_and_corrected(houston, hq_user, call):
    make_wrong_sales(houston, "T-1")

    _, shown = call("transactions", "show", "T-1")
    status, document = call(*CORRECT_T1)

    assert shown["fields"]["header-gross_amount"] == "99.0000"
    assert (status, document["changed"], document["validation_status"]) == (0, 1, "successful")
    change = TransactionChange.objects.get()
    assert (change.changed_by, change.reason, change.field) == (hq_user, "Typo.", "gross_amount")


def test_a_sale_that_someone_else_corrects_waits_until_it_is_given_back(houston, hq_user, call):
    make_wrong_sales(houston, "T-1")
    lease_transaction(RetailTransaction.objects.get(), User.objects.create_user("ann"))

    status, error = call(*CORRECT_T1)
    assert status == 1
    assert "Someone else is correcting it." in error
    assert call("transactions", "let-go", "T-1", "--user", "robin")[0] == 1

    _, document = call("transactions", "let-go", "T-1", "--user", "ann")
    assert document["editing_until"] is None
    assert call(*CORRECT_T1)[0] == 0


CAUSE = "gross_differs:gross_amount:header"
CORRECT_ALIKE = ("transactions", "correct-alike", CAUSE, "--reason", "Typo.", "--user", "robin")


@pytest.fixture
def wrong_sales(houston, hq_user) -> None:
    """Two sales with the same cause."""
    make_wrong_sales(houston, "T-1", "T-2")


def test_a_cause_is_listed_and_its_correction_previewed(wrong_sales, call):
    _, listed = call("transactions", "causes")
    status, preview = call(*CORRECT_ALIKE, "--expected", "gross_amount", "--preview")

    assert CAUSE in [row["cause"] for row in listed["causes"]]
    assert (status, preview["right"], preview["correction"]) == (0, 2, None)
    assert not TransactionChange.objects.exists()


def test_a_wrong_value_corrects_no_sale_of_a_cause(wrong_sales, call):
    status, document = call(*CORRECT_ALIKE, "--set", "gross_amount=12")

    assert (status, document["refused"], document["corrected"]) == (1, 2, 0)


def test_all_sales_of_a_cause_are_corrected_and_that_is_undone(wrong_sales, call):
    status, document = call(*CORRECT_ALIKE, "--expected", "gross_amount", "--channel", "houston")
    assert (status, document["corrected"], document["right"]) == (0, 2, 2)

    undone = call("transactions", "undo", document["correction"], "--user", "robin")

    assert undone == (0, {"undone": 2, "left": 0})
    assert {sale.gross_amount for sale in RetailTransaction.objects.all()} == {99}


GIVE_BACK = ("--give-back", "--user", "robin")


@pytest.fixture
def refused_sales(houston, seattle, hq_user) -> str:
    """Sales that HQ's database refused: T-1 and T-2 of houston, T-3 of seattle. The cause."""
    for shop, transaction_id in ((houston, "T-1"), (houston, "T-2"), (seattle, "T-3")):
        make_sale(shop, transaction_id=transaction_id)
    run(JobCode.UPLOAD)
    run("validate")
    sales = RetailTransaction.objects.values_list("pk", flat=True)
    record_refusals(refusals_of(dict.fromkeys(sales, "SQLSTATE P0001")))
    return "sale_refused:transaction_id:header"


def test_what_the_database_refused_is_given_back_unchanged(refused_sales, call):
    _, listed = call("transactions", "causes")
    result = call("transactions", "correct-alike", refused_sales, *GIVE_BACK)
    run("eod")

    assert [row["cause"] for row in listed["causes"]] == [refused_sales]
    assert result == (0, {"given_back": 3, "skipped": 0})
    assert RetailTransaction.objects.filter(statement__state="posted").count() == 3
    assert not TransactionChange.objects.exists()


def test_a_sale_that_someone_else_corrects_is_not_given_back(refused_sales, call):
    leased = RetailTransaction.objects.get(transaction_id="T-2")
    lease_transaction(leased, User.objects.create_user("ann"))

    words = ("transactions", "correct-alike", refused_sales, *GIVE_BACK, "--channel", "houston")
    assert call(*words) == (1, {"given_back": 1, "skipped": 1})
    assert call("transactions", "let-go", "T-2", "--user", "robin")[0] == 1


def test_a_single_refused_sale_is_given_back(refused_sales, call):
    assert call("transactions", "let-go", "T-3", "--user", "robin")[0] == 0
    run("eod")

    posted = RetailTransaction.objects.filter(statement__state="posted")
    assert [sale.transaction_id for sale in posted] == ["T-3"]


def test_giving_back_has_no_preview(refused_sales, call):
    words = ("transactions", "correct-alike", refused_sales, *GIVE_BACK)

    assert call(*words, "--preview")[0] == 2


def test_only_sales_that_the_database_refused_are_given_back(hq_user, call):
    assert call("transactions", "correct-alike", CAUSE, *GIVE_BACK)[0] == 2


def test_an_order_on_hold_is_released_once(houston, hq_user, call):
    make_order(houston, "SO-1", async_account=make_customer(houston))
    run(JobCode.UPLOAD)
    run("sync-orders")
    SalesOrder.objects.update(state="on_hold", hold_code="X")
    [held] = call("orders", "list")[1]["orders"]

    first_status, document = call("orders", "release", held["number"], "--user", "robin")
    second_status, _ = call("orders", "release", held["number"], "--user", "robin")

    assert (first_status, document["state"]) == (0, "open")
    assert SalesOrder.objects.get().released_by == hq_user
    assert second_status == 1


@pytest.mark.parametrize(("choice", "phone"), [("keep", "333 333"), ("take", "222 222")])
def test_a_conflict_is_closed_once(houston, seattle, hq_user, call, choice, phone):
    guid = make_customer(houston, "Ann", phone="111 111")
    run("pipeline")
    edit = {"operation": "update", "first_name": "Ann", "async_account": guid}
    make_event("customer", seattle, **edit, phone="222 222")
    run("pipeline", channels=["seattle"])
    # Houston's clock is a year ahead, so a person must decide.
    next_year = timezone.now() + timedelta(days=365)
    make_event("customer", houston, **edit, phone="333 333", occurred_at=next_year)
    run(JobCode.UPLOAD)
    run("sync-customers")
    [conflict] = call("conflicts", "list")[1]["conflicts"]
    words = ("conflicts", "close", str(conflict["id"]), "--choice", choice)
    reason = ("--reason", "She told us.", "--user", "robin")

    status_without_reason, _ = call(*words)
    first_status, document = call(*words, *reason)
    second_status, _ = call(*words, *reason)

    assert status_without_reason == 2
    assert (first_status, document["state"]) == (0, "closed")
    assert EditConflict.objects.get().closed_by == hq_user
    assert Customer.objects.get(account_number="005001").phone == phone
    assert second_status == 1


CHANGE_ANN = ("customers", "change", "005001", "--user", "robin")


@pytest.fixture
def ann(houston, hq_user) -> None:
    """Ann, who has an address and the account 005001."""
    guid = make_customer(houston, "Ann")
    make_event("address", houston, async_account=guid)
    run("pipeline")


def test_a_customer_is_shown_and_changed(ann, hq_user, call):
    _, shown = call("customers", "show", "005001")
    changes = ("--set", "customer-first_name=Anna", "--set", "address-0-city=Austin")
    changed = call(*CHANGE_ANN, *changes)

    assert shown["fields"]["customer-first_name"] == "Ann"
    assert shown["fields"]["address-0-city"] == "Houston"
    assert changed == (0, {"account": "005001", "changes": 2})
    customer = Customer.objects.get(account_number="005001")
    assert (customer.first_name, customer.addresses.get().city) == ("Anna", "Austin")
    assert AsyncCustomer.objects.get(origin="hq").made_by == hq_user


def test_a_customer_without_a_valid_change_stays_unchanged(ann, call):
    assert call(*CHANGE_ANN) == (0, {"account": "005001", "changes": 0})
    assert call(*CHANGE_ANN, "--set", "customer-email=nobody")[0] == 2
    assert not AsyncCustomer.objects.filter(origin="hq").exists()


def test_a_customer_is_not_changed_during_a_conversion(ann, call, monkeypatch):
    monkeypatch.setattr(customer_corrections, "MAX_WAIT_S", 0.1)
    with other_session() as conversion:
        conversion.execute("SELECT pg_advisory_xact_lock(hashtextextended('accounts:USRT', 0))")
        status, error = call(*CHANGE_ANN, "--set", "customer-first_name=Eve")

    assert status == 75
    assert "being converted" in error


ADD_SCHEDULE = ("schedules", "add", "eod", "--at", "22:30", "--channel", "houston")


def test_a_schedule_is_added_once(houston, call):
    status, added = call(*ADD_SCHEDULE)

    assert (status, added["rhythm"], added["channels"]) == (0, "every day at 22:30 UTC", "houston")
    assert call(*ADD_SCHEDULE)[0] == 2
    _, listed = call("schedules", "list")
    assert [schedule["id"] for schedule in listed["schedules"]] == [added["id"]]


def test_a_schedule_is_changed_and_removed(houston, seattle, hq_user, call):
    _, added = call(*ADD_SCHEDULE)
    schedule = str(added["id"])
    words = (
        *("--at", "21:00", "--days", "mon", "fri", "--zone", "america/CHICAGO"),
        *("--channel", "houston", "seattle", "--from", "2027-01-01", "--until", "2027-12-31"),
        *("--if-missed", "skip", "--retries", "2", "--user", "robin"),
    )

    _, changed = call("schedules", "change", schedule, *words)
    _, fields = call("schedules", "show", schedule)
    _, again = call("schedules", "change", schedule, "--every", "30", "--from", "-", "--off")

    assert changed["rhythm"] == "Monday and Friday at 21:00 America/Chicago"
    assert fields["next_start"] == "2027-01-02 03:00:00+00:00"
    assert fields["next_starts"][:2] == ["2027-01-01 21:00:00-06:00", "2027-01-04 21:00:00-06:00"]
    assert (fields["channels"], fields["if_missed"]) == ("houston, seattle", "skip")
    assert (fields["retries"], fields["changed_by"]) == (2, "robin")
    assert (again["rhythm"], again["state"]) == ("every 30 minutes", "off")
    assert (again["next_start"], again["first_day"]) == (None, None)
    assert (again["last_day"], again["time_zone"]) == ("2027-12-31", "America/Chicago")
    assert call("schedules", "change", schedule, "--all-channels")[1]["channels"] == "all"
    assert call("schedules", "remove", schedule)[0] == 0
    assert not Schedule.objects.exists()


def test_a_schedule_is_paused_and_resumed(houston, hq_user, call):
    _, added = call("schedules", "add", "pipeline", "--continuous")
    schedule, reason = str(added["id"]), ("--reason", "Stocktaking.", "--user", "robin")

    _, paused = call("schedules", "pause", schedule, *reason)
    paused_again, _ = call("schedules", "pause", schedule, "--reason", "Lunch.")
    _, resumed = call("schedules", "resume", schedule)
    resumed_again, _ = call("schedules", "resume", schedule)

    assert (paused_again, resumed_again) == (1, 1)
    assert (paused["state"], paused["paused_by"]) == ("paused", "robin")
    assert (paused["pause_reason"], paused["next_start"]) == ("Stocktaking.", None)
    assert (resumed["state"], resumed["pause_reason"]) == ("on", None)


def test_missing_schedules_are_restored_once_and_others_stay(houston, boss, call):
    own = make_schedule("1070", cron="0 4 * * *", is_enabled=False)
    SchedulerJob.objects.create(job="1010", exclude_from_offline=True)

    _, restored = call("schedules", "restore")
    _, again = call("schedules", "restore")
    page = boss.post("/schedules/restore/", follow=True).content.decode()
    Schedule.objects.filter(job="verify").delete()
    page_of_one = boss.post("/schedules/restore/", follow=True).content.decode()

    jobs = [schedule["job"] for schedule in restored["schedules"]]
    assert jobs == ["pipeline", "1110", "verify", "reconcile"]
    assert restored["scheduler_jobs"] == ["1070", "1110"]
    assert again == {"schedules": [], "scheduler_jobs": []}
    assert "Nothing is missing." in page
    assert "Restored: Check the promises." in page_of_one
    assert Schedule.objects.get(job="1070").cron == own.cron
    assert SchedulerJob.objects.get(job="1010").exclude_from_offline


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("\u200b \u3164\u2060\xa0", "--reason"),
        ("A" * 301, "A reason has at most 300 characters."),
        ("\udcff", "--reason: not valid UTF-8"),
    ],
    ids=["unseen", "long", "no text"],
)
def test_every_command_refuses_an_unreadable_reason(houston, hq_user, call, reason, sentence):
    make_customer(houston, "Ann", email="nobody")
    make_sale(houston, transaction_id="T-1", gross_amount="99.00")
    make_sale(houston, transaction_id="T-2")
    for job in (JobCode.UPLOAD, JobCode.VALIDATE, JobCode.CALCULATE):
        run(job)
    incident = Incident.objects.report(
        IncidentKind.MANY_QUARANTINED, Message("quoted", text="Many."), database=houston
    )
    alike = ("correct-alike", "gross_differs:gross_amount:header", "--expected", "gross_amount")

    for words in (
        ("incidents", "close", str(incident.pk)),
        ("quarantine", "dismiss", str(Quarantine.objects.get().pk)),
        ("statements", "cancel", Statement.objects.get().number),
        ("transactions", "correct", "T-1", "--set", "header-gross_amount=10.70", "--user", "robin"),
        ("transactions", *alike, "--user", "robin"),
    ):
        status, error = call(*words, "--reason", reason)
        assert status == 2, words
        assert error.count("\n") == 1, words
        assert sentence in error, words
    assert Incident.objects.open().count() == 1
    assert Quarantine.objects.open().count() == 1
    assert Statement.objects.get().state == "calculated"
    assert not TransactionChange.objects.exists()


@pytest.fixture
def failed_session(houston, popup) -> str:
    """The id of the session that could not bring Ann to popup."""
    make_customer(houston, "Ann")
    with out_of_reach(popup):
        run("pipeline")
    return str(DownloadSession.objects.get(database=popup).pk)


@pytest.fixture
def applied_session(houston, popup) -> str:
    """The id of the session that brought Ann to popup."""
    make_customer(houston, "Ann")
    run("pipeline")
    return str(DownloadSession.objects.get(database=popup).pk)


def test_a_failed_download_is_listed_cancelled_and_deleted(failed_session, call):
    [listed] = call("downloads", "list")[1]["sessions"]
    assert (listed["id"], listed["database"]) == (failed_session, "popup")
    assert listed["status"] == "download_failed"

    assert call("downloads", "cancel", failed_session)[0] == 0
    assert call("downloads", "cancel", failed_session)[0] == 1
    assert call("downloads", "delete", failed_session)[0] == 0
    assert not DownloadSession.objects.filter(pk=failed_session).exists()


def test_a_finished_download_is_listed_with_all_and_repeated(applied_session, call):
    assert call("downloads", "list")[1]["sessions"] == []
    sessions = call("downloads", "list", "--all")[1]["sessions"]
    assert applied_session in [session["id"] for session in sessions]

    assert call("downloads", "delete", applied_session)[0] == 1
    assert call("downloads", "rerun", applied_session)[0] == 0
    assert run(JobCode.DOWNLOAD)["counts"] == {"distributed": 1}


def test_a_customer_is_sent_again(applied_session, call):
    result = call("downloads", "resend", "popup", "005001")

    assert result == (0, {"database": "popup", "customers": 1})
    assert call("downloads", "resend", "popup", "X-1")[0] == 2
    [exception] = call("downloads", "list")[1]["exceptions"]
    assert (exception["account"], exception["reason"]) == ("005001", "requested")


def test_a_customer_is_pushed_now(houston, popup, call):
    make_customer(houston, "Ann")
    for job in (JobCode.UPLOAD, JobCode.CONVERT):
        run(job)

    status, document = call("downloads", "push", "popup", "005001")
    started = JobRun.objects.get(pk=document["run"])
    carry_out(started)

    assert (status, document["database"], document["customers"]) == (0, "popup", 1)
    assert (started.job, started.channels) == (JobCode.DOWNLOAD, ["popup"])
    assert lookup(popup) == [("005001", "Ann")]
    ChannelDatabase.objects.filter(pk=popup.pk).update(is_enabled=False)
    status, error = call("downloads", "push", "popup", "005001")
    assert (status, "popup is switched off" in error) == (1, True)


def test_everything_is_sent_again_after_a_preview(applied_session, call):
    status, preview = call("downloads", "full", "popup", "--dry-run")
    assert (status, preview["rows"]["customer"], preview["dry_run"]) == (0, 1, True)
    assert run(JobCode.DOWNLOAD)["outcome"] == "nothing_to_do"

    assert call("downloads", "full", "popup")[0] == 0
    assert run(JobCode.DOWNLOAD)["counts"] == {"distributed": 1}
    assert call("downloads", "list")[1] == {"sessions": [], "exceptions": []}


def test_a_database_is_paused_in_both_directions_and_resumed(popup, hq_user, call):
    pause = ("channels", "pause", "popup", "--reason", "Stocktaking.", "--user", "robin")

    status, document = call(*pause)
    one_way = call("channels", "resume", "popup", "--direction", "upload")
    [listed] = call("channels")[1]["channels"]

    assert status == 0
    assert {pause["by"] for pause in document["paused"].values()} == {"robin"}
    assert (one_way[0], one_way[1]["paused"]["upload"]) == (0, None)
    assert listed["paused"] == one_way[1]["paused"]
    assert call("channels", "resume", "popup")[0] == 0
    assert call("channels", "resume", "popup")[0] == 1


def test_a_channel_is_archived_unless_something_waits_and_restored(popup, hq_user, call):
    make_customer(popup, "Ann")
    words = ("channels", "archive", "popup", "--reason", "Closed.", "--user", "robin")

    status, error = call(*words)
    archived = call(*words, "--whatever-waits")
    [listed] = call("channels", "list")[1]["channels"]

    assert status == 1
    assert "Channel popup is not archived: Not uploaded: 1 event of popup." in error
    assert (archived[0], archived[1]["reason"]) == (0, "Closed.")
    assert listed["status"] == "archived"
    assert call("channels", "restore", "popup")[0] == 0
    assert call("channels", "restore", "popup")[0] == 1


def test_a_connection_is_tested_before_a_channel_is_added(popup, call):
    new = ("create_channel", "austin", "--database")

    passed = call(*new, "sqlite:///channels/austin.sqlite3", "--test")
    failed = call(*new, "postgresql://shop@localhost:1/ch", "--test")
    another = call(*new, popup.url, "--test")

    assert (passed[0], passed[1]["passed"]) == (0, True)
    assert (failed[0], failed[1]["passed"]) == (1, False)
    outcomes = {step["step"]: step["outcome"] for step in failed[1]["steps"]}
    assert (outcomes["name"], outcomes["line"], outcomes["database"]) == (
        *("passed", "failed"),
        "skipped",
    )
    assert another[1]["steps"][-1] == {
        "step": "owner",
        "outcome": "failed",
        "message": "It belongs to channel popup already.",
    }
    assert Channel.objects.count() == 1


def test_the_address_of_a_database_is_tested_and_changed(popup, call):
    url = popup.url.replace("channels/", "channels//")
    words = ("channels", "address", "popup", "--database")

    assert call(*words, "postgresql://shop@localhost:1/ch", "--test")[0] == 1
    assert call(*words, "postgresql://shop@localhost:1/ch")[0] == 1
    assert call(*words, url)[0] == 2
    for test in ([], ["--test"]):
        assert call(*words, "sqlite:///channels/nothing.sqlite3", *test)[0] == 1
    assert not sqlite_path(popup).with_name("nothing.sqlite3").exists()
    changed = call(*words, popup.url)

    assert changed == (0, {"database": "popup", "address": popup.url})


def test_passwords_are_encrypted_with_the_first_key(houston, call, settings):
    settings.SECRETS_KEYS, settings.SECRETS_KEY_FILE = [], None
    ChannelDatabase.objects.update(url="postgresql://shop:s3cret%40@localhost:1/ch")
    status_without_key, _ = call("channels", "encrypt")

    settings.SECRETS_KEYS = [Fernet.generate_key().decode()]
    first = call("channels", "encrypt")
    settings.SECRETS_KEYS = [Fernet.generate_key().decode(), *settings.SECRETS_KEYS]
    second = call("channels", "encrypt")
    settings.SECRETS_KEYS = settings.SECRETS_KEYS[:1]

    database = ChannelDatabase.objects.get()
    assert status_without_key == 1
    assert first == second == (0, {"encrypted": 1})
    assert database.url == "postgresql://shop@localhost:1/ch"
    assert decrypt(database.secret) == "s3cret@"


NO_ID = "00000000-0000-0000-0000-000000000000"
WRONG = [
    ("runs cancel x", "argument ID: 'x' is not an id such as 0"),
    ("runs cancel", "the following arguments are required: ID"),
    (f"runs cancel {NO_ID}", f"There is no run {NO_ID}."),
    ("verify action", "unrecognized arguments: action\n"),
    ("runs list action", "unrecognized arguments: action\n"),
    ("runs list --reason x", "unrecognized arguments: --reason x"),
    ("orders release SO-9 --user robin", "There is no sales order 'SO-9'."),
    ("orders release SO-9", "the following arguments are required: --user"),
    ("conflicts close x --choice keep --reason x --user robin", "ID: 'x' is not a whole number"),
    ("conflicts close 9 --choice keep --reason x --user robin", "There is no conflict 9."),
    ("conflicts close 9 --reason x --user robin", "arguments are required: --choice"),
    ("conflicts list 9 --choice keep", "unrecognized arguments: 9 --choice keep"),
    ("customers change 9 --user robin", "There is no account '9'."),
    ("customers show 9 --set a=b", "unrecognized arguments: --set a=b"),
    ("customers change 9 --set a --user robin", "argument --set: 'a' is not FIELD=VALUE"),
    ("transactions show T-9", "There is no transaction 'T-9'."),
    ("transactions correct-alike x --user robin", "CAUSE: a cause is REASON:FIELD:PART"),
    ("transactions correct-alike a:b:header --reason x --user nobody", "no user 'nobody'."),
    ("transactions correct-alike a:b:header --user robin", "--reason is required"),
    (
        "transactions correct-alike a:quantity:line --expected quantity --reason x --user robin",
        "--expected quantity: Not possible for this field.",
    ),
    ("transactions correct-alike a:b:header", "the following arguments are required: --user"),
    ("transactions undo x --user robin", "argument CORRECTION: 'x' is not an id such as 0"),
    (f"transactions undo {NO_ID} --user robin", f"There is no correction {NO_ID}."),
    ("transactions causes --channel nowhere", "There is no channel 'nowhere'."),
    (
        "schedules add dance --at 10:00",
        "argument JOB: invalid choice: 'dance' (choose from 'pipeline', 'P-0001'",
    ),
    ("schedules add eod --at 25:00", "--at: '25:00' is not a time of day such as 22:30"),
    ("schedules add eod --every 0", "argument --every: 0 is less than 1"),
    ("schedules add eod", "one of the arguments --at --every --continuous --cron is required"),
    ("schedules add eod --continuous", "--continuous: This job cannot start again moments after"),
    ("schedules add verify --every 9 --channel nowhere", "There is no channel 'nowhere'."),
    ("schedules add eod --cron tonight", "--cron: A cron expression has five fields"),
    ("schedules add eod --at 10:00 --zone Texas", "--zone: Not a time zone"),
    ("schedules add eod --at 10:00 --days monday", "argument --days: invalid choice: 'monday'"),
    ("schedules add eod --at 10:00 --from 1/2/2026 --user nobody", "There is no user 'nobody'."),
    ("schedules add eod --at 10:00 --from soon", "--from: Enter a valid date."),
    ("schedules pause 9 --reason x", "There is no schedule 9."),
    ("schedules pause 9", "the following arguments are required: --reason"),
    ("schedules add eod --at 10:00 --on", "unrecognized arguments: --on"),
    ("schedules add eod --at 10:00 --group nowhere", "There is no group 'nowhere'."),
    ("schedules change 9", "There is no schedule 9."),
    ("quarantine correct", "the following arguments are required: ID"),
    ("quarantine correct 9", "the following arguments are required: --set"),
    ("transactions correct T-9 --reason x --user robin", "arguments are required: --set"),
    ("quarantine reopen", "one of the arguments ID --cause is required"),
    ("quarantine dismiss 9 --reason x --user nobody", "There is no user 'nobody'."),
    ("quarantine dismiss 9 --reason x --user robin", "There is no row '9'."),
    ("downloads cancel x", "argument ID: 'x' is not an id such as 0"),
    (f"downloads rerun {NO_ID}", f"There is no session {NO_ID}."),
    ("downloads full nowhere", "There is no channel database 'nowhere'."),
    ("channels pause nowhere --reason x", "There is no channel database 'nowhere'."),
    ("channels pause nowhere", "the following arguments are required: --reason"),
    ("channels pause nowhere --direction up --reason x", "invalid choice: 'up'"),
    ("channels archive nowhere --reason x", "There is no channel 'nowhere'."),
    ("channels list --direction upload", "unrecognized arguments: --direction upload"),
    (
        "create_channel austin --database postgresql://a:b@c/d --secret file:x --test",
        "--secret: The address has a password already.",
    ),
    (
        "create_channel austin --database embedded --secret file:x --name A --kind store",
        "--company is required",
    ),
    ("downloads resend nowhere 1", "There is no channel database 'nowhere'."),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=[words for words, _ in WRONG])
def test_wrong_arguments_end_with_one_line_and_status_2(hq_user, call, words, sentence):
    status, error = call(*words.split())

    assert status == 2
    assert error.count("\n") == 1
    assert sentence in error
