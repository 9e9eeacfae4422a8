"""The command `quarantine` lists, shows, releases and dismisses rows.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `store` is a store, once on PostgreSQL and once on SQLite; `command` calls a management
command and returns its output.
"""

import json
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command, execute_from_command_line

from stores.models import AsyncAttribute, AttributeDefinition, NumberSequence, Quarantine
from stores.models.job import JobCode
from tests.support.make import make_customer, make_event, run


@pytest.fixture
def row_id(store) -> str:
    """The id of a quarantined row: a customer with an invalid e-mail address."""
    make_customer(store, "Ann", email="none")
    run(JobCode.UPLOAD)
    return str(Quarantine.objects.get().pk)


def list_rows(command, *options: str) -> list[dict]:
    return json.loads(command("quarantine", "list", *options, "--json"))["rows"]


def test_quarantined_rows_are_listed_with_field_and_reason(store, command):
    make_customer(store, email="none")
    make_event("address", store, async_account=make_customer(store), county="far too long")
    run(JobCode.UPLOAD)

    rows = list_rows(command)

    assert [(row["table"], row["field"], row["reason"]) for row in rows] == [
        ("async_customer", "email", "email_format"),
        ("async_address", "county", "too_long"),
    ]
    assert rows[1]["text"] == "county: too long."
    assert {row["channel"] for row in rows} == {store.label}
    keys = ["id", "channel", "table", "field", "reason", "text", "since", "status"]
    assert list(rows[0]) == keys


def test_rows_that_failed_in_conversion_are_listed_too(houston, command):
    NumberSequence.objects.update(largest=5001)
    for name in ("Ann", "Bo"):
        make_customer(houston, name)
    run("pipeline")

    [row] = list_rows(command)

    assert (row["status"], row["reason"]) == ("failed", "sequence_exhausted")


def test_the_list_is_filtered_by_channel_and_reason(houston, popup, command):
    make_customer(houston, email="none")
    make_customer(popup, "A" * 61)
    run(JobCode.UPLOAD)

    [row_of_popup] = list_rows(command, "--channel", "popup")
    [row_with_reason] = list_rows(command, "--reason", "email_format")
    both = list_rows(command, "--channel", "popup", "--reason", "email_format")

    assert row_of_popup["channel"] == "popup"
    assert row_with_reason["channel"] == "houston"
    assert both == []


def test_dismissed_rows_are_listed_only_with_all(row_id, command):
    command("quarantine", "dismiss", row_id, "--reason", "a test")

    assert list_rows(command) == []
    assert [row["status"] for row in list_rows(command, "--all")] == ["dismissed"]


def test_all_rows_of_a_cause_are_dismissed(store, row_id, command):
    cause = f"{store.label}:async_customer:email_format:email"

    command("quarantine", "dismiss", "--cause", cause, "--reason", "a test")

    assert Quarantine.objects.get().status == "dismissed"


def test_the_list_shows_the_reason_and_no_value(houston, command):
    make_customer(houston, last_name="Canary", email="canary")
    run(JobCode.UPLOAD)

    line, total = command("quarantine", "list").splitlines()

    assert line.endswith("email: not an e-mail address.")
    assert total == "1 row."
    assert "canary" not in line.lower()


def test_an_empty_list_says_that_it_has_no_rows(hq, command):
    assert command("quarantine", "list") == "0 rows.\n"


def test_causes_are_listed_with_their_number_of_rows(houston, popup, command):
    for channel in (houston, houston, popup):
        make_customer(channel, email="none")
    run(JobCode.UPLOAD)

    causes = json.loads(command("quarantine", "causes", "--json"))["causes"]

    assert [(cause["rows"], cause["cause"]) for cause in causes] == [
        (2, "houston:async_customer:email_format:email"),
        (1, "popup:async_customer:email_format:email"),
    ]


def test_show_prints_all_values_of_a_row(row_id, command):
    document = json.loads(command("quarantine", "show", row_id, "--json"))
    output = command("quarantine", "show", row_id)

    assert (document["field"], document["values"]["email"]) == ("email", "none")
    assert "<-- see the reason" in output


def test_a_released_row_that_still_breaks_a_rule_stays_open(row_id, command, capsys):
    with pytest.raises(SystemExit) as end:
        call_command("quarantine", "release", row_id, "--json")

    assert end.value.code == 1
    assert json.loads(capsys.readouterr().out) == {"released": 0, "left": [row_id]}
    assert Quarantine.objects.get().attempts == 2


def test_a_row_that_stays_open_is_named_with_its_reason(row_id):
    output = StringIO()

    with pytest.raises(SystemExit):
        call_command("quarantine", "release", row_id, stdout=output)

    line, total = output.getvalue().splitlines()
    assert line.endswith("email: not an e-mail address.")
    assert total == "0 released, 1 still open."


def test_all_rows_of_a_cause_are_released(store, command):
    definition = AttributeDefinition.objects.create(
        company=store.channel.company, name="HAT", options=["S"]
    )
    for _ in range(3):
        make_event("attribute", store, async_account=uuid4(), attribute="HAT", value="XXL")
    run(JobCode.UPLOAD)
    definition.options = ["S", "XXL"]
    definition.save()
    cause = f"{store.label}:async_attribute:attribute_invalid:value"

    output = command("quarantine", "release", "--cause", cause)

    assert output == "3 released, 0 still open.\n"
    assert AsyncAttribute.objects.filter(status="pending").count() == 3


def test_a_dismissed_row_stores_the_reason(row_id, command):
    output = command("quarantine", "dismiss", row_id, "--reason", "test till")

    assert output == "1 dismissed, 0 still open.\n"
    assert Quarantine.objects.get().settled_because == "test till"


def test_the_command_needs_an_action(hq, capsys):
    with pytest.raises(SystemExit):
        execute_from_command_line(["manage.py", "quarantine"])

    assert capsys.readouterr().err == (
        "manage.py quarantine: the following arguments are required: action "
        "(list, causes, show, release, correct, dismiss, reopen)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_invalid_arguments_end_with_a_message_and_status_2(hq, arguments, message):
    with pytest.raises(CommandError) as error:
        call_command("quarantine", *arguments)

    assert str(error.value) == message
    assert error.value.returncode == 2
