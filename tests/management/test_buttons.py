"""Every button has its command, which does the same by the same functions.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `popup` is one on SQLite; `hq_user` is robin, a user at headquarters.
"""

import json
import re
from argparse import _SubParsersAction
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from django.contrib.auth.models import User
from django.core.management import load_command_class
from django.core.management.base import CommandParser
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from stores.jobs.catalog import JOBS
from stores.jobs.start import create_run
from stores.models import (
    AsyncCustomer,
    Customer,
    EditConflict,
    Incident,
    JobRun,
    Quarantine,
    RetailTransaction,
    SalesOrder,
    Schedule,
    Statement,
    TransactionChange,
)
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.pipeline.corrections import customer as customer_corrections
from stores.pipeline.corrections.sale import lease_transaction
from stores.pipeline.sales.refused import record_refusals, refusals_of
from stores.urls import urlpatterns
from tests.support.make import make_customer, make_event, make_sale, out_of_reach, run
from tests.support.processes import hq_url

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
    "send-everything": "downloads full",
    "hold-downloads": "downloads hold",
    "correct-transaction": "transactions correct",
    "failed-cause": "transactions correct-alike",
    "undo-correction": "transactions undo",
    "let-go": "transactions let-go",
    "release-order": "orders release",
    "cancel-statement": "statements cancel",
}
# What the set-up pages do, and jobs cannot be without.
IN_THE_SET_UP = ("schedules add", "schedules change", "schedules remove", "create_channel")
# What only a browser has: its session.
OF_A_BROWSER = {"sign-in", "sign-in-link", "sign-out"}


def actions_of(parser: CommandParser) -> dict[str, CommandParser]:
    """The parsers of a command's actions, by the names of the actions."""
    (subparsers,) = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    return subparsers.choices


@pytest.fixture
def call(hq, capsys) -> Callable[..., tuple[int, Any]]:
    """Calls a command with --json as manage.py does: its status and its document, or sentence."""

    def run_command(name: str, *words: str) -> tuple[int, Any]:
        capsys.readouterr()
        status = 0
        try:
            load_command_class("stores", name).run_from_argv(["manage.py", name, *words, "--json"])
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return status, json.loads(said.out) if said.out else said.err

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


def test_a_run_is_cancelled(houston, call):
    waiting = create_run(JOBS["pipeline"]).run

    assert [job_run["id"] for job_run in call("runs", "list")[1]["runs"]] == [str(waiting.pk)]
    status, found = call("runs", "cancel", str(waiting.pk))

    assert (status, found["status"]) == (0, "cancelled")
    assert JobRun.objects.get().status == "cancelled"
    status, said = call("runs", "cancel", str(waiting.pk))
    assert (status, "has already ended" in said) == (1, True)


def test_quarantined_rows_are_corrected_dismissed_and_reopened(houston, hq_user, call):
    make_customer(houston, "Ann", email="nobody")
    make_sale(houston, transaction_id="T-1", currency="usd")
    run(JobCode.UPLOAD)
    row, sale = (
        str(Quarantine.objects.get(table=table).pk)
        for table in ("async_customer", "retail_transaction")
    )

    status, said = call("quarantine", "correct", row, "--set", "email=still nobody")
    assert (status, "E-mail: not an e-mail address." in said) == (2, True)
    assert call("quarantine", "correct", row, "--set", "shoe=1")[0] == 2
    status, found = call("quarantine", "correct", row, "--set", "email=ann@example.com")
    assert (status, found["corrected"]) == (0, row)
    assert str(AsyncCustomer.objects.get(email="ann@example.com").pk) == found["event"]
    assert call("quarantine", "correct", row, "--set", "email=a@example.com")[0] == 1

    assert call("quarantine", "dismiss", sale, "--reason", "A test.", "--user", "robin")[0] == 0
    assert Quarantine.objects.get(pk=sale).settled_by == hq_user
    assert call("quarantine", "reopen", sale) == (0, {"reopened": 1})
    status, found = call("quarantine", "correct", sale, "--set", "header-currency=USD")
    assert (status, RetailTransaction.objects.get().currency) == (0, "USD")


