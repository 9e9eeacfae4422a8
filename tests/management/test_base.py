"""Commands escape control characters, so that no text from a till controls a terminal.

From conftest.py: `houston` is a store on PostgreSQL; `command` calls a management command and
returns its output.
"""

import json

import pytest
from django.core.management import load_command_class

from stores.management.base import escaped, single_line
from stores.models import Quarantine
from stores.models.job import JobCode
from tests.support.make import make_customer, run

pytestmark = pytest.mark.finding(id="S8")

# A terminal that prints this sets the title of its window.
SET_TITLE = "\x1b]0;owned\x07"


def test_control_characters_in_a_name_are_escaped(houston, command):
    make_customer(houston, f"Ann{SET_TITLE}\nfield  forged", email="none")
    run(JobCode.UPLOAD)
    row_id = str(Quarantine.objects.get().pk)

    output = command("quarantine", "show", row_id)
    document = json.loads(command("quarantine", "show", row_id, "--json"))

    assert "Ann\\x1b]0;owned\\x07\\nfield  forged" in output
    assert all(letter.isprintable() or letter == "\n" for letter in output)
    assert document["values"]["first_name"] == f"Ann{SET_TITLE}\nfield  forged"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("trace", [f"x{SET_TITLE}"]), ("quarantine", ["show", f"x{SET_TITLE}"])],
    ids=["trace", "quarantine"],
)
def test_control_characters_in_an_argument_are_escaped(hq, capfd, name, arguments):
    command = load_command_class("stores", name)

    with pytest.raises(SystemExit):
        command.run_from_argv(["manage.py", name, *arguments])

    output, errors = capfd.readouterr()
    assert "\x1b" not in output + errors


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a\tb\n", "a\tb\n"),
        ("a\rb", "a\\rb"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eabc", "\\u202eabc"),
        ("\u2028", "\\u2028"),
        ("\udc1b", "\\udc1b"),
        ("Zo\xeb \U0001f9fe", "Zo\xeb \U0001f9fe"),
        ("\u0645\u0631\u200c\u062d", "\u0645\u0631\u200c\u062d"),
    ],
)
def test_control_characters_are_escaped_and_letters_are_not(text, printed):
    assert escaped(text) == printed


def test_a_value_is_printed_on_a_single_line():
    assert single_line("a\n\tb") == "a\\n\\tb"
