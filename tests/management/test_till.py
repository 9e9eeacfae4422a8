"""The command of a till: what it prints, and how it ends.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001).
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import load_command_class

from stores.models import Channel
from stores.rts.tokens import make_token
from tests.support.make import lookup, query, run
from tests.support.registers import offline_register
from tests.support.tills import SYNC, events, set_up
from tests.support.web_server import serving

pytestmark = pytest.mark.slow

CREATE = ("create-customer", "--set", "first_name=Ann", "--set", "last_name=Lee")


@pytest.fixture
def till(houston, capsys) -> Callable[..., tuple[int, Any]]:
    """Calls the command. Returns its status, and its document or what it prints to stderr."""

    def call(*words: str, code: str = "houston") -> tuple[int, Any]:
        capsys.readouterr()
        status = 0
        try:
            argv = ["manage.py", "till", code, *words, "--json"]
            load_command_class("stores", "till").run_from_argv(argv)
        except SystemExit as end:
            status = int(end.code or 0)
        printed = capsys.readouterr()
        return status, json.loads(printed.out) if printed.out else printed.err

    return call


def test_a_day_at_a_till(till, houston):
    created = till(*CREATE, "--address", "city=Houston", "--affiliation", "STAFF")
    till("edit-customer", "pending-1", "--set", "phone=+1 281 555 0100")
    till("add-address", "pending-1", "--set", "city=Austin")
    sale = ("--line", "0004:2:12.35", "--currency", "EUR", "--tax", "21")
    sold = till("sell", *sale, "--customer", "pending-1")
    ordered = till("order", "pending-1", *sale, "--prepaid", "5", "--deliver")
    too_early = till("issue-loyalty-card", "pending-1")
    _, pending = till("look-up", "ann")
    run("pipeline")
    card = till("issue-loyalty-card", "005001", "--card", "4711")
    _, found = till("look-up", "281 555 0100")

    assert created[1]["customer"]["display_account"] == "Pending sync"
    assert (sold[0], sold[1]["total"]) == (0, "29.89")
    assert ordered[1]["confirmation_number"].startswith("HOUSTON-")
    assert too_early[0] == 1
    assert "needs an account in this channel" in too_early[1]
    assert "has not fetched" in pending["customers"][0]["expected"]
    assert (card[0], card[1]["card"]) == (0, "4711")
    assert found["customers"][0]["display_account"] == "005001"
    assert [one for (one,) in query(houston, "SELECT city FROM async_address ORDER BY 1")] == [
        "Austin",
        "Houston",
    ]


def test_a_synchronous_till_calls_the_service_with_the_token_of_the_environment(
    till, houston, settings
):
    set_up(houston, profile=SYNC)
    run("P-0001")
    settings.TILL_TOKEN = make_token(houston.channel)[1]

    with serving(WSGIHandler()) as address:
        status, document = till(*CREATE, "--service", address)
    fallen_back = till(*CREATE, "--service", "http://127.0.0.1:9")
    without = till(*CREATE)

    assert (status, document["account_number"]) == (0, "005001")
    assert document["saved_in"] == "headquarters"
    assert (fallen_back[0], fallen_back[1]["saved_in"]) == (0, "channel")
    assert (without[0], "was not given the address" in without[1]) == (1, True)


def test_a_register_is_offline_and_reconnects(till, houston):
    with offline_register(houston):
        place = ("--register", "till-1")
        till(*CREATE, *place, "--offline")
        before = lookup(houston)
        status, document = till("reconnect", *place)

        assert (before, status, document["copied"]) == ([], 0, 1)
        assert lookup(houston) == [("Pending sync", "Ann")]


WRONG = [
    ((), "action"),
    (("dance",), "dance"),
    (("create-customer",), "--set"),
    (("create-customer", "--set", "first_name"), "FIELD=VALUE"),
    (("create-customer", "--set", "shoe=42"), "no field 'shoe'"),
    ((*CREATE, "--address", "planet=Mars"), "no field 'planet'"),
    ((*CREATE, "--set", "email=nobody"), "E-mail: not an e-mail address."),
    ((*CREATE, "--set", "last_name=" + "L" * 61), "Last name: too long (at most 60 characters)."),
    ((*CREATE, "--staff", "S" * 26), "Staff: too long"),
    ((*CREATE, "--register", "till-9"), "till-9"),
    ((*CREATE, "--service", "ftp://hq"), "ftp://hq"),
    ((*CREATE, "--service", "https://hq.example.com"), "SYNCLINE_TILL_TOKEN"),
    ((*CREATE, "--set", "title=\udcff"), "Title: contains control characters"),
    (("issue-loyalty-card", "\udcff"), "UTF-8"),
    (("sell", "--line", "0004:1:1", "--currency", "EUR", "--staff", "S" * 26), "Staff"),
    (("sell",), "--line"),
    (("sell", "--line", "0004"), "ITEM:QUANTITY:PRICE"),
    (("sell", "--line", "0004:x:1"), "'x' is not a number"),
    (("sell", "--line", "0004:1:NaN"), "'NaN' is not a number"),
    (("sell", "--line", "0004:1:1", "--currency", "EURO"), "Currency"),
    (("sell", "--line", "0004:1:1e20", "--currency", "EUR"), "Price"),
    (("reconnect",), "--register"),
]


def test_wrong_arguments_are_one_line_on_stderr(till, houston, subtests):
    for words, named in WRONG:
        with subtests.test(named):
            status, error = till(*words)
            assert status == 2
            assert named in error
            assert len(error.splitlines()) == 1

    assert events(houston) == []


def test_only_the_tills_of_a_channel_that_is_switched_on_are_used(till, houston):
    assert till(*CREATE, code="nowhere")[0] == 2
    Channel.objects.update(is_enabled=False)

    status, error = till(*CREATE)

    assert (status, "switched off" in error) == (2, True)
