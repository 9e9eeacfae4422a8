"""The command `quarantine list`: every row that waits for a person, and never a value of one."""

import json
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command, execute_from_command_line

from stores.models import AsyncAttribute, AttributeDefinition, NumberSequence, Quarantine
from tests.support.make import make_customer, make_event, run


def listed(command, *words: str) -> list[dict]:
    return json.loads(command("quarantine", "list", *words, "--json"))["rows"]


def test_rows_set_aside_are_listed_with_field_and_reason(store, command):
    make_customer(store, email="none")
    make_event("address", store, async_account=make_customer(store), county="far too long")
    run("P-0001")

    rows = listed(command)

    assert [(row["table"], row["field"], row["reason"]) for row in rows] == [
        ("async_customer", "email", "email_format"),
        ("async_address", "county", "too_long"),
    ]
    assert rows[1]["text"] == "county: too long."
    assert {row["channel"] for row in rows} == {store.label}
    assert list(rows[0]) == [
        *["id", "channel", "table", "field", "reason", "text", "since", "status"],
    ]


def test_rows_that_failed_in_conversion_are_listed_too(houston, command):
    NumberSequence.objects.update(largest=5001)
    make_customer(houston)
    make_customer(houston)
    run("pipeline")

    (row,) = listed(command)

    assert (row["status"], row["reason"]) == ("failed", "sequence_exhausted")


def test_only_the_rows_of_one_channel_or_reason_are_listed(houston, popup, command):
    make_customer(houston, email="none")
    make_customer(popup, "A" * 61)
    run("P-0001")

    assert [row["channel"] for row in listed(command, "--channel", "popup")] == ["popup"]
    assert [row["channel"] for row in listed(command, "--reason", "email_format")] == ["houston"]
    assert listed(command, "--channel", "popup", "--reason", "email_format") == []


def test_settled_rows_are_listed_only_with_all(houston, command):
    make_customer(houston, email="none")
    run("P-0001")
    command(
        "quarantine",
        "dismiss",
        "--cause",
        "houston:async_customer:email_format:email",
        "--reason",
        "a test",
    )

    assert listed(command) == []
    assert [row["status"] for row in listed(command, "--all")] == ["dismissed"]


def test_the_text_says_what_is_wrong_and_no_value(houston, command):
    make_customer(houston, last_name="Canary", email="canary")
    run("P-0001")

    line, total = command("quarantine", "list").splitlines()

    assert line.endswith("email: not an e-mail address.")
    assert total == "1 row."
    assert "canary" not in line.lower()


def test_an_empty_list_is_one_line(hq, command):
    assert command("quarantine", "list") == "0 rows.\n"


def test_causes_count_what_failed_alike(houston, popup, command):
    for channel in (houston, houston, popup):
        make_customer(channel, email="none")
    run("P-0001")

    causes = json.loads(command("quarantine", "causes", "--json"))["causes"]

    assert [(cause["rows"], cause["cause"]) for cause in causes] == [
        (2, "houston:async_customer:email_format:email"),
        (1, "popup:async_customer:email_format:email"),
    ]


def test_show_tells_one_row_in_full(store, command):
    make_customer(store, "Ann", email="none")
    run("P-0001")
    (row,) = listed(command)

    shown = json.loads(command("quarantine", "show", row["id"], "--json"))

    assert (shown["field"], shown["values"]["email"]) == ("email", "none")
    assert "<-- see the reason" in command("quarantine", "show", row["id"])


def test_what_still_breaks_a_rule_stays_open_and_the_command_says_so(store, command, capsys):
    make_customer(store, email="none")
    run("P-0001")
    (row,) = listed(command)

    with pytest.raises(SystemExit) as end:
        call_command("quarantine", "release", row["id"], "--json")

    assert end.value.code == 1
    assert json.loads(capsys.readouterr().out) == {"released": 0, "left": [row["id"]]}
    assert Quarantine.objects.get().attempts == 2


def test_all_of_one_cause_are_released_at_once(store, command):
    definition = AttributeDefinition.objects.create(
        company=store.channel.company, name="HAT", options=["S"]
    )
    for _ in range(3):
        make_event("attribute", store, async_account=uuid4(), attribute="HAT", value="XXL")
    run("P-0001")
    definition.options = ["S", "XXL"]
    definition.save()
    cause = f"{store.label}:async_attribute:attribute_invalid:value"

    told = command("quarantine", "release", "--cause", cause)

    assert told == "3 released, 0 still open.\n"
    assert AsyncAttribute.objects.filter(status="pending").count() == 3


def test_dismissed_rows_say_why(houston, command):
    make_customer(houston, email="none")
    run("P-0001")
    (row,) = listed(command)

    told = command("quarantine", "dismiss", row["id"], "--reason", "test till")

    assert told == "1 dismissed, 0 still open.\n"
    assert Quarantine.objects.get().settled_because == "test till"


def test_a_row_that_stays_open_is_named_with_its_reason(houston):
    make_customer(houston, email="none")
    run("P-0001")
    said = StringIO()

    with pytest.raises(SystemExit):
        call_command("quarantine", "release", str(Quarantine.objects.get().pk), stdout=said)

    line, total = said.getvalue().splitlines()
    assert line.endswith("email: not an e-mail address.")
    assert total == "0 released, 1 still open."


def test_without_an_action_only_the_action_is_asked_for(hq, capsys):
    with pytest.raises(SystemExit):
        execute_from_command_line(["manage.py", "quarantine"])

    assert capsys.readouterr().err.endswith("the following arguments are required: action\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["list", "--channel", "nowhere"], "There is no channel 'nowhere'."),
        (["list", "--reason", "bad_luck"], "There is no reason 'bad_luck'."),
        (["list", "--channel", ""], "There is no channel ''."),
        (["list", "7"], "unrecognized arguments: 7"),
        (["show"], "the following arguments are required: ID"),
        (["show", "7", "8"], "unrecognized arguments: 8"),
        (["show", "7", "--reason", "x"], "unrecognized arguments: --reason x"),
        (["show", "7"], "There is no row '7'."),
        (["show", "<b>"], "There is no row '<b>'."),
        (["release"], "one of the arguments ID --cause is required"),
        (
            ["release", "7", "--cause", "a:b:c:d"],
            "argument --cause: not allowed with argument ID",
        ),
        (
            ["release", "--cause", "a"],
            "argument --cause: a cause is CHANNEL:TABLE:REASON:FIELD, as printed by causes",
        ),
        (["dismiss", "7"], "the following arguments are required: --reason"),
        (["dismiss", "7", "--reason", " "], "argument --reason: Enter a reason."),
    ],
)
def test_wrong_arguments_end_with_one_line_and_status_2(hq, words, sentence):
    with pytest.raises(CommandError) as error:
        call_command("quarantine", *words)

    assert (str(error.value), error.value.returncode) == (sentence, 2)