def test_a_sale_is_corrected_and_given_back(houston, hq_user, call):
    make_sale(houston, transaction_id="T-1", gross_amount="99.00")
    run(JobCode.UPLOAD)
    run("validate")
    sale = RetailTransaction.objects.get()
    why = ("--reason", "Typo.", "--user", "robin")
    assert call("transactions", "show", "T-1")[1]["fields"]["header-gross_amount"] == "99.0000"

    lease_transaction(sale, User.objects.create_user("ann"))
    status, said = call(
        "transactions", "correct", "T-1", "--set", "header-gross_amount=10.70", *why
    )
    assert (status, "Someone else is correcting it." in said) == (1, True)
    assert call("transactions", "let-go", "T-1", "--user", "robin")[0] == 1
    assert call("transactions", "let-go", "T-1", "--user", "ann")[1]["editing_until"] is None
    status, found = call(
        "transactions", "correct", "T-1", "--set", "header-gross_amount=10.70", *why
    )

    assert (status, found["changed"], found["validation_status"]) == (0, 1, "successful")
    kept = TransactionChange.objects.get()
    assert (kept.changed_by, kept.reason, kept.field) == (hq_user, "Typo.", "gross_amount")


def test_all_that_failed_alike_are_corrected_and_that_is_undone(houston, hq_user, call):
    for number in ("T-1", "T-2"):
        make_sale(houston, transaction_id=number, gross_amount="99.00")
    run(JobCode.UPLOAD)
    run("validate")
    cause = "gross_differs:gross_amount:header"
    assert cause in [row["cause"] for row in call("transactions", "causes")[1]["causes"]]
    words = ("transactions", "correct-alike", cause, "--expected", "gross_amount")
    words = (*words, "--reason", "Typo.", "--user", "robin")

    status, found = call(*words, "--preview")
    assert (status, found["right"], found["correction"]) == (0, 2, None)
    assert not TransactionChange.objects.exists()
    wrong = call(*words[:3], "--set", "gross_amount=12", *words[5:])
    assert (wrong[0], wrong[1]["refused"], wrong[1]["corrected"]) == (1, 2, 0)
    status, found = call(*words, "--channel", "houston")
    assert (status, found["corrected"], found["right"]) == (0, 2, 2)

    assert call("transactions", "undo", found["correction"], "--user", "robin") == (
        0,
        {"undone": 2, "left": 0},
    )
    assert {sale.gross_amount for sale in RetailTransaction.objects.all()} == {99}


def test_what_the_database_refused_is_given_back_unchanged(houston, seattle, hq_user, call):
    for shop, number in ((houston, "T-1"), (houston, "T-2"), (seattle, "T-3"), (seattle, "T-4")):
        make_sale(shop, transaction_id=number)
    run(JobCode.UPLOAD)
    run("validate")
    sales = RetailTransaction.objects.values_list("pk", flat=True)
    record_refusals(refusals_of(dict.fromkeys(sales, "SQLSTATE P0001")))
    cause = "sale_refused:transaction_id:header"
    assert [row["cause"] for row in call("transactions", "causes")[1]["causes"]] == [cause]
    words = ("transactions", "correct-alike", cause, "--give-back", "--user", "robin")
    held = RetailTransaction.objects.get(transaction_id="T-2")
    lease_transaction(held, User.objects.create_user("ann"))

    assert call(*words, "--channel", "houston") == (1, {"given_back": 1, "skipped": 1})
    assert call("transactions", "let-go", "T-2", "--user", "robin")[0] == 1
    assert call("transactions", "let-go", "T-3", "--user", "robin")[0] == 0
    assert call(*words, "--channel", "seattle") == (0, {"given_back": 1, "skipped": 0})
    run("eod")

    posted = RetailTransaction.objects.filter(statement__state="posted")
    assert {sale.transaction_id for sale in posted} == {"T-1", "T-3", "T-4"}
    assert not TransactionChange.objects.exists()
    wrong = (
        (*words, "--preview"),
        ("transactions", "correct-alike", "gross_differs:gross_amount:header", *words[3:]),
    )
    assert [call(*arguments)[0] for arguments in wrong] == [2, 2]


