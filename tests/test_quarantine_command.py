"""The command `quarantine list`: every row that waits for a person, and never a value of one."""

import json

import pytest
from django.core.management import CommandError, call_command

from stores.models import NumberSequence, Quarantine
from tests.make import make_customer, make_event, run


def listed(command, *words: str) -> list[dict]:
    return json.loads(command("quarantine", "list", *words, "--json"))["rows"]


def test_rows_set_aside_are_listed_with_field_and_reason(store, command):
    make_customer(store, phone="none")
    make_event("address", store, async_account=make_customer(store), county="far too long")
    run("P-0001")

    rows = listed(command)

    assert [(row["table"], row["field"], row["reason"]) for row in rows] == [
        ("async_customer", "phone", "phone_format"),
        ("async_address", "county", "too_long"),
    ]
    assert rows[1]["text"] == "county: longer than HQ can hold."
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
    make_customer(houston, phone="none")
    make_customer(popup, email="none")
    run("P-0001")

    assert [row["channel"] for row in listed(command, "--channel", "popup")] == ["popup"]
    assert [row["channel"] for row in listed(command, "--reason", "phone_format")] == ["houston"]
    assert listed(command, "--channel", "popup", "--reason", "phone_format") == []


def test_settled_rows_are_listed_only_with_all(houston, command):
    make_customer(houston, phone="none")
    run("P-0001")
    Quarantine.objects.update(status="dismissed")

    assert listed(command) == []
    assert [row["status"] for row in listed(command, "--all")] == ["dismissed"]


def test_the_text_says_what_is_wrong_and_no_value(houston, command):
    make_customer(houston, last_name="Canary", phone="canary")
    run("P-0001")

    line, total = command("quarantine", "list").splitlines()

    assert line.endswith("phone: not a phone number.")
    assert total == "1 row."
    assert "canary" not in line.lower()


def test_an_empty_list_is_one_line(hq, command):
    assert command("quarantine", "list") == "0 rows.\n"


@pytest.mark.parametrize("word", ["show", "release", "dismiss"])
def test_what_the_command_cannot_do_yet_is_refused_with_status_2(word, capsys):
    with pytest.raises(SystemExit) as end:
        call_command("quarantine", word, "1")

    assert end.value.code == 2
    assert f"invalid choice: '{word}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["list", "--channel", "nowhere"], "No channel is called nowhere."),
        (["list", "--reason", "bad_luck"], "No reason is called bad_luck."),
        (["list", "--channel", ""], "No channel is called ."),
    ],
)
def test_wrong_arguments_end_with_one_line_and_status_2(hq, words, sentence):
    with pytest.raises(CommandError) as error:
        call_command("quarantine", *words)

    assert (str(error.value), error.value.returncode) == (sentence, 2)
