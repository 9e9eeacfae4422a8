"""What commands print: nothing of a till's texts is obeyed by a terminal."""

import json

import pytest

from stores.management.base import escaped, single_line
from stores.models import Quarantine
from tests.support.make import make_customer, run

TITLE = "\x1b]0;owned\x07"


def test_s8_a_name_cannot_set_the_terminal_s_title(houston, command):
    make_customer(houston, f"Ann{TITLE}\nfield  forged", email="none")
    run("P-0001")
    row = str(Quarantine.objects.get().pk)

    told = command("quarantine", "show", row)

    assert "Ann\\x1b]0;owned\\x07\\nfield  forged" in told
    assert all(letter.isprintable() or letter == "\n" for letter in told)
    in_full = json.loads(command("quarantine", "show", row, "--json"))
    assert in_full["values"]["first_name"] == f"Ann{TITLE}\nfield  forged"


@pytest.mark.parametrize("words", [("trace", f"x{TITLE}"), ("quarantine", "show", f"x{TITLE}")])
def test_s8_neither_can_an_argument_that_is_told_back(hq, capfd, words):
    from stores.management.commands import quarantine, trace

    command = {"trace": trace, "quarantine": quarantine}[words[0]].Command()

    with pytest.raises(SystemExit):
        command.run_from_argv(["manage.py", *words])

    assert "\x1b" not in "".join(capfd.readouterr())


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
def test_s8_controls_are_written_out_and_letters_stay(text, printed):
    assert escaped(text) == printed


def test_s8_a_value_stays_in_its_line():
    assert single_line("a\n\tb") == "a\\n\\tb"