def test_an_order_on_hold_is_released(houston, hq_user, call):
    order = {"transaction_type": "customer_order", "async_account": make_customer(houston)}
    make_sale(houston, confirmation_number="SO-1", **order)
    run(JobCode.UPLOAD)
    run("sync-orders")
    SalesOrder.objects.update(state="on_hold", hold_code="X")
    (held,) = call("orders", "list")[1]["orders"]

    status, found = call("orders", "release", held["number"], "--user", "robin")

    assert (status, found["state"]) == (0, "open")
    assert SalesOrder.objects.get().released_by == hq_user
    assert call("orders", "release", held["number"], "--user", "robin")[0] == 1


@pytest.mark.parametrize(("choice", "phone"), [("keep", "333 333"), ("take", "222 222")])
def test_a_conflict_is_closed(houston, seattle, hq_user, call, choice, phone):
    guid = make_customer(houston, "Ann", phone="111 111")
    run("pipeline")
    whole = {"operation": "update", "first_name": "Ann", "async_account": guid}
    make_event("customer", seattle, **whole, phone="222 222")
    run("pipeline", channels=["seattle"])
    far = timezone.now() + timedelta(days=365)
    make_event("customer", houston, **whole, phone="333 333", occurred_at=far)
    run(JobCode.UPLOAD)
    run("sync-customers")
    (found,) = call("conflicts", "list")[1]["conflicts"]
    words = ("conflicts", "close", str(found["id"]), "--choice", choice)

    assert call(*words)[0] == 2
    status, found = call(*words, "--reason", "She told us.", "--user", "robin")

    assert (status, found["state"]) == (0, "closed")
    assert EditConflict.objects.get().closed_by == hq_user
    assert Customer.objects.get(account_number="005001").phone == phone
    assert call(*words, "--reason", "x", "--user", "robin")[0] == 1


def test_a_customer_is_changed(houston, hq_user, call, monkeypatch):
    guid = make_customer(houston, "Ann")
    make_event("address", houston, async_account=guid)
    run("pipeline")
    shown = call("customers", "show", "005001")[1]["fields"]
    assert shown["customer-first_name"] == "Ann"
    assert shown["address-0-city"] == "Houston"
    given = ("--set", "customer-first_name=Anna", "--set", "address-0-city=Austin")
    change = ("customers", "change", "005001", "--user", "robin")

    assert call(*change, "--set", "customer-email=nobody")[0] == 2
    assert call(*change, *given) == (0, {"account": "005001", "changes": 2})

    customer = Customer.objects.get(account_number="005001")
    assert (customer.first_name, customer.addresses.get().city) == ("Anna", "Austin")
    assert AsyncCustomer.objects.get(origin="hq").made_by == hq_user
    assert call(*change) == (0, {"account": "005001", "changes": 0})
    monkeypatch.setattr(customer_corrections, "MAX_WAIT_S", 0.1)
    with closing(psycopg2.connect(hq_url())) as other, other, other.cursor() as conversion:
        conversion.execute("SELECT pg_advisory_xact_lock(hashtextextended('accounts:USRT', 0))")
        status, said = call(*change, "--set", "customer-first_name=Eve")
    assert (status, "being converted" in said) == (75, True)


def test_schedules_are_added_changed_and_removed(houston, call):
    status, made = call("schedules", "add", "eod", "--at", "22:30", "--channel", "houston")
    assert (status, made["rhythm"], made["channels"]) == (0, "every day at 22:30 UTC", "houston")
    assert call("schedules", "add", "eod", "--at", "22:30", "--channel", "houston")[0] == 2
    change = ("schedules", "change", str(made["id"]))
    assert call(*change, "--every", "30", "--off")[1] == made | {
        "rhythm": "every 30 minutes",
        "is_enabled": False,
        "next_start": None,
    }
    assert [schedule["id"] for schedule in call("schedules", "list")[1]["schedules"]] == [
        made["id"]
    ]
    assert call("schedules", "remove", str(made["id"]))[0] == 0
    assert not Schedule.objects.exists()


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
    incident = Incident.objects.report(IncidentKind.MANY_QUARANTINED, "Many.", database=houston)
    alike = ("correct-alike", "gross_differs:gross_amount:header", "--expected", "gross_amount")

    for words in (
        ("incidents", "close", str(incident.pk)),
        ("quarantine", "dismiss", str(Quarantine.objects.get().pk)),
        ("statements", "cancel", Statement.objects.get().number),
        ("transactions", "correct", "T-1", "--set", "header-gross_amount=10.70", "--user", "robin"),
        ("transactions", *alike, "--user", "robin"),
    ):
        status, said = call(*words, "--reason", reason)
        assert (status, said.count("\n"), sentence in said) == (2, 1, True), words
    assert Incident.objects.open().count() == 1
    assert Quarantine.objects.open().count() == 1
    assert Statement.objects.get().state == "calculated"
    assert not TransactionChange.objects.exists()


