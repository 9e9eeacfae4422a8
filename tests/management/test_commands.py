"""Commands as a person or a script meets them: what they print, and the status they end with.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`popup` is one on SQLite; `register` registers a channel by its code; `command` calls a management
command and returns its output.
"""

import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.core.management import call_command, load_command_class
from django.core.management.base import SystemCheckError
from django.db import connection

from stores.channeldb.connect.url import sqlite_path
from stores.hqdb.locks import Locks
from stores.jobs.catalog import JOBS, find_job
from stores.jobs.claim import claim_step
from stores.jobs.stages import waiting_steps
from stores.jobs.start import create_run
from stores.models import (
    AsyncCustomer,
    Channel,
    ChannelDatabase,
    Company,
    Customer,
    JobRun,
    NumberSequence,
)
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.pipeline.sql_catalog import composed_statements
from tests.support.channels import on_server
from tests.support.make import lookup, make_customer, make_sale, run
from tests.support.processes import manage

CREATE = {"--name": "Houston", "--kind": "store", "--company": "USRT"}
NOWHERE = "postgresql://syncline@127.0.0.1:9/channel"


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Its one JSON document; nothing else stands on stdout."""
        return json.loads(self.out)


@pytest.fixture
def call(hq, capsys) -> Callable[..., Answer]:
    """Calls a command as manage.py does."""

    def run_command(name: str, *words: str) -> Answer:
        capsys.readouterr()
        status = 0
        try:
            load_command_class("stores", name).run_from_argv(["manage.py", name, *words])
        except SystemExit as end:
            status = int(end.code or 0)
        return Answer(status, *capsys.readouterr())

    return run_command


@pytest.fixture
def create(call) -> Callable[..., Answer]:
    """Calls create_channel with good values, and others where they are given."""

    def create_channel(code: str = "shop", url: str = "sqlite:///channels/shop.db", **others: str):
        values = CREATE | {"--database": url}
        values |= {f"--{option.replace('_', '-')}": value for option, value in others.items()}
        words = [word for pair in values.items() if pair[1] for word in pair]
        return call("create_channel", code, *words)

    yield create_channel
    for database in ChannelDatabase.objects.filter(url__startswith="sqlite:"):
        for ending in ("", "-wal", "-shm"):
            path = sqlite_path(database)
            path.with_name(path.name + ending).unlink(missing_ok=True)


def assert_refused(answer: Answer, *words: str) -> None:
    """One clear line on stderr and status 2."""
    assert (answer.status, answer.out) == (2, "")
    assert len(answer.err.splitlines()) == 1
    assert all(word in answer.err for word in words)


# create_channel


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"name": ""}, "--name"),
        ({"kind": ""}, "--kind"),
        ({"company": ""}, "--company"),
        ({"url": ""}, "--database"),
        ({"kind": "kiosk"}, "kiosk"),
        ({"code": "hou ston"}, "CODE"),
        ({"code": "houston/1"}, "CODE"),
        ({"code": "h" * 61}, "CODE"),
        ({"name": "n" * 101}, "--name"),
        ({"company": "USRTX"}, "--company"),
        ({"profile": "p" * 61}, "profile"),
        ({"country": "USAX"}, "--country"),
        ({"country": "XXX"}, "--country"),
        ({"group": "g" * 61}, "--group"),
        ({"account_format": "C-"}, "format"),
        ({"account_format": "C-##-##"}, "format"),
        ({"account_format": "c ####"}, "format"),
        ({"account_format": "C-" + "#" * 19}, "format"),
        ({"first_number": "one"}, "--first-number"),
        ({"first_number": "-1"}, "first"),
        ({"first_number": "9", "last_number": "7"}, "-number"),
        ({"account_format": "C-##", "last_number": "100"}, "--last-number"),
        ({"first_number": "1" * 20}, "first"),
        ({"default_customer": "D" * 21}, "--default-customer"),
        ({"default_customer": "C-000042"}, "--default-customer: C-000042 looks like"),
        ({"url": "mysql://root@localhost/shop"}, "shop"),
        ({"url": "postgresql://localhost"}, "shop"),
        ({"url": "sqlite:////etc/shop.db"}, "shop"),
        ({"url": "sqlite:///../shop.db"}, "shop"),
        ({"url": "sqlite:///:memory:"}, "shop"),
        ({"url": "env:PATH"}, "shop"),
        ({"url": "env:CHANNEL_DSN_NOT_SET"}, "CHANNEL_DSN_NOT_SET"),
        ({"url": "sqlite:///" + "d" * 500}, "--database"),
    ],
)
def test_a_channel_with_a_wrong_value_is_not_registered(create, wrong, named):
    answer = create(**wrong)

    assert_refused(answer, named)
    assert not Channel.objects.exists()
    assert not Company.objects.exists()


def test_a_password_in_a_wrong_address_is_not_repeated(create):
    answer = create(url="mysql://root:sesame@localhost/shop")

    assert_refused(answer)
    assert "sesame" not in answer.err


def test_a_new_channel_has_company_sequence_default_customer_and_tables(create):
    answer = create(account_format="C-######", first_number="100", country="USA")

    assert (answer.status, answer.err) == (0, "")
    sequence = NumberSequence.objects.get(company="USRT")
    assert (sequence.start, sequence.next, sequence.largest) == (100, 100, 999_999)
    assert Customer.objects.get().account_number == "DEFAULT-shop"
    assert lookup(ChannelDatabase.objects.get()) == []


def test_create_channel_prints_one_document_with_an_address_for_tills(create, call):
    answer = call(
        "create_channel",
        "shop",
        *[word for pair in CREATE.items() for word in pair],
        *["--database", "sqlite:///channels/shop.db", "--json"],
    )

    path = sqlite_path(ChannelDatabase.objects.get())
    assert answer.document == {
        "channel": "shop",
        "company": "USRT",
        "database": f"sqlite:///{path}",
    }


def test_the_same_call_again_changes_nothing(create):
    first = create(country="USA", group="South")
    before = list(Channel.objects.values()), list(Customer.objects.values())

    again = create(country="USA", group="South")

    assert (again.status, again.out) == (0, first.out)
    assert (list(Channel.objects.values()), list(Customer.objects.values())) == before
    assert ChannelDatabase.objects.count() == 1


@pytest.mark.parametrize(
    "other",
    [
        {"name": "Dallas"},
        {"kind": "online"},
        {"company": "EURT"},
        {"country": "NLD"},
        {"profile": "outlet"},
        {"group": "North"},
        {"url": "sqlite:///channels/other.db"},
        {"default_customer": "OTHER-1"},
        {"account_format": "D-######"},
        {"first_number": "7"},
        {"last_number": "70"},
    ],
)
def test_repeating_a_call_with_another_value_changes_nothing(create, other):
    create()
    before = list(Channel.objects.values()), list(NumberSequence.objects.values())

    answer = create(**other)

    assert_refused(answer, "registered with", "settings")
    assert (list(Channel.objects.values()), list(NumberSequence.objects.values())) == before
    assert Company.objects.count() == 1


def test_two_channels_cannot_share_a_database(create):
    create()

    answer = create("shop2")

    assert_refused(answer, "--database", "shop")
    assert Channel.objects.get().code == "shop"


def test_a_register_is_a_further_database_of_its_channel(create, call):
    create()
    words = ["shop", "--register", "till-1", "--database", "sqlite:///channels/till.db"]

    first, again = call("create_channel", *words), call("create_channel", *words)

    assert (first.status, again.status) == (0, 0)
    assert [database.label for database in ChannelDatabase.objects.with_channel()] == [
        "shop",
        "shop/till-1",
    ]


def test_a_register_of_an_unknown_channel_is_refused(call):
    words = ["shop", "--register", "till-1", "--database", "sqlite:///channels/till.db"]

    answer = call("create_channel", *words)

    assert_refused(answer, "shop")
    assert not Channel.objects.exists()


def test_a_register_takes_no_options_of_a_channel(create, call):
    create()
    words = ["shop", "--register", "till-1", "--database", "sqlite:///channels/till.db"]

    answer = call("create_channel", *words, "--first-number", "7")

    assert_refused(answer, "--first-number", "--register")
    assert ChannelDatabase.objects.count() == 1


def test_an_unreachable_channel_is_one_sentence_and_status_one(create):
    answer = create(url=NOWHERE)

    assert (answer.status, answer.out) == (1, "")
    assert answer.err.strip() == (
        "CommandError: Channel shop cannot be reached: nothing listens on the port of its server."
    )


def test_an_unknown_role_is_one_sentence_and_status_one(create, register):
    register("houston")

    answer = create("houston", "embedded", till_role="nobody", country="")

    assert answer.status == 1
    assert 'the role "nobody" does not exist' in answer.err
    assert len(answer.err.splitlines()) == 1


def test_an_unknown_role_makes_no_database(create, register):
    register("houston")

    create("austin", "embedded", till_role="nobody", country="")
    create("vault", "sqlite:///vault.sqlite3", till_role="till", country="")

    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname = 'ch_austin'")
        assert cursor.fetchall() == []
    assert not (settings.SYNCLINE_DATA_DIR / "vault.sqlite3").exists()


# migrate_channels


def test_migrating_what_is_up_to_date_says_unchanged(houston, popup, call):
    answer = call("migrate_channels", "--json")

    assert answer.status == 0
    assert answer.document == {
        "channels": [
            {"channel": code, "outcome": "unchanged", "message": f"{code}: unchanged."}
            for code in ("houston", "popup")
        ]
    }


def test_a_channel_without_tables_says_which_command_makes_them(houston, call):
    on_server("DROP DATABASE ch_houston")
    on_server("CREATE DATABASE ch_houston TEMPLATE template0")

    refused = call("run_job", "P-0001", "--json")
    migrated = call("migrate_channels", "houston", "--json")

    assert (refused.status, refused.document["outcome"]) == (1, "failed")
    assert "run migrate_channels houston" in refused.document["message"]
    assert migrated.document["channels"][0]["outcome"] == "migrated"
    # It has tables now, and is still not the database that was registered.
    assert "leads to a different database" in call("run_job", "P-0001").out


def test_an_unreachable_channel_does_not_stop_migrations_of_others(houston, seattle, call):
    on_server("ALTER DATABASE ch_houston RENAME TO ch_houston_away")

    answer = call("migrate_channels")

    on_server("ALTER DATABASE ch_houston_away RENAME TO ch_houston")
    assert answer.status == 1
    assert "seattle: unchanged." in answer.out
    assert answer.err.splitlines() == [
        "Channel houston cannot be reached: its server has no such database.",
        "CommandError: 1 of 2 channel databases could not be migrated.",
    ]


def test_an_unknown_channel_is_not_migrated(houston, call):
    assert_refused(call("migrate_channels", "houston", "dallas"), "dallas")


# run_job


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "JOB"),
        (["p-0002"], "p-0002"),
        (["pipeline", "--channel", "dallas"], "dallas"),
        (["pipeline", "--channel", "houston", "dallas"], "dallas"),
        (["pipeline", "--channel"], "--channel"),
        (["pipeline", "--company", "EURT"], "EURT"),
        (["pipeline", "--dry-run", "--queue"], "--dry-run"),
        (["eod", "--date", "31.02.2026"], "'31.02.2026' is not a date"),
        (["eod", "--date", "2026-02-30"], "--date"),
        (["validate", "--date", "20260301"], "--date"),
        (["calculate-statements", "--date", "2026-W10-1"], "--date"),
        (["post-statements", "--date", ""], "--date"),
        (["post-statements", "--date", "yesterday\n"], "--date"),
        (["eod", "--date"], "--date"),
        (["eod", "--date", "1900-01-01"], "1900-01-01 cannot be a business date"),
        (["eod", "--date", "2099-01-01"], "2099-01-01 cannot be a business date"),
        (["eod", "--date", "0001-01-01", "--dry-run"], "0001-01-01 cannot be a business date"),
        (["verify", "--channel", "houston"], "--channel cannot be used with verify"),
        (["verify", "--company", "USRT"], "--company cannot be used with verify"),
        (
            ["pipeline", "--date", "2026-03-01"],
            "pipeline, only with validate",
        ),
        (["sync-orders", "--date", "2026-03-01"], "--date cannot be used with sync-orders"),
        (["pipeline", "--order", "SO-1"], "--order can only be used with sync-orders"),
        (["sync-orders", "--order", "SO-1"], "There is no customer order 'SO-1'."),
        (["sync-orders", "--order", "SO-1", "--channel", "houston"], "order 'SO-1' in houston."),
        (["sync-orders", "--order", "\udcff"], "There is no customer order '\\udcff'."),
        (["sync-orders", "--order", ""], "There is no customer order ''."),
        (["pipeline", "--limit", "-1"], "--limit"),
    ],
)
def test_a_wrong_argument_for_a_job_runs_nothing(houston, call, words, named):
    make_customer(houston)

    answer = call("run_job", *words)

    assert_refused(answer, named)
    assert not JobRun.objects.exists()


def test_a_run_that_only_failed_is_not_nothing_to_do(houston, call):
    order = {"transaction_type": "customer_order", "confirmation_number": "SO-1"}
    make_sale(houston, async_account=make_customer(houston), net_amount="11.00", **order)
    run("pipeline")

    answer = call("run_job", "sync-orders")

    assert answer.out.splitlines()[-1] == ("sync-orders: nothing_to_do. No changes (1 failed).")
    alone = call("run_job", "sync-orders", "--order", "SO-1")
    assert alone.out.splitlines()[-1].endswith(
        "1 failed). Net amount: does not equal the sum of its lines."
    )


@pytest.mark.finding(id="A13")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pipeline", "pipeline"),
        ("P-0001", "P-0001"),
        ("p-job", "P-0001"),
        ("sync-customers", "sync-customers"),
        ("synchronize-customers-and-channel-requests", "sync-customers"),
        ("Synchronize customers and channel requests", "sync-customers"),
        ("Synchronize customers and business partners from async mode", "sync-customers"),
        ("synchronize-customers-and-business-partners-from-async-mode", "sync-customers"),
        ("1010", "1010"),
    ],
)
def test_a_job_answers_to_all_its_names_in_any_case(name, code):
    assert find_job(name) == find_job(name.upper()) == find_job(name.title()) == JOBS[code]


def test_run_job_prints_the_json_document_of_the_contract(houston, call):
    make_customer(houston)

    answer = call("run_job", "Pipeline", "--json")

    found = answer.document
    assert answer.status == 0
    assert list(found) == ["run", "job", "outcome", "message", "counts", "seconds", "steps"]
    assert (UUID(found["run"]), found["job"], found["outcome"]) == (
        JobRun.objects.get().pk,
        "pipeline",
        "succeeded",
    )
    assert found["counts"] == {"read": 1, "staged": 1, "converted": 1, "distributed": 1}
    assert found["message"] == "1 staged, 1 converted, 1 distributed."
    assert found["seconds"] > 0
    assert [(step["step"], step["channel"], step["outcome"]) for step in found["steps"]] == [
        ("upload", "houston", "succeeded"),
        ("convert", None, "succeeded"),
        ("download", "houston", "succeeded"),
    ]
    assert {"step", "channel", "outcome", "counts", "seconds"} <= set(found["steps"][0])


def test_run_job_prints_each_step_and_the_outcome(houston, call):
    make_customer(houston)

    answer = call("run_job", "pipeline")

    assert len(answer.out.splitlines()) == 4
    assert answer.out.splitlines()[-1] == (
        "pipeline: succeeded. 1 staged, 1 converted, 1 distributed."
    )


def test_nothing_to_do_is_no_failure(houston, call):
    answer = call("run_job", "pipeline", "--json")

    assert (answer.status, answer.document["outcome"]) == (0, "nothing_to_do")


def test_a_channel_can_be_named_alone(houston, seattle, call):
    for channel in (houston, seattle):
        make_customer(channel)

    answer = call("run_job", "P-0001", "--channel", "seattle", "--json")

    assert [step["channel"] for step in answer.document["steps"]] == ["seattle"]
    assert AsyncCustomer.objects.get().database == seattle


def test_a_queued_run_prints_its_id_and_status_zero(houston, call):
    answer = call("run_job", "pipeline", "--queue", "--json")

    assert (answer.status, answer.document["outcome"]) == (0, "queued")
    assert answer.document["run"] == str(JobRun.objects.get(status="queued").pk)


def test_a_run_that_nobody_fetches_from_the_queue_says_why(houston, call, settings):
    without_worker = call("run_job", "pipeline", "--queue")
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    without_queue = call("run_job", "P-0001", "--queue")

    assert without_worker.status == without_queue.status == 0
    assert "waiting for a worker. No worker is running: started jobs are" in without_worker.out
    assert "waiting for a worker. The queue is not responding: started jobs" in without_queue.out


def test_a_dry_run_prints_what_would_be_done(houston, call):
    make_customer(houston)

    answer = call("run_job", "pipeline", "--dry-run", "--json")

    assert answer.document["counts"] == {"read": 1, "staged": 1, "converted": 1, "distributed": 1}
    assert not JobRun.objects.exists()


def test_a_terminal_is_told_how_far_a_job_has_come(houston, command, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    make_customer(houston)

    command("run_job", "pipeline")

    shown = terminal.getvalue().split("\r\x1b[K")
    assert shown == ["", *(f"{done} of 3 steps done" for done in (1, 2, 3)), ""]


def test_a_busy_job_ends_with_status_75(houston, call):
    live = create_run(JOBS["pipeline"]).run
    with Locks() as other:
        assert claim_step(waiting_steps(live.pk)[0], other.worker)

        answers = call("run_job", "pipeline", "--json"), call("run_job", "pipeline", "--queue")

    assert [answer.status for answer in answers] == [75, 75]
    assert answers[0].document["outcome"] == "busy"


def test_a_partly_or_failed_run_ends_with_status_one(houston, seattle, call):
    on_server("ALTER DATABASE ch_seattle RENAME TO ch_seattle_away")

    partly = call("run_job", "P-0001", "--json")
    failed = call("run_job", "P-0001", "--channel", "seattle", "--json")

    on_server("ALTER DATABASE ch_seattle_away RENAME TO ch_seattle")
    assert (partly.status, partly.document["outcome"]) == (1, "partly")
    assert (failed.status, failed.document["outcome"]) == (1, "failed")
    assert failed.document["message"] == (
        "Channel seattle cannot be reached: its server has no such database."
    )


# For developers


def test_a_printed_statement_can_be_explained_and_leaves_nothing(call):
    printed = call("print_sql", "convert/replay:address").out

    with connection.cursor() as cursor:
        cursor.execute(printed)
        cursor.execute("SELECT to_regclass('pg_temp.again')")
        assert cursor.fetchone() == (None,)
    assert "CREATE TEMP TABLE" in printed
    assert "-- Write rows anew as all events of their customers say" in printed
    assert printed.count("EXPLAIN") == 1
    assert re.search(r"[{}]|%\(", printed.partition("BEGIN;")[2]) is None


def test_a_file_s_name_prints_every_statement_made_of_it(call):
    printed = call("print_sql", "convert/replay").out
    assert re.findall("^-- convert/replay:(\\w+)$", printed, re.MULTILINE) == [
        kind.noun for kind in EVENT_KINDS
    ]


def test_without_a_name_every_statement_is_listed(call):
    listed = call("print_sql").out
    sample = (settings.BASE_DIR / "docs/commands.md").read_text().partition("\nconvert/claim_")[2]
    assert f"\nconvert/claim_{sample.partition('…')[0]}" in listed
    names = {statement.file_name for statement in composed_statements()}
    assert names <= set(listed.split())


def test_an_unknown_statement_is_one_sentence(call):
    answer = call("print_sql", "convert/unfold")

    assert (answer.status, answer.out) == (2, "")
    assert answer.err.strip() == (
        "CommandError: There is no statement 'convert/unfold'; print_sql without a name lists them."
    )


# As processes


def test_a_process_prints_its_document_on_stdout_alone(houston):
    make_customer(houston)

    ended = manage("run_job", "pipeline", "--json")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["counts"]["converted"] == 1


def test_a_wrong_argument_prints_one_line_and_no_traceback(houston):
    ended = manage("run_job", "no-such-job", "--json")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1


def test_a_command_refuses_to_run_beside_the_other_driver(hq, monkeypatch):
    monkeypatch.setattr("stores.apps.find_spec", lambda name: name == "psycopg")

    with pytest.raises(SystemCheckError, match="psycopg 3 is installed"):
        call_command("channels", skip_checks=False)
