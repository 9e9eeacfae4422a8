"""Commands escape control characters, so that no text from a till controls a terminal.

From conftest.py: `hq` is the empty database of headquarters; `houston` is a store; `command` calls
a management command and returns its output.
"""

import json

import pytest
from django.core.management import load_command_class

from stores.management.base import escaped, single_line
from stores.models import Quarantine
from stores.models.job import JobCode
from tests.support.make import make_customer, run

# The reported fault: a customer's name could write anything into the terminal of an operator.
pytestmark = pytest.mark.finding(id="S8")

# A terminal that prints this sets the title of its window.
SET_TITLE = "\x1b]0;owned\x07"
ESCAPED_SET_TITLE = r"\x1b]0;owned\x07"
# A first name that would also print a line of its own.
NAME = f"Ann{SET_TITLE}\nlast_name  Forged"
ESCAPED_NAME = rf"Ann{ESCAPED_SET_TITLE}\nlast_name  Forged"


@pytest.fixture
def quarantined_row(houston) -> Quarantine:
    """A customer with that name, whose e-mail address is invalid."""
    make_customer(houston, NAME, email="none")
    run(JobCode.UPLOAD)
    return Quarantine.objects.get()


def has_control_character(output: str) -> bool:
    """Whether a terminal would obey a character, other than the line break."""
    return not output.replace("\n", "").isprintable()


def test_control_characters_in_a_name_are_escaped(quarantined_row, command):
    output = command("quarantine", "show", str(quarantined_row.pk))

    assert ESCAPED_NAME in output
    assert not has_control_character(output)


def test_a_json_document_has_the_name_as_it_is(quarantined_row, command):
    output = command("quarantine", "show", str(quarantined_row.pk), "--json")

    assert json.loads(output)["values"]["first_name"] == NAME
    assert not has_control_character(output)


@pytest.mark.parametrize(
    "action",
    [pytest.param("show", id="unknown row"), pytest.param("list", id="surplus argument")],
)
def test_control_characters_in_an_argument_are_escaped(hq, capfd, action):
    command = load_command_class("stores", "quarantine")

    with pytest.raises(SystemExit):
        command.run_from_argv(["manage.py", "quarantine", action, f"x{SET_TITLE}"])

    output, errors = capfd.readouterr()
    assert output == ""
    assert f"x{ESCAPED_SET_TITLE}" in errors
    assert "\x1b" not in errors


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        pytest.param("a\rb", "a\\rb", id="carriage return"),
        pytest.param("\x9b31m", "\\x9b31m", id="C1 control (CSI)"),
        pytest.param("\u202eabc", "\\u202eabc", id="right-to-left override"),
        pytest.param("\u2028", "\\u2028", id="line separator"),
        pytest.param("\udc1b", "\\udc1b", id="lone surrogate"),
    ],
)
def test_a_control_character_is_escaped(text, printed):
    assert escaped(text) == printed


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a\tb\n", id="tab and line break"),
        pytest.param("Zo\xeb \U0001f9fe", id="accent and emoji"),
        pytest.param("\u0645\u0631\u200c\u062d", id="zero-width non-joiner"),
    ],
)
def test_a_text_is_printed_as_it_is(text):
    assert escaped(text) == text


def test_a_value_is_printed_on_a_single_line():
    assert single_line("a\n\tb") == "a\\n\\tb"