def test_downloads_are_listed_changed_and_repeated(houston, popup, call):
    make_customer(houston, "Ann")
    with out_of_reach(popup):
        run("pipeline")
    (failed,) = call("downloads", "list")[1]["sessions"]
    assert (failed["database"], failed["status"]) == ("popup", "download_failed")

    assert call("downloads", "cancel", failed["id"])[0] == 0
    assert call("downloads", "cancel", failed["id"])[0] == 1
    assert call("downloads", "delete", failed["id"])[0] == 0
    run(JobCode.DOWNLOAD)
    (applied,) = [
        session
        for session in call("downloads", "list", "--all")[1]["sessions"]
        if session["database"] == "popup"
    ]
    assert call("downloads", "delete", applied["id"])[0] == 1
    assert call("downloads", "rerun", applied["id"])[0] == 0
    assert call("downloads", "resend", "popup", "005001") == (
        0,
        {"database": "popup", "customers": 1},
    )
    assert call("downloads", "resend", "popup", "X-1")[0] == 2
    (exception,) = call("downloads", "list")[1]["exceptions"]
    assert (exception["account"], exception["reason"]) == ("005001", "requested")
    status, preview = call("downloads", "full", "popup", "--dry-run")
    assert (status, preview["rows"]["customer"], preview["dry_run"]) == (0, 1, True)
    assert call("downloads", "full", "popup")[0] == 0
    assert run(JobCode.DOWNLOAD)["counts"] == {"distributed": 2}
    assert call("downloads", "list")[1] == {"sessions": [], "exceptions": []}


NO_ID = "00000000-0000-0000-0000-000000000000"
WRONG = [
    ("runs cancel x", "argument ID: 'x' is not an id such as 0"),
    ("runs cancel", "the following arguments are required: ID"),
    (f"runs cancel {NO_ID}", f"There is no run {NO_ID}."),
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
    ("transactions correct-alike a:b:header", "the following arguments are required: --user"),
    ("transactions undo x --user robin", "argument CORRECTION: 'x' is not an id such as 0"),
    (f"transactions undo {NO_ID} --user robin", f"There is no correction {NO_ID}."),
    ("transactions causes --channel nowhere", "There is no channel 'nowhere'."),
    (
        "schedules add dance --at 10:00",
        "argument JOB: invalid choice: 'dance' (choose from 'sync-orders'",
    ),
    ("schedules add eod --at 25:00", "--at: '25:00' is not a time of day such as 22:30"),
    ("schedules add eod --every 0", "argument --every: 0 is less than 1"),
    ("schedules add eod", "one of the arguments --at --every is required"),
    ("schedules add eod --at 10:00 --on", "unrecognized arguments: --on"),
    ("schedules add eod --at 10:00 --channel a --group b", "--group: not allowed with argument"),
    ("schedules add eod --at 10:00 --group nowhere", "There is no group 'nowhere'."),
    ("schedules change 9", "There is no schedule 9."),
    ("quarantine correct", "the following arguments are required: ID"),
    ("quarantine reopen", "one of the arguments ID --cause is required"),
    ("quarantine dismiss 9 --reason x --user nobody", "There is no user 'nobody'."),
    ("quarantine dismiss 9 --reason x --user robin", "There is no row '9'."),
    ("downloads cancel x", "argument ID: 'x' is not an id such as 0"),
    (f"downloads rerun {NO_ID}", f"There is no session {NO_ID}."),
    ("downloads full nowhere", "There is no channel database 'nowhere'."),
    ("downloads resend nowhere 1", "There is no channel database 'nowhere'."),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=[words for words, _ in WRONG])
def test_wrong_arguments_end_with_one_line_and_status_2(hq_user, call, words, sentence):
    status, said = call(*words.split())

    assert (status, said.count("\n")) == (2, 1)
    assert sentence in said
